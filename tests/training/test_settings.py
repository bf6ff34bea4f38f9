"""The section `training` of a recipe: its keys, and the keys that a recipe may not set."""

import dataclasses

import pytest

from ser_hf.training.settings import (
    MANAGED,
    EmotionTrainerSettings,
    TrainerSettings,
    TrainingSettings,
)
from ser_hf.utils.errors import UserError
from ser_hf.utils.validation import validated


def test_the_section_may_be_empty():
    settings = validated(TrainingSettings, {}, "training")
    assert settings == TrainingSettings()
    assert settings.seeds == [42]
    assert settings.solver is None


def test_arguments_are_keys_of_the_trainer_without_null():
    arguments = TrainingSettings(seeds=[1], refit=True, learning_rate=0.25).arguments
    assert arguments["learning_rate"] == 0.25
    keys_of_ser_hf = {field.name for field in dataclasses.fields(EmotionTrainerSettings)}
    keys_of_ser_hf |= {"selecting_evaluations", "average", "average_decay"}
    assert set(arguments) <= set(TrainerSettings.model_fields) | keys_of_ser_hf
    assert "seeds" not in arguments
    assert "refit" not in arguments
    assert None not in arguments.values()
    # `null` leaves the choice to the machine.
    assert TrainingSettings().dataloader_num_workers is None
    assert "dataloader_num_workers" not in arguments


def test_a_key_that_the_run_decides_is_refused_with_what_decides_it():
    with pytest.raises(UserError) as error:
        validated(TrainingSettings, {"bf16": True}, "training")
    assert str(error.value) == "training.bf16: use training.precision"


@pytest.mark.parametrize("key", MANAGED)
def test_every_managed_key_is_refused_by_name(key):
    with pytest.raises(UserError, match=rf"^training\.{key}: "):
        validated(TrainingSettings, {key: 1}, "training")


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learnig_rate": 1}, "learnig_rate"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"precision": "fp8"}, "precision"),
        ({"solver": "sgd"}, "solver"),
        ({"balance": "speaker"}, "balance"),
        ({"grid": {"C": []}}, "grid.C"),
        ({"early_stopping": {"patience": 0}}, "early_stopping.patience"),
        ({"early_stopping": {"evaluations": 0}}, "early_stopping.evaluations"),
        ({"loss": {"label_smoothing": 1}}, "loss.label_smoothing"),
        ({"loss": {"focal_gamma": -1}}, "loss.focal_gamma"),
        ({"loss": {"weights": {"arousal": -1}}}, "loss.weights.arousal"),
        ({"loss": {"dimensions": "mae"}}, "loss.dimensions"),
        ({"lr_scheduler_type": "cosin"}, "lr_scheduler_type"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(values, key):
    with pytest.raises(UserError) as error:
        validated(TrainingSettings, values, "training")
    assert str(error.value).startswith(f"training.{key}: ")


def test_no_step_is_not_a_training():
    with pytest.raises(ValueError, match=r"max_steps: expected 1 or more, or -1"):
        TrainingSettings(max_steps=0)
