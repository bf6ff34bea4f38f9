"""Wrong settings of a network are refused by name with the expected values."""

import json

import pytest

from ser_hf.models import ARCHITECTURES, PooledEncoderConfig
from ser_hf.testing import tiny_config

MISTAKES = [
    # The front end, with any network.
    ("crnn", {"win_length": 600}, "win_length 600 does not fit into n_fft 512"),
    ("crnn", {"hop_length": "wide"}, "hop_length 'wide': expected 1 or more"),
    ("crnn", {"n_fft": 401, "center": True}, "n_fft 401: expected 2 or more, and an even number to center frames"),
    ("crnn", {"frames": 3}, "frames 3 is fewer than the 4 that this network needs"),
    ("crnn", {"f_max": 8001.0}, "f_min 50 and f_max 8001: expected to rise, from 0 Hz to 8000 Hz"),
    ("crnn", {"f_min": 9000.0}, "f_min 9000 and f_max 8000: expected to rise"),
    ("crnn", {"top_db": -3.0}, "top_db -3.0: expected more than 0"),
    ("crnn", {"floor": 0.0}, "floor 0.0: expected more than 0 and less than 1"),
    ("crnn", {"edges": "reflect"}, "edges reflect: frames that are not centered lie inside the clip"),
    ("crnn", {"features": "mfcc", "n_mfcc": 65}, "n_mfcc 65 is more than n_mels 32"),
    ("crnn", {"features": "mfcc"}, "normalization clip lets the first coefficient of mfcc outweigh the others"),
    ("crnn", {"compression": "db", "normalization": "fixed"}, "normalization fixed is for log_mel features with"),
    ("crnn", {"normalization": "none"}, "normalization none: .*; set time_masks and band_masks to 0, or use corpus"),
    ("crnn", {"band_warp": 1.5}, "band_warp 1.5: expected 0 or more and less than 1"),
    ("crnn", {"band_warp": 0.1, "n_mels": 1}, "band_warp 0.1: expected n_mels of 2 or more"),
    ("crnn", {"mix_style": -0.1}, "mix_style -0.1: expected 0 to 1"),
    ("crnn", {"compression": "cube"}, "compression 'cube' is not one of log, db"),
    ("crnn", {"deltas": 3}, "deltas 3 is not one of 0, 1, 2"),
    # Each network's own.
    ("crnn", {"channels": [4, 8, 8]}, "channels, time_pooling and band_pooling need one entry per block"),
    ("crnn", {"pooling": "median"}, "pooling 'median' is not one of mean, max, mean_std, attention, attentive_stats"),
    ("se_resnet", {"squeeze": 0.0}, "squeeze 0.0: expected more than 0, and 1 or less"),
    ("separable_resnet", {"depths": [1]}, "channels and depths need one entry per block"),
    ("separable_resnet", {"kernel_size": 4}, "kernel_size 4: expected an odd number"),
    ("cnn2d", {"channels": []}, r"channels \[\]: expected one entry or more, each 1 or more"),
    ("cnn2d", {"band_pooling": [8, 8]}, r"band_pooling \[8, 8\] leaves nothing of 32 bands"),
    ("cnn1d_descriptors", {"descriptors": ["rms", "loudness"]}, "descriptors .*: expected some of zero_"),
    ("cnn1d_descriptors", {"statistics": ["mean", "mean"]}, "statistics .*each once"),
    ("cnn1d_descriptors", {"roll_off": 1.0}, "roll_off 1.0: expected a share"),
    ("cnn1d_descriptors", {"n_fft": 512, "win_length": 400}, r"from 62.5 Hz \(two periods in a frame of n_fft 512"),
    ("cnn1d_descriptors", {"pitch_min": 500.0}, "pitch_min 500.0 and pitch_max 500.0: must rise"),
    ("cnn1d_descriptors", {"pitch_max": 4001.0}, r"must rise, .* to 4000 Hz \(a quarter of the sampling rate"),
    ("cnn1d_descriptors", {"aggregate": True, "normalization": "clip_bands"}, "aggregate needs corpus"),
    (
        "cnn1d_descriptors",
        {"aggregate": True, "descriptors": ["rms"], "statistics": ["mean"]},
        "pooling_factors need 4 statistics, there are 1",
    ),
    ("stacked_cnn_attention_lstm", {"pooling": "last"}, "pooling 'last' is not one of attention, attentive_stats"),
    ("parallel_cnn_transformer", {"sequence_pooling": [2]}, r"sequence_pooling \[2\]: expected two factors"),
    ("parallel_cnn_transformer", {"transformer_heads": 3}, "size 8 is not a multiple of transformer_heads 3"),
    ("parallel_cnn_attention_lstm", {"sequence_pooling": [0, 2]}, r"sequence_pooling \[0, 2\]: expected two factors"),
    ("parallel_cnn_attention_lstm", {"sequence_pooling": [2, 33]}, "second factor is more than the 32 bands"),
    ("parallel_cnn_attention_lstm", {"kernel_sizes": [3, 4]}, r"kernel_sizes \[3, 4\]: expected odd numbers"),
    ("mfcc_linear", {"statistics": ["mean", "median"]}, "statistics .*expected some of mean, std"),
    ("mfcc_linear", {"features": "log_mel"}, "features 'log_mel' is not one of mfcc"),
    ("byols", {"n_mels": 7}, "n_mels 7: three blocks halve the bands"),
    ("cnn14", {"n_mels": 31}, "each block but the last halves the 31 bands"),
    ("vgg16", {"channels": [4, 4]}, "channels .*five numbers"),
    ("vgg16", {"n_mels": 31}, "n_mels.*32 or more"),
    ("vgg16", {"features": "mfcc", "normalization": "corpus", "n_mfcc": 20}, "n_mfcc.*32 or more"),
    ("vggish", {"channels": [4]}, "channels .*four numbers"),
    ("vggish", {"sampling_rate": 8000}, "sampling_rate 8000: vggish needs 16000 Hz"),
]


@pytest.mark.parametrize(("name", "settings", "message"), MISTAKES)
def test_mistakes_are_refused_by_name(name, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(name, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "median"}, "pooling 'median' is not one of mean, max, mean_std, attention, attentive_stats"),
        ({"head_layers": [8, 0]}, r"head_layers \[8, 0\]: expected sizes of 1 or more"),
        ({"head_layers": [8.0]}, "head_layers"),
        ({"head_dropout": 1.0}, "head_dropout 1.0: expected 0 or more and less than 1"),
        ({"encoder": {"model_type": "wav2vec2", "add_adapter": True}}, "^add_adapter"),
        (
            {"encoder": {"model_type": "wav2vec2", "layerdrop": 0.1}, "weighted_layer_sum": True},
            "^weighted_layer_sum",
        ),
    ],
)
def test_mistakes_in_a_pooling_head_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PooledEncoderConfig(**settings)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_configuration_is_the_same_after_saving_and_loading(name, tmp_path):
    config = tiny_config(name)
    config.save_pretrained(tmp_path)
    assert type(config).from_pretrained(tmp_path).to_dict() == config.to_dict() | {"auto_map": config.auto_map}
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model_type"] == f"ser_{name}"


def test_a_whole_number_is_a_valid_probability():
    assert tiny_config("crnn", dropout=0).dropout == 0
