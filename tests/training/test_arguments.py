"""Arguments of a run: defaults, what a run sets itself, and settings of simulated machines."""

import dataclasses
import typing
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from ser_hf.experiment.reading import read_recipe
from ser_hf.training.arguments import (
    Precision,
    data_workers,
    refitting,
    sampling_for,
    set_precision,
    training_arguments,
)
from ser_hf.training.schedules import schedule_names
from ser_hf.training.settings import MANAGED, Schedule, TrainerSettings, TrainingSettings
from ser_hf.utils.errors import UserError

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments


def test_keys_of_the_emotion_trainer_are_its_arguments(tmp_path):
    settings = TrainingSettings(
        warmup_steps=0.05,
        head_learning_rate=0.01,
        layer_decay=0.9,
        average={"kind": "ema", "decay": 0.99},
        early_stopping={"evaluations": 5},
    )
    arguments = training_arguments(settings.arguments, tmp_path, 0)
    assert arguments.head_learning_rate == 0.01
    assert arguments.layer_decay == 0.9
    assert (arguments.average, arguments.average_decay) == ("ema", 0.99)
    assert arguments.selecting_evaluations == 5


def test_each_key_of_training_arguments_is_a_field_or_refused_with_a_reason():
    """A new version of transformers with another key fails here."""
    keys = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    fields = set(TrainerSettings.model_fields)
    assert not fields & set(MANAGED)
    assert {key for key in keys if not key.startswith("_")} <= fields | set(MANAGED)
    assert fields <= keys


def test_the_schedules_of_a_recipe_are_those_of_the_optimizer():
    assert list(typing.get_args(Schedule)) == schedule_names()


def test_the_rate_of_a_refit_falls_at_the_steps_of_the_first_training(tmp_path):
    settings = TrainerSettings(
        warmup_steps=0.0,
        lr_scheduler_type="step",
        lr_scheduler_kwargs={"step_size": 2},
    )
    arguments = training_arguments(settings.arguments, tmp_path, 0)
    changed = refitting(arguments, steps=30, steps_per_epoch=10)
    assert changed.max_steps == 30
    assert changed.lr_scheduler_kwargs == {"gamma": 0.1, "unit": "steps", "step_size": 20}
    assert arguments.lr_scheduler_kwargs == {"step_size": 2}


@pytest.mark.parametrize("accelerator", [None, "cuda", "mps"])
def test_use_cpu_where_there_is_no_accelerator(tmp_path, monkeypatch, accelerator):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: accelerator == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: accelerator == "mps")
    # The real class would look for the accelerator itself.
    monkeypatch.setattr("ser_hf.training.arguments.EmotionTrainingArguments", dict)
    monkeypatch.setattr(
        "ser_hf.training.arguments.set_precision", lambda name: Precision(False, False, None)
    )
    arguments = training_arguments(DEFAULTS, tmp_path, 0)
    assert arguments["use_cpu"] is (accelerator is None)
    assert arguments["dataloader_pin_memory"] is (accelerator == "cuda")


@pytest.mark.parametrize(
    ("metric", "greater"), [("uar", True), ("macro_f1", True), ("loss", False)]
)
def test_validation_picks_the_checkpoint(tmp_path, metric, greater):
    arguments = training_arguments(DEFAULTS, tmp_path, 0, metric=metric)
    assert arguments.load_best_model_at_end
    assert arguments.metric_for_best_model == metric
    assert arguments.greater_is_better is greater


@pytest.mark.parametrize(
    ("padding_safe", "batches"), [(True, [[3, 4], [0, 1, 2]]), (False, [[4], [2, 3], [0, 1]])]
)
def test_models_that_padding_changes_are_evaluated_in_batches_of_equal_length(
    tmp_path, padding_safe, batches
):
    settings = DEFAULTS | {"per_device_eval_batch_size": 3}
    arguments = training_arguments(settings, tmp_path, 0, padding_safe=padding_safe)
    assert arguments.evaluation_batches([5, 5, 6, 6, 8]) == batches


