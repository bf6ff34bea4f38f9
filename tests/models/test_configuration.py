"""Wrong settings of a network are refused by name with the expected values."""

import re

import pytest
from support.testing import tiny_config

from ser_hf.models import PooledEncoderConfig

MISTAKES = [
    ("crnn", {"win_length": 600}, "win_length: 600 does not fit into n_fft 512"),
    ("crnn", {"hop_length": "wide"}, "hop_length: expected a whole number from 1 to 65,536"),
    (
        "crnn",
        {"n_fft": 401, "center": True},
        "n_fft: expected 2 or more, and an even number to center frames",
    ),
    ("crnn", {"frames": 3}, "frames: 3 is fewer than the 4 that this network needs"),
    ("crnn", {"f_max": 8001.0}, "f_max: expected bands that rise from 0 Hz to at most 8000 Hz"),
    ("crnn", {"top_db": -3.0}, "top_db: expected more than 0"),
    (
        "crnn",
        {"floor": 0.0},
        "floor: expected more than 0 and less than 1, the power of a loud band",
    ),
    (
        "crnn",
        {"edges": "reflect"},
        "edges: frames that are not centered lie inside the clip; set center to true",
    ),
    (
        "crnn",
        {"features": "mfcc", "n_mfcc": 65},
        "n_mfcc: 65 is more than n_mels 32, the bands it is computed from",
    ),
    (
        "crnn",
        {"features": "mfcc"},
        "normalization: clip lets the first coefficient of mfcc outweigh the others; use",
    ),
    (
        "crnn",
        {"compression": "db", "normalization": "fixed"},
        "normalization: fixed is for log_mel features with",
    ),
    (
        "crnn",
        {"normalization": "none"},
        "normalization: none has no SpecAugment; set time_masks and band_masks to 0,",
    ),
    ("crnn", {"band_warp": 1.5}, "band_warp: expected 0 or more and less than 1"),
    ("crnn", {"band_warp": 0.1, "n_mels": 1}, "band_warp: expected n_mels of 2 or more for 0.1"),
    ("crnn", {"compression": "cube"}, "compression: expected one of log, db"),
    (
        "crnn",
        {"channels": [4, 8, 8]},
        "channels: expected one entry per block, as many as time_pooling and",
    ),
    ("se_resnet", {"squeeze": 0.0}, "squeeze: expected more than 0, and 1 or less"),
    ("separable_resnet", {"kernel_size": 4}, "kernel_size: expected an odd number up to 255"),
    ("cnn2d", {"channels": []}, "channels: expected 1 to 64 whole numbers, each from 1 to 65,536"),
    ("cnn2d", {"band_pooling": [8, 8]}, "band_pooling: [8, 8] leaves nothing of 32 bands"),
    (
        "cnn1d_descriptors",
        {"descriptors": ["rms", "loudness"]},
        "descriptors: expected some of zero_crossing_rate,",
    ),
    (
        "cnn1d_descriptors",
        {"statistics": ["mean", "mean"]},
        "statistics: expected some of mean, std, min, max, each",
    ),
    (
        "cnn1d_descriptors",
        {"roll_off": 1.0},
        "roll_off: expected a share, more than 0 and less than 1",
    ),
    (
        "cnn1d_descriptors",
        {"n_fft": 512, "win_length": 400},
        "pitch_min: 60.0 and pitch_max 500.0 must rise, from",
    ),
    (
        "cnn1d_descriptors",
        {"pitch_max": 4001.0},
        "pitch_min: 60.0 and pitch_max 4001.0 must rise, from 31.25 Hz (two",
    ),
    (
        "cnn1d_descriptors",
        {"pitch_min": 500.0},
        "pitch_min: 500.0 and pitch_max 500.0 must rise, from 31.25 Hz (two",
    ),
    (
        "cnn1d_descriptors",
        {"aggregate": True, "normalization": "clip_bands"},
        "normalization: clip_bands makes all",
    ),
    (
        "cnn1d_descriptors",
        {"aggregate": True, "descriptors": ["rms"], "statistics": ["mean"]},
        "pooling_factors:",
    ),
    (
        "stacked_cnn_attention_lstm",
        {"pooling": "last"},
        "pooling: expected one of attention, attentive_stats",
    ),
    (
        "parallel_cnn_transformer",
        {"sequence_pooling": [2]},
        "sequence_pooling: expected two factors of 1 or more, of",
    ),
    (
        "parallel_cnn_transformer",
        {"transformer_heads": 3},
        "transformer_size: 8 is not a multiple of",
    ),
    (
        "parallel_cnn_attention_lstm",
        {"sequence_pooling": [2, 33]},
        "sequence_pooling: [2, 33], the second factor is",
    ),
    (
        "mfcc_linear",
        {"statistics": ["mean", "median"]},
        "statistics: expected some of mean, std, min, max, each once",
    ),
    ("byols", {"n_mels": 7}, "n_mels: three blocks halve the bands, which takes 8 or more"),
    ("cnn14", {"n_mels": 31}, "channels: each block but the last halves the 31 bands"),
    ("vgg16", {"channels": [4, 4]}, "channels: expected five numbers, one for each stage"),
    ("vgg16", {"n_mels": 31}, "n_mels: expected 32 or more, which are halved five times"),
    (
        "vgg16",
        {"features": "mfcc", "normalization": "corpus", "n_mfcc": 20},
        "n_mfcc: expected 32 or more, which are",
    ),
    ("vggish", {"channels": [4]}, "channels: expected four numbers, one for each stage"),
    ("vggish", {"sampling_rate": 8000}, "sampling_rate: vggish needs 16000 Hz"),
    ("crnn", {"n_fft": 0}, "n_fft: expected a whole number from 1 to 32,768"),
    (
        "crnn",
        {"channels": [1000000000, 8]},
        "channels: expected 1 to 64 whole numbers, each from 1 to 65,536",
    ),
    ("crnn", {"hop_length": 513}, "hop_length: 513 leaves out samples between frames of n_fft 512"),
    ("crnn", {"center": "yes"}, "center: expected true or false"),
    ("crnn", {"f_min": float("nan")}, "f_min: expected a number"),
    ("crnn", {"time_pooling": [500, 2]}, "time_pooling: one pooled frame covers 16 s of audio"),
    (
        "parallel_cnn_transformer",
        {"kernel_sizes": []},
        "kernel_sizes: expected odd numbers up to 255, so that a",
    ),
]


@pytest.mark.parametrize(("name", "settings", "message"), MISTAKES)
def test_mistakes_are_refused_by_name(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tiny_config(name, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_layers": [8, 0]}, "^head_layers: expected sizes from 1 to 65,536"),
        ({"head_dropout": 10**400}, "^head_dropout: expected 0 or more and less than 1"),
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
