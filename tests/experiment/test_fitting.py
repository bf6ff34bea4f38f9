"""The selection of a checkpoint by a mean of evaluations, and the refit on training and validation
clips.
"""

import shutil
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from transformers import TrainerState

import ser_hf
from ser_hf.training.trainer import EmotionTrainer

RECIPE = {
    "name": "refitted",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"validation": 0.34, "test": 0.34, "near_duplicates": "skip"},
    "model": {"architecture": "mfcc_mlp", "n_mels": 32, "n_mfcc": 8, "hidden": [8]},
    "training": {
        "num_train_epochs": 4,
        "refit": True,
        "average": {"kind": "ema", "decay": 0.9},
        "seeds": [1],
    },
    "evaluation": {"bootstrap": 20},
}


def select(scores, evaluations, warmup=0, greater=True, last=False):
    """The step that `EmotionTrainer` selects from the scores of steps 1, 2, ..."""
    arguments = SimpleNamespace(
        metric_for_best_model="uar",
        greater_is_better=greater,
        selecting_evaluations=evaluations,
        keeps_last=last,
        get_warmup_steps=lambda steps: warmup,
    )
    trainer = SimpleNamespace(args=arguments, state=TrainerState(max_steps=len(scores)))
    for step, score in enumerate(scores, start=1):
        trainer.state.global_step = step
        trainer.state.log_history.append({"eval_uar": score})
        EmotionTrainer._determine_best_metric(trainer, {}, None)
    return trainer.state.best_global_step


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (([0.5, 0.9, 0.5, 0.6, 0.8, 0.8], 1), 2),
        (([0.5, 0.9, 0.1, 0.6, 0.8, 0.8], 3), 6),  # a single high score does not select its epoch
        (([0.5, 0.8, 0.8, 0.8, 0.3], 1), 4),  # the later one among equals
        (([0.9, 0.5, 0.6, 0.4], 1, 2), 3),  # none of the warm-up
        (([0.9, 0.5], 1, 9), 2),  # a warm-up longer than the training
        (([0.5, 0.1, 0.4, 0.4], 2, 0, False), 3),
        (([0.9, 0.5, 0.6, 0.4], 1, 0, True, True), 4),  # whatever validation says
    ],
)
def test_the_best_mean_of_evaluations_selects_the_checkpoint(settings, step):
    assert select(*settings) == step


@pytest.fixture(scope="module")
def refitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "refitted"
    return ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"]), folder


def test_the_selected_steps_are_trained_again_on_training_and_validation_clips(refitted):
    report, folder = refitted
    train = report.protocol.parts["train"]
    validation = report.protocol.parts["validation"]
    (kept,) = [entry for entry in report.history if entry.get("kept")]
    assert report.training.refit == {
        "steps": kept["step"],
        "clips": train.clips + validation.clips,
        "speakers": 4,
    }
    assert (folder / "checkpoints" / "refit" / f"checkpoint-{kept['step']}").is_dir()
    saved = load_file(folder / "model" / "model.safetensors")
    own = load_file(folder / "checkpoints" / f"checkpoint-{kept['step']}" / "model.safetensors")
    last = load_file(
        folder / "checkpoints" / "refit" / f"checkpoint-{kept['step']}" / "model.safetensors"
    )
    weights = [name for name in saved if name.startswith("classifier")]
    # the average, as checkpoints hold it
    assert all((saved[name] == last[name]).all() for name in weights)
    assert any((saved[name] != own[name]).any() for name in weights)
    parts = pq.read_table(folder / "report" / "predictions.parquet")["part"].to_pylist()
    assert parts.count("validation") == validation.clips


@pytest.mark.slow
def test_an_interrupted_refit_continues(refitted, tmp_path):
    report, folder = refitted
    shutil.copytree(folder, tmp_path / "run")
    for name in ("report", "model"):
        shutil.rmtree(tmp_path / "run" / name)
    newest = (
        tmp_path / "run" / "checkpoints" / "refit" / f"checkpoint-{report.training.refit['steps']}"
    )
    shutil.rmtree(newest)
    again = ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'run'}"], resume=True)
    assert again.metrics == pytest.approx(report.metrics)
    assert again.parts["validation"] == pytest.approx(report.parts["validation"])


def test_no_refit_if_the_validation_split_is_evaluated(tmp_path):
    overrides = [
        f"output_dir={tmp_path / 'run'}",
        "evaluation.part=validation",
        "training.num_train_epochs=1",
    ]
    assert ser_hf.run_recipe(RECIPE, overrides).training.refit is None