def test_batch_normalized_networks_see_clips_in_random_order():
    """Tempo is an emotion cue: batches of one length hold few emotions, and batch statistics hide
    the difference.
    """
    assert sampling_for("crnn") == "random"
    assert sampling_for("encoder") == "group_by_length"
    shipped = Path(__file__).parents[2] / "recipes"
    assert (
        read_recipe(shipped / "quickstart.yaml").training.arguments["train_sampling_strategy"]
        == "random"
    )
    cremad = read_recipe(shipped / "cremad_full.yaml")
    assert cremad.training.arguments["train_sampling_strategy"] == "group_by_length"


def test_a_run_without_validation_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^training\.eval_strategy: "):
        training_arguments(DEFAULTS | {"eval_strategy": "no", "save_strategy": "no"}, tmp_path, 0)


def test_arguments_beyond_the_library_s_are_split_off(tmp_path):
    own = {"lr_scheduler_type": "one_cycle", "save_total_limit": 3}
    arguments = training_arguments(DEFAULTS | own, tmp_path, 0, average="ema", layer_decay=0.9)
    assert (arguments.schedule, arguments.lr_scheduler_type) == ("one_cycle", "constant")
    assert (arguments.kept_checkpoints, arguments.save_total_limit) == (3, None)
    assert (arguments.average, arguments.layer_decay) == ("ema", 0.9)


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_strategy": "steps"},
        {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 3},
    ],
)
def test_evaluated_checkpoints_must_be_saved(tmp_path, settings):
    with pytest.raises(UserError, match=r"^training\.save_(strategy|steps): "):
        training_arguments(DEFAULTS | settings, tmp_path, 0)


@pytest.fixture
def machine(monkeypatch):
    """A GPU of some capability (None: no GPU)."""

    def make(capability, bf16=False, cores=12):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr("ser_hf.training.arguments.usable_cores", lambda: cores)

    return make


@pytest.mark.parametrize(
    ("capability", "bf16", "word", "expected"),
    [
        (None, False, "auto", (False, False, None)),
        (None, False, "bf16", (True, False, None)),
        ((7, 5), False, "auto", (False, True, None)),
        ((7, 5), False, "fp32", (False, False, None)),
        ((9, 0), True, "auto", (True, False, False)),
        ((9, 0), True, "tf32", (False, False, True)),
        ((9, 0), True, "fp32", (False, False, False)),
        ((9, 0), True, "fp16", (False, True, False)),
    ],
)
def test_precision_follows_the_device(machine, capability, bf16, word, expected):
    machine(capability, bf16)
    cudnn = torch.backends.cudnn
    before = [layers.fp32_precision for layers in (cudnn.conv, cudnn.rnn)]
    try:
        precision = set_precision(word)
        assert (precision.bf16, precision.fp16, precision.tf32) == expected
        if capability == (9, 0):  # cuDNN's default is TF32
            expected_precision = "tf32" if word == "tf32" else "ieee"
            assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == (
                expected_precision,
                expected_precision,
            )
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


@pytest.mark.parametrize(
    ("capability", "word", "device"),
    [
        (None, "fp16", "a machine without a CUDA GPU"),
        (None, "tf32", "a machine"),
        ((7, 5), "bf16", "Some GPU"),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(machine, capability, word, device):
    machine(capability)
    with pytest.raises(UserError, match=rf"^training\.precision: {word} .*{device}"):
        set_precision(word)


@pytest.mark.parametrize(
    ("capability", "processes", "workers"),
    [(None, 1, 0), ((9, 0), 1, 8), ((9, 0), 2, 5), ((9, 0), 12, 0)],
)
def test_data_workers_use_the_cores_that_training_does_not(
    machine, monkeypatch, capability, processes, workers
):
    machine(capability)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert data_workers() == workers
