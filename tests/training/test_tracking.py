"""Trackers: names that are refused before a run, one run for each training, and its curves."""

import importlib.util
import os
import sys
import types

import pytest
import torch
from transformers import Trainer, TrainingArguments

from ser_hf.training.callbacks import check_report_to, stop_reporting, tracked
from ser_hf.utils.errors import UserError

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
    """Decides which packages are installed; those of `folders` are folders without an __init__.py."""

    def only(*packages, folders=()):
        origins = dict.fromkeys(packages, "__init__.py") | dict.fromkeys(folders)
        specs = {name: types.SimpleNamespace(origin=origin) for name, origin in origins.items()}
        monkeypatch.setattr(importlib.util, "find_spec", specs.get)

    return only


@pytest.mark.parametrize("value", ["all", ["wandb", "mlflow"], None, ["none", "wandb"]])
def test_unknown_trackers_are_refused(installed, value):
    installed("tensorboard", "trackio", "wandb")
    with pytest.raises(
        UserError,
        match=r"training\.report_to: unknown tracker .*; use none, or tensorboard, trackio",
    ):
        check_report_to(value)


def test_a_tracker_that_is_not_installed_is_refused(installed):
    installed()
    with pytest.raises(
        UserError, match=r'wandb is not installed; pip install "ser_hf\[tracking\]"'
    ):
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
