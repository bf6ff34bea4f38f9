"""Defaults of a recipe that depend on its network, its task or its schedule."""

import pytest

from ser_hf.experiment.completion import WARMUP, complete_training
from ser_hf.experiment.reading import read_recipe
from ser_hf.training.arguments import GRIDS
from ser_hf.training.settings import EarlyStopping, TrainingSettings
from ser_hf.utils.errors import UserError


def completed(architecture, task="emotions", **training):
    return complete_training(TrainingSettings(**training), architecture, task)


def test_a_network_from_scratch_is_trained_on_batches_of_any_clips():
    training = completed("crnn")
    assert training.solver == "trainer"
    assert training.grid == {}
    assert training.train_sampling_strategy == "random"
    assert training.warmup_steps == WARMUP
    assert training.ddp_find_unused_parameters is False


def test_an_encoder_is_trained_on_clips_of_similar_length_and_may_skip_layers():
    training = completed("encoder")
    assert training.solver == "trainer"
    assert training.train_sampling_strategy == "group_by_length"
    assert training.ddp_find_unused_parameters is None


def test_a_network_without_gradient_is_fitted_with_its_grid():
    training = completed("mfcc_svm")
    assert training.solver == "sklearn"
    assert training.grid == GRIDS["mfcc_svm"]
    assert training.train_sampling_strategy == "random"


@pytest.mark.parametrize(("task", "metric"), [("emotions", "uar"), ("dimensions", "ccc")])
def test_the_task_selects_the_metric(task, metric):
    assert completed("crnn", task).early_stopping.metric == metric


def test_values_of_the_recipe_are_kept():
    training = completed(
        "encoder",
        early_stopping=EarlyStopping(metric="wa"),
        warmup_steps=0.2,
        train_sampling_strategy="random",
        ddp_find_unused_parameters=True,
    )
    assert training.early_stopping.metric == "wa"
    assert training.warmup_steps == 0.2
    assert training.train_sampling_strategy == "random"
    assert training.ddp_find_unused_parameters is True


@pytest.mark.parametrize("schedule", ["constant", "reduce_lr_on_plateau", "one_cycle"])
def test_a_schedule_without_warm_up_has_none_by_default_and_refuses_one(schedule):
    assert completed("crnn", lr_scheduler_type=schedule).warmup_steps == 0
    recipe = {
        "corpus": {"name": "synthetic"},
        "model": {"architecture": "crnn"},
        "training": {"lr_scheduler_type": schedule, "warmup_steps": 0.1},
    }
    with pytest.raises(UserError, match=r"^training\.warmup_steps: "):
        read_recipe(recipe)


def test_a_grid_replaces_the_values_of_its_keys_only():
    training = completed("mfcc_rbf_svm", grid={"C": [1, 2.5]})
    assert training.grid == GRIDS["mfcc_rbf_svm"] | {"C": [1.0, 2.5]}
    assert [type(value) for value in training.grid["C"]] == [float, float]
    forest = completed("mfcc_forest", grid={"min_samples_leaf": [3.0]})
    assert [type(value) for value in forest.grid["min_samples_leaf"]] == [int]


def test_a_solver_that_cannot_train_the_network_is_refused():
    with pytest.raises(UserError) as error:
        completed("mfcc_svm", solver="trainer")
    assert str(error.value) == "training.solver: mfcc_svm can only be fitted by scikit-learn"
    with pytest.raises(UserError, match=r"^training\.solver: "):
        completed("crnn", solver="sklearn")


@pytest.mark.parametrize(
    ("architecture", "grid", "key"),
    [
        ("crnn", {"C": [1]}, "training.grid"),
        ("mfcc_svm", {"c": [1]}, "training.grid.c"),
        ("mfcc_svm", {"C": [0]}, "training.grid.C"),
        ("mfcc_svm", {"C": [True]}, "training.grid.C"),
        ("mfcc_svm", {"C": [float("inf")]}, "training.grid.C"),
        ("mfcc_svm", {"C": ["1"]}, "training.grid.C"),
        ("mfcc_forest", {"min_samples_leaf": [1.5]}, "training.grid.min_samples_leaf"),
    ],
)
def test_a_wrong_grid_is_named_by_its_key(architecture, grid, key):
    with pytest.raises(UserError) as error:
        completed(architecture, grid=grid)
    assert str(error.value).startswith(f"{key}: ")
