"""Trackers: names that are refused before a run, one run for each training, and its curves."""

import importlib.util
import os
import sys
import types

import pytest
import torch
from support.close import assert_near
from transformers import Trainer, TrainingArguments

from ser_hf.evaluation.metrics import trainer_metrics
from ser_hf.training.callbacks import check_report_to, stop_reporting, tracked
from ser_hf.utils.errors import UserError

FOLDER = "TENSORBOARD_LOGGING_DIR"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (FOLDER, "RANK", "WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR", "WANDB_RUN_ID", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(monkeypatch):
    """Decides which packages are installed; those of `folders` are folders without an __init__.py."""

    def only(*packages, folders=()):
        origins = dict.fromkeys(packages, "__init__.py") | dict.fromkeys(folders)
        specs = {name: types.SimpleNamespace(origin=origin) for name, origin in origins.items()}
        monkeypatch.setattr(importlib.util, "find_spec", specs.get)

    return only


@pytest.mark.parametrize("value", ["none", ["none"], [], "tensorboard", ["wandb", "trackio", "tensorboard"]])
def test_known_trackers_pass(installed, value):
    installed("tensorboard", "trackio", "wandb")
    check_report_to(value)


@pytest.mark.parametrize("value", ["all", ["wandb", "mlflow"], None, ["none", "wandb"]])
def test_unknown_trackers_are_refused(installed, value):
    installed("tensorboard", "trackio", "wandb")
    with pytest.raises(UserError, match=r"training\.report_to: unknown tracker .*; use none, or tensorboard, trackio"):
        check_report_to(value)


def test_a_tracker_that_is_not_installed_is_refused(installed):
    installed()
    with pytest.raises(UserError, match=r'wandb is not installed; pip install "ser_hf\[tracking\]"'):
        check_report_to("wandb")


def test_the_environment_is_set_for_the_training_alone(tmp_path):
    with tracked("tensorboard", "crnn", tmp_path / "logs"):
        assert os.environ[FOLDER] == str(tmp_path / "logs")
        assert (tmp_path / "logs").is_dir()
    assert FOLDER not in os.environ


def test_a_resumed_training_has_the_same_run_and_a_new_one_another(tmp_path):
    runs = []
    for folder in ("a", "a", "b"):
        with tracked("trackio", "crnn", tmp_path / folder) as run:
            runs.append(run)
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(("report_to", "rank"), [("none", "0"), ([], "0"), ("tensorboard", "1")])
def test_nothing_is_written_without_a_tracker_or_by_another_process(tmp_path, monkeypatch, report_to, rank):
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


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)

    def forward(self, x, labels):
        logits = self.linear(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def train(folder, tracker, seed, epochs=2, resume=None):
    """Two epochs of a linear layer, tracked as a run tracks them. Returns the Trainer and the run's name."""
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=epochs,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        report_to=tracker,
        project="ser_hf_test",
        seed=seed,
        use_cpu=True,
        disable_tqdm=True,
    )
    clips = [{"x": torch.tensor([i / 6, 1.0]), "labels": i % 3} for i in range(12)]
    with tracked(arguments.report_to, f"seed-{seed}", folder / "logs", arguments.project) as arguments.run_name:
        trainer = Trainer(Net(), arguments, train_dataset=clips, eval_dataset=clips, compute_metrics=trainer_metrics)
        trainer.train(resume_from_checkpoint=resume)
        stop_reporting(trainer)
    trainer.predict(clips, metric_key_prefix="evaluated")
    return trainer, arguments.run_name


def scalars(folder):
    """{tag: [(step, value)]} of the events in a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


LOGGED = {
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "eval/loss": "eval_loss",
    "eval/uar": "eval_uar",
    "eval/macro_f1": "eval_macro_f1",
}


def test_two_seeds_are_two_runs_of_tensorboard_with_every_epoch_in_each(tmp_path):
    pytest.importorskip("tensorboard")
    for seed in (1, 2):
        trainer, _ = train(tmp_path / f"seed-{seed}", "tensorboard", seed)
        read = scalars(tmp_path / f"seed-{seed}" / "logs")
        for tag, key in LOGGED.items():
            logged = [(entry["step"], entry[key]) for entry in trainer.state.log_history if key in entry]
            assert [step for step, _ in logged] == [2, 4]
            assert [step for step, _ in read[tag]] == [2, 4]
            assert_near([value for _, value in read[tag]], [value for _, value in logged])
        assert not any("evaluated" in tag for tag in read)
