"""The choice between the best and the last checkpoint, by the validation speakers."""

import types

import pytest

import ser_hf
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.selection import keeps_last
from ser_hf.training.settings import EarlyStopping
from ser_hf.utils.errors import UserError


def split_with(*speakers):
    return types.SimpleNamespace(speakers={"validation": list(speakers)})


FOUR = ("toy:1", "toy:2", "toy:3", "toy:4")


@pytest.mark.parametrize(
    ("settings", "speakers", "last"),
    [
        ({}, FOUR, False),
        ({}, FOUR[:3], True),
        ({}, FOUR[:1], True),
        ({}, ("toy:unknown",), False),  # clips of unknown speakers may be of many voices
        ({"patience": 3}, FOUR[:1], False),  # validation ends the training
        ({"select": "best"}, FOUR[:1], False),
        ({"select": "last"}, FOUR, True),
    ],
)
def test_few_validation_speakers_select_no_epoch(settings, speakers, last):
    assert keeps_last(EarlyStopping(**settings), split_with(*speakers)) is last


def test_patience_contradicts_the_last_checkpoint():
    changes = ["training.early_stopping={select: last, patience: 3}"]
    with pytest.raises(UserError, match=r"^training\.early_stopping\.patience:"):
        read_recipe("recipes/quickstart.yaml", changes)


RECIPE = {
    "name": "few",
    "corpus": {"name": "synthetic", "speakers": 4, "takes": 1},
    "protocol": {"validation": 0.25, "test": 0.25, "near_duplicates": "skip"},
    "model": {"architecture": "mfcc_mlp", "n_mels": 32, "n_mfcc": 8, "hidden": [8]},
    "training": {"num_train_epochs": 3, "learning_rate": 0.1, "seeds": [1]},
    "evaluation": {"bootstrap": 20, "map": None},
}


def test_a_run_with_one_validation_speaker_keeps_the_last_epoch(tmp_path):
    last = ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'last'}"])
    kept = [entry["epoch"] for entry in last.history if entry.get("kept")]
    assert kept == [3.0]
    assert last.training.selection == "last"
    assert not any("selected the model" in warning for warning in last.warnings)
    page = (tmp_path / "last" / "report" / "index.html").read_text(encoding="utf-8")
    assert "No epoch was selected" in page

    best = ser_hf.run_recipe(
        RECIPE, [f"output_dir={tmp_path / 'best'}", "training.early_stopping.select=best"]
    )
    assert best.training.selection == "best"
    assert any("selected the model" in warning for warning in best.warnings)
