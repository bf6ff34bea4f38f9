"""The control: what is learnt from true labels is not learnt from labels exchanged within each speaker."""

from pathlib import Path

import pytest

import ser_hf

QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
BUDGET = ["corpus.speakers=40", "corpus.takes=3", "training.num_train_epochs=6", "evaluation.bootstrap=20"]
BUDGET += ["audio.max_duration=1.0", "model.channels=[16, 32, 32]", "model.lstm_hidden=32"]
CHANCE = 1 / 6


@pytest.mark.slow
def test_true_labels_are_learnt_and_shuffled_ones_stay_at_chance(tmp_path):
    true = ser_hf.run_recipe(QUICKSTART, [*BUDGET, f"output_dir={tmp_path / 'true'}"])
    assert true["metrics"]["uar"] > 0.5
    control = ser_hf.run_recipe(
        QUICKSTART, [*BUDGET, "corpus.shuffle_labels=true", f"output_dir={tmp_path / 'control'}"]
    )
    # The standard error of a UAR at chance over 144 clips is 0.031; three of them are allowed.
    assert control["protocol"]["parts"]["test"]["clips"] == 144
    assert abs(control["metrics"]["uar"] - CHANCE) < 0.093
    assert abs(control["parts"]["validation"]["uar"] - CHANCE) < 0.1
