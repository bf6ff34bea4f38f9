"""Wrong settings of a network are refused by name with the expected values."""

import re

import pytest
from support.testing import tiny_config

from ser_hf.models import PooledEncoderConfig

# Network, settings, and how the message begins: one whole sentence for each check, and the option
# alone where another network or value fails in the same check.
MISTAKES = [
    # the limits of an option
    ("crnn", {"hop_length": "wide"}, "hop_length: expected a whole number from 1 to 65,536, got"),
    ("crnn", {"n_fft": 0}, "n_fft:"),
    ("crnn", {"top_db": -3.0}, "top_db: expected a number of more than 0 or null, got -3.0"),
    ("crnn", {"floor": 0.0}, "floor:"),
    ("crnn", {"f_min": float("nan")}, "f_min: expected a number, got nan"),
    ("crnn", {"band_warp": 1.5}, "band_warp:"),
    ("crnn", {"compression": "cube"}, "compression: expected one of log, db, got 'cube'"),
    ("crnn", {"center": "yes"}, "center: expected true or false, got 'yes'"),
    ("crnn", {"channels": [1000000000, 8]}, "channels: expected a list of 1 to 64 values, each a"),
    ("cnn2d", {"channels": []}, "channels:"),
    ("se_resnet", {"squeeze": 0.0}, "squeeze:"),
    ("separable_resnet", {"kernel_size": 4}, "kernel_size: expected an odd number from 1 to 255"),
    ("cnn1d_descriptors", {"descriptors": ["rms", "loudness"]}, "descriptors:"),
    ("cnn1d_descriptors", {"statistics": ["mean", "mean"]}, "statistics:"),
    ("cnn1d_descriptors", {"roll_off": 1.0}, "roll_off:"),
    ("stacked_cnn_attention_lstm", {"pooling": "last"}, "pooling:"),
    ("parallel_cnn_transformer", {"sequence_pooling": [2]}, "sequence_pooling:"),
    ("parallel_cnn_transformer", {"kernel_sizes": []}, "kernel_sizes:"),
    (
        "mfcc_linear",
        {"statistics": ["mean", "median"]},
        "statistics: expected a list of some of mean, std, min, max, each once",
    ),
    # frames
    ("crnn", {"win_length": 600}, "win_length: 600 does not fit into n_fft 512"),
    ("crnn", {"hop_length": 513}, "hop_length: 513 leaves out samples between frames of n_fft 512"),
    ("crnn", {"n_fft": 401, "center": True}, "n_fft: expected 2 or more, and an even number to"),
    ("crnn", {"frames": 3}, "frames: 3 is fewer than the 4 that this network needs"),
    ("crnn", {"edges": "reflect"}, "edges: frames that are not centered lie inside the clip; set"),
    ("crnn", {"normalization": "none"}, "normalization: none has no SpecAugment; set time_masks"),
    ("crnn", {"time_pooling": [500, 2]}, "time_pooling: one pooled frame covers 16 s of audio"),
    # bands
    ("crnn", {"f_max": 8001.0}, "f_max: expected bands that rise from 0 Hz to at most 8000 Hz"),
    ("crnn", {"f_min": -1.0}, "f_min: expected bands that rise from 0 Hz to at most 8000 Hz"),
    (
        "crnn",
        {"features": "mfcc", "n_mfcc": 65},
        "n_mfcc: 65 is more than n_mels 32, the bands it is computed from",
    ),
    ("crnn", {"features": "mfcc"}, "normalization: clip lets the first coefficient of mfcc"),
    (
        "crnn",
        {"compression": "db", "normalization": "fixed"},
        "normalization: fixed is for log_mel features with",
    ),
    ("crnn", {"band_warp": 0.1, "n_mels": 1}, "band_warp: expected n_mels of 2 or more for 0.1"),
    ("cnn2d", {"band_pooling": [8, 8]}, "band_pooling: [8, 8] leaves nothing of 32 bands"),
    # blocks
    (
        "crnn",
        {"channels": [4, 8, 8]},
        "channels: expected one entry per block, as many as time_pooling and band_pooling",
    ),
    # one network
    (
        "cnn1d_descriptors",
        {"n_fft": 512, "win_length": 400},
        "pitch_min: 60.0 and pitch_max 500.0 must rise, from 62.5 Hz (two periods in a frame of",
    ),
    ("cnn1d_descriptors", {"pitch_max": 4001.0}, "pitch_min:"),
    ("cnn1d_descriptors", {"pitch_min": 500.0}, "pitch_min:"),
    (
        "cnn1d_descriptors",
        {"aggregate": True, "normalization": "clip_bands"},
        "normalization: clip_bands makes all",
    ),
    (
        "cnn1d_descriptors",
        {"aggregate": True, "descriptors": ["rms"], "statistics": ["mean"]},
        "pooling_factors: need",
    ),
    (
        "parallel_cnn_transformer",
        {"transformer_heads": 3},
        "transformer_size: 8 is not a multiple of transformer_heads 3",
    ),
    (
        "parallel_cnn_attention_lstm",
        {"sequence_pooling": [2, 33]},
        "sequence_pooling: [2, 33], the second factor is more than the 32 bands",
    ),
    ("byols", {"n_mels": 7}, "n_mels: three blocks halve the bands, which takes 8 or more"),
    ("cnn14", {"n_mels": 31}, "channels: each block but the last halves the 31 bands"),
    ("vgg16", {"channels": [4, 4]}, "channels: expected five numbers, one for each stage"),
    ("vgg16", {"n_mels": 31}, "n_mels: expected 32 or more, which are halved five times"),
    (
        "vgg16",
        {"features": "mfcc", "normalization": "corpus", "n_mfcc": 20},
        "n_mfcc: expected 32 or more, which are halved five times",
    ),
    ("vggish", {"channels": [4]}, "channels: expected four numbers, one for each stage"),
    ("vggish", {"sampling_rate": 8000}, "sampling_rate: vggish needs 16000 Hz"),
]


@pytest.mark.parametrize(("name", "settings", "message"), MISTAKES)
def test_mistakes_are_refused_by_name(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tiny_config(name, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_layers": [8, 0]}, r"^head_layers:"),
        ({"head_dropout": 10**400}, r"^head_dropout:"),
        (
            {"encoder": {"model_type": "wav2vec2", "add_adapter": True}},
            r"^add_adapter: the head pools the frames of the encoder itself; set it to false",
        ),
        (
            {"encoder": {"model_type": "wav2vec2", "layerdrop": 0.1}, "weighted_layer_sum": True},
            r"^weighted_layer_sum: layerdrop leaves out layers that are to be summed; set it to 0",
        ),
    ],
)
def test_mistakes_in_a_pooling_head_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PooledEncoderConfig(**settings)


def test_a_tuple_becomes_a_list_as_in_a_saved_configuration():
    assert tiny_config("crnn", channels=(4, 8), time_pooling=(2, 2)).channels == [4, 8]
