"""Trainer callbacks: progress bars, a log line per evaluation, trackers, and training metrics."""

import contextlib
import importlib.util
import logging
import math
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import patch_environment, reduce
from transformers import EarlyStoppingCallback, Trainer
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_callback import ProgressCallback, TrainerCallback, TrainerState

from ..evaluation.metrics import NAMES, classification_metrics
from ..evaluation.tasks import TASKS
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .loss import class_ids

logger = logging.getLogger(__name__)

# The metrics in the log line of an evaluation.
SHOWN = list(dict.fromkeys(name for task in TASKS.values() for name in (task.main, task.beside[0])))


class StepBar(ProgressCallback):
    """The Trainer's progress bars without its printed dictionaries."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        pass


def selecting_metric(args: EmotionTrainingArguments, state: TrainerState) -> float:
    """The mean of the selecting metric over the last evaluations: a single evaluation is noisy."""
    key = f"eval_{args.metric_for_best_model}"
    values = [entry[key] for entry in state.log_history if key in entry]
    return float(np.mean(values[-args.selecting_evaluations :]))


class Patience(EarlyStoppingCallback):
    """Early stopping by `selecting_metric`."""

    def check_metric_value(self, args, state, control, metric_value):
        super().check_metric_value(args, state, control, selecting_metric(args, state))


class EpochLog(TrainerCallback):
    """Logs one line per evaluation and keeps the training seconds of each epoch."""

    def __init__(self):
        self.epoch_seconds: list[float] = []
        self._loss = float("nan")

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._began = time.perf_counter()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.epoch_seconds.append(time.perf_counter() - self._began)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self._loss = (logs or {}).get("loss", self._loss)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if not metrics or "eval_loss" not in metrics:
            return
        loss = metrics["eval_loss"]
        if not math.isfinite(loss):
            raise UserError(
                f"training.learning_rate: training diverged (validation loss {loss} after epoch "
                f"{state.epoch:g}); lower it, or training.head_learning_rate"
            )
        if not state.is_world_process_zero:
            return
        values = [
            f"  {NAMES[key]} {metrics[f'eval_{key}']:.3f}"
            for key in SHOWN
            if f"eval_{key}" in metrics
        ]
        seconds = f"  {self.epoch_seconds[-1]:.1f} s" if self.epoch_seconds else ""
        logger.info(
            "epoch %5.1f/%g  train loss %.3f  validation loss %.3f%s%s",
            state.epoch or 0,
            state.num_train_epochs,
            self._loss,
            loss,
            "".join(values),
            seconds,
        )


TRACKERS = ("tensorboard", "trackio", "wandb")

# The file with the id of the tracker's run, beside the log: `--resume` reads this file, and
# `--overwrite` deletes it.
RUN_ID = "run_id"


def check_report_to(value: Any) -> None:
    """Check `training.report_to`: ``none``, a tracker or a list of trackers, each installed.

    Raises:
        UserError: for an unknown or missing tracker.
    """
    if value in ("none", ["none"]):
        return
    for name in value if isinstance(value, list) else [value]:
        if name not in TRACKERS:
            raise UserError(
                f"training.report_to: unknown tracker {name!r}; use none, or {', '.join(TRACKERS)}"
            )
        spec = importlib.util.find_spec(name)
        # A folder with files of W&B is named wandb and has no __init__.py.
        if spec is None or spec.origin is None:
            raise UserError(
                f'training.report_to: {name} is not installed; pip install "ser_hf[tracking]"'
            )


@contextlib.contextmanager
def tracked(
    report_to: str | list[str], name: str, logs: Path, project: str = "ser_hf"
) -> Iterator[str]:
    """A context for the creation of a Trainer and its training, with one run in each tracker.

    The Trainer's callbacks open these runs, and the end of the context closes them. TensorBoard
    and W&B write to `logs`, Trackio to its own folder. Environment variables of the user take
    precedence.

    Args:
        report_to: one or several trackers, or ``none``.
        name: name of the run.
        logs: folder of the logs, which also has the id of the run for a resumed training.
        project: project in W&B.

    Yields:
        The name of the run with its id, for `TrainingArguments.run_name`.
    """
    trackers = {report_to} if isinstance(report_to, str) else set(report_to)
    # Only the first process reports.
    if os.environ.get("RANK", "0") != "0" or not trackers & set(TRACKERS):
        yield name
        return
    logs.mkdir(parents=True, exist_ok=True)
    id_file = logs / RUN_ID
    if not id_file.is_file():
        id_file.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    run_id = id_file.read_text(encoding="utf-8").strip()
    run = f"{name}-{run_id}"
    board = os.environ.get("TENSORBOARD_LOGGING_DIR")
    variables = {"TENSORBOARD_LOGGING_DIR": logs if board is None else Path(board, run)}
    if "tensorboard" in trackers:
        logger.info("tensorboard --logdir %s", variables["TENSORBOARD_LOGGING_DIR"])
    defaults = {"WANDB_PROJECT": project, "WANDB_DIR": logs}
    variables |= {key: value for key, value in defaults.items() if key not in os.environ}
    # A run that the user has opened stays open.
    if getattr(sys.modules.get("wandb"), "run", None) is not None:
        trackers = trackers - {"wandb"}
    try:
        with patch_environment(**variables):
            yield run
    finally:
        for tracker in trackers:
            finish = getattr(sys.modules.get(tracker), "finish", None)
            if finish is not None:
                with contextlib.suppress(RuntimeError):  # no run is open
                    finish()


def stop_reporting(trainer: Trainer) -> None:
    """Remove the trackers, whose runs are closed; later predictions would be logged to them."""
    for callback in get_reporting_integration_callbacks(trainer.args.report_to):
        trainer.remove_callback(callback)


class TrainingCounts:
    """Confusion counts of the training batches since the last `pop_counts`.

    The counted predictions are those of the training steps: the model is in training mode, and its
    weights change from batch to batch. Soft or mixed labels count as their majority class.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self._counts = torch.zeros(classes * classes, dtype=torch.int64)

    @torch.no_grad()
    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count the predictions of a batch.

        `logits` are (batch, classes), and `labels` the same as for `ClassificationLoss`. Further
        columns are those of other targets; a clip without a class (nan) does not count.
        """
        if labels.dim() == 2:
            labels = labels[:, : self.classes]
            has_class = labels.isfinite().all(dim=1)
            labels = labels[has_class]
            logits = logits[has_class]
        logits = logits[:, : self.classes]
        cells = class_ids(labels) * self.classes + logits.argmax(dim=1)
        self._counts = self._counts.to(logits.device)  # moves once
        self._counts.index_add_(0, cells, torch.ones_like(cells))

    def pop_counts(self) -> torch.Tensor:
        """The counts of all processes, int64 (classes, classes), with true classes as rows.

        All counts are then reset to zero. Each process must call this method.
        """
        counts = reduce(self._counts, "sum")
        self._counts.zero_()
        return counts.view(self.classes, self.classes).cpu()

    def scores(self) -> dict[str, float]:
        """UAR, macro-F1 and WA since the last `pop_counts`; empty without clips."""
        counts = np.asarray(self.pop_counts())
        if not counts.any():
            return {}
        cells = np.indices(counts.shape).reshape(2, -1)
        labels, predictions = np.repeat(cells, counts.flatten(), axis=1)
        metrics = classification_metrics(labels, predictions, len(counts))
        return {name: metrics[name] for name in ("uar", "macro_f1", "wa")}
