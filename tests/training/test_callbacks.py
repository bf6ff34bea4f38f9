"""Callbacks: one log line per evaluation, trackers, and counts of the training batches."""

import importlib.util
import os
import sys
import types

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.training.callbacks import (
    EpochLog,
    TrainingCounts,
    check_report_to,
    stop_reporting,
    tracked,
)
from ser_hf.utils.errors import UserError


def _metrics(loss, uar=0.5):
    return {"eval_loss": loss, "eval_uar": uar, "eval_macro_f1": 0.25}


@pytest.fixture
def arguments(tmp_path, caplog):
    caplog.set_level("INFO", "ser_hf")
    return TrainingArguments(str(tmp_path), use_cpu=True)


def _log(arguments, metrics=None, main=True):
    lines = EpochLog()
    state = TrainerState(epoch=2.0, num_train_epochs=4)
    state.is_world_process_zero = main
    lines.on_epoch_begin(arguments, state, TrainerControl())
    lines.on_epoch_end(arguments, state, TrainerControl())
    lines.on_log(arguments, state, TrainerControl(), logs={"loss": 1.25})
    lines.on_evaluate(arguments, state, TrainerControl(), metrics=metrics or _metrics(0.75))
    return lines


def test_each_evaluation_logs_one_line(arguments, caplog):
    lines = _log(arguments)
    (line,) = caplog.messages
    for piece in (
        "2.0/4",
        "train loss 1.250",
        "validation loss 0.750",
        "UAR 0.500",
        "macro-F1 0.250",
    ):
        assert piece in line
    assert len(lines.epoch_seconds) == 1
    assert lines.epoch_seconds[0] >= 0


def test_only_the_first_process_logs(arguments, caplog):
    _log(arguments, main=False)
    assert not caplog.messages


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_ends_with_advice(arguments, loss):
    with pytest.raises(UserError, match=r"^training\.learning_rate: .* epoch 2"):
        _log(arguments, metrics=_metrics(loss))


FOLDER = "TENSORBOARD_LOGGING_DIR"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (
        FOLDER,
        "RANK",
        "WANDB_PROJECT",
        "WANDB_NAME",
        "WANDB_DIR",
        "WANDB_RUN_ID",
        "WANDB_MODE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(monkeypatch):
    """Decides which packages are installed; those of `folders` have no __init__.py."""

    def only(*packages, folders=()):
        origins = dict.fromkeys(packages, "__init__.py") | dict.fromkeys(folders)
        specs = {name: types.SimpleNamespace(origin=origin) for name, origin in origins.items()}
        monkeypatch.setattr(importlib.util, "find_spec", specs.get)

    return only


@pytest.mark.parametrize("value", ["all", ["wandb", "mlflow"], None, ["none", "wandb"]])
def test_unknown_trackers_are_refused(installed, value):
    installed("tensorboard", "trackio", "wandb")
    with pytest.raises(UserError, match=r"^training\.report_to: .*tensorboard, trackio"):
        check_report_to(value)


def test_a_tracker_that_is_not_installed_is_refused(installed):
    installed()
    with pytest.raises(UserError, match=r'wandb .*pip install "ser_hf\[tracking\]"'):
        check_report_to("wandb")


def test_a_resumed_training_has_the_same_run_and_a_new_one_another(tmp_path):
    runs = []
    for folder in ("a", "a", "b"):
        with tracked("trackio", "crnn", tmp_path / folder) as run:
            runs.append(run)
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(("report_to", "rank"), [("none", "0"), ([], "0"), ("tensorboard", "1")])
def test_nothing_is_written_without_a_tracker_or_by_another_process(
    tmp_path, monkeypatch, report_to, rank
):
    monkeypatch.setenv("RANK", rank)
    with tracked(report_to, "crnn", tmp_path / "logs") as run:
        assert run == "crnn"
        assert FOLDER not in os.environ
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("opened", [None, "of the user"])
def test_runs_are_closed_but_not_the_user_s(monkeypatch, tmp_path, opened):
    ended = []
    for name in ("trackio", "wandb"):
        module = types.ModuleType(name)
        module.run, module.finish = opened, lambda name=name: ended.append(name)
        monkeypatch.setitem(sys.modules, name, module)

    def diverge():
        with tracked(["trackio", "wandb"], "crnn", tmp_path, "study"):
            raise UserError(f"{os.environ['WANDB_PROJECT']} diverged")

    with pytest.raises(UserError, match="study diverged"):
        diverge()
    assert sorted(ended) == ["trackio"] + ["wandb"] * (opened is None)
    assert "WANDB_PROJECT" not in os.environ


def test_a_training_is_logged_to_its_own_folder_and_what_follows_it_is_not(tmp_path):
    pytest.importorskip("tensorboard")
    with tracked("tensorboard", "crnn", tmp_path / "logs") as run:
        assert os.environ[FOLDER] == str(tmp_path / "logs")
        arguments = TrainingArguments(
            output_dir=str(tmp_path), report_to="tensorboard", run_name=run, use_cpu=True
        )
        trainer = Trainer(torch.nn.Linear(1, 1), arguments)
        before = list(trainer.callback_handler.callbacks)
        stop_reporting(trainer)
    removed = [one for one in before if one not in trainer.callback_handler.callbacks]
    assert [type(callback).__name__ for callback in removed] == ["TensorBoardCallback"]
    assert FOLDER not in os.environ


def _logits(predictions, classes=3):
    return torch.eye(classes)[torch.tensor(predictions)]


def test_batches_are_counted_until_taken():
    counts = TrainingCounts(3)
    counts.add(_logits([0, 2, 2]), torch.tensor([0, 1, 2]))
    counts.add(_logits([2, 0]), torch.tensor([1, 1]))
    taken = counts.pop_counts()
    assert taken.dtype == torch.int64
    assert taken.tolist() == [[1, 0, 0], [1, 0, 2], [0, 0, 1]]
    counts.add(_logits([1]), torch.tensor([0]))
    assert counts.pop_counts().tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert taken.sum() == 5, "what was taken stays"


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("absent", [False, True])
def test_scores_are_those_of_evaluation(classes, absent):
    generator = np.random.default_rng(classes)
    labels, predictions = generator.integers(classes, size=(2, 200))
    predictions[predictions == 0] = 1
    if absent:
        labels[labels == 1] = 0
    expected = classification_metrics(labels, predictions, classes)
    counts = TrainingCounts(classes)
    counts.add(_logits(predictions.tolist(), classes), torch.tensor(labels))
    measured = counts.scores()
    assert set(measured) == {"uar", "macro_f1", "wa"}
    for name, value in measured.items():
        assert value == pytest.approx(expected[name], rel=1e-12)
