"""Every network learns the built-in corpus from raw audio: above chance on new speakers, in seconds."""

import pytest

import ser_hf
from ser_hf.models import ARCHITECTURES, TRANSFERRED
from ser_hf.training.arguments import solvers_for

PICTURE = {"n_mels": 32, "hop_length": 320, "normalization": "fixed", "time_masks": 0, "band_masks": 0, "dropout": 0.1}
STACK = PICTURE | {"time_pooling": [2, 2, 2], "band_pooling": [2, 2, 2], "conv_dropout": 0.0}
# Small, and without what guards against overfitting: in so few steps that would only slow them down.
SETTINGS = {
    "crnn": STACK | {"channels": [16, 32, 32], "lstm_hidden": 32, "pooling": "mean_std"},
    "se_resnet": PICTURE | {"channels": [16, 32], "embedding": 64},
    "separable_resnet": PICTURE | {"channels": [16, 32], "depths": [1, 1], "embedding": 64},
    "mfcc_mlp": {"hidden": [64, 64], "dropout": 0.1},
    "cnn2d": STACK | {"channels": [16, 32, 32], "hidden": 32},
    "cnn1d": {"channels": [32, 32, 64], "depths": [1, 1, 1], "first_stride": 16, "pooling": "mean_std"},
    "cnn1d_descriptors": {"channels": [32, 64, 64], "hop_length": 320, "dropout": 0.1},
    "cnn_lstm": PICTURE | {"channels": [48, 64], "lstm_hidden": 32},
    "stacked_cnn_lstm": STACK | {"channels": [16, 32, 32], "lstm_hidden": 32, "depth": 1},
    "stacked_cnn_attention_lstm": STACK | {"channels": [16, 32, 32], "lstm_hidden": 32, "depth": 1},
    "parallel_cnn_transformer": STACK
    | {"channels": [8, 16, 32], "transformer_size": 32, "transformer_layers": 1, "transformer_hidden": 64},
    "parallel_cnn_attention_lstm": STACK | {"channels": [8, 16, 32], "lstm_hidden": 32},
    "byols": {"channels": 16, "embedding": 64, "frame_dropout": 0.0, "hop_length": 320},
    "cnn14": {"channels": [8, 16, 16, 32, 32, 32], "embedding": 64, "hop_length": 640},
    "vgg16": PICTURE | {"channels": [16, 32, 32, 32, 64]},
    "vggish": {"channels": [16, 32, 32, 32], "hidden": 64, "embedding_size": 64, "dropout": 0.1, "example_hop": 48},
}
# Chance is 0.333, with a standard error of 0.064 over 54 clips.
FLOOR = 0.55
# The raw waveform needs more epochs than others to make a filter bank of its own, and so many layers without
# normalization need smaller steps.
TRAINING = {"cnn1d": {"num_train_epochs": 9}, "vgg16": {"num_train_epochs": 8, "learning_rate": 1e-3}}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_learns_from_raw_audio(name, tmp_path, monkeypatch):
    """Three emotions, the first second of each clip where a network takes a part: as telling as six and all of it."""
    # Nobody looks at the page, which takes as long as a training of the simpler ones.
    monkeypatch.setattr("ser_hf.one_run.save_report", lambda *_: None)
    audio, training = {}, {"seeds": [1]}
    if solvers_for(name)[0] == "trainer":
        audio = {"max_duration": 1.0}
        training |= {"num_train_epochs": 6, "learning_rate": 3e-3, "per_device_train_batch_size": 8}
        training |= TRAINING.get(name, {})
    report = ser_hf.run_recipe(
        {
            "name": name,
            "output_dir": str(tmp_path),
            "corpus": {"name": "synthetic", "speakers": 24, "takes": 3, "drop": ["disgust", "fear", "happy"]},
            "protocol": {"validation": 0.13, "test": 0.25, "near_duplicates": "skip"},
            "audio": audio,
            "model": {"architecture": name, "random_init": name in TRANSFERRED} | SETTINGS.get(name, {}),
            "training": training,
            "evaluation": {"bootstrap": 20},
        }
    )
    assert report["protocol"]["parts"]["test"]["clips"] == 54
    assert report["metrics"]["uar"] > FLOOR
