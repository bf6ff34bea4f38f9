"""The control: a model trained on labels that are shuffled within each speaker stays at chance."""

from pathlib import Path

import pytest

import ser_hf

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
BUDGET = [
    "corpus.speakers=40",
    "corpus.takes=3",
    "audio.max_duration=0.8",
    "evaluation.bootstrap=20",
]
BUDGET += [
    "model.n_mels=32",
    "model.hop_length=480",
    "model.channels=[8, 16, 16]",
    "model.lstm_hidden=16",
]
BUDGET += [
    "training.num_train_epochs=5",
    "training.per_device_train_batch_size=8",
    "training.learning_rate=5.0e-3",
]
CHANCE = 1 / 6


@pytest.mark.slow
def test_true_labels_train_above_chance_and_shuffled_ones_do_not(tmp_path):
    true = ser_hf.run_recipe(QUICKSTART, [*BUDGET, f"output_dir={tmp_path / 'true'}"])
    # Seeds come to 0.48 to 0.59, and the control to 0.13 to 0.17.
    assert true.metrics["uar"] > 2 * CHANCE
    control = ser_hf.run_recipe(
        QUICKSTART, [*BUDGET, "corpus.shuffle_labels=true", f"output_dir={tmp_path / 'control'}"]
    )
    # The standard error of a UAR at chance over 144 clips is 0.031; three of them are allowed.
    assert control.protocol.parts["test"].clips == 144
    assert abs(control.metrics["uar"] - CHANCE) < 0.093
    assert abs(control.parts["validation"]["uar"] - CHANCE) < 0.1
