"""The run itself: a Trainer, the checkpoint that validation prefers, and predictions of a part by row."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..audio import WaveformStore
from ..errors import UserError
from .batches import Collator
from .layers import head_parameter_groups
from .loss import ClassificationLoss
from .progress import EpochLines, StepBar
from .statistics import fit_statistics


class EmotionTrainer(Trainer):
    """Evaluates in the order of the rows (which are sorted by length): the stock sampler for length-grouped training
    shuffles evaluation too, and a prediction could no longer be told which clip it belongs to."""

    def _get_eval_sampler(self, eval_dataset):
        return SequentialSampler(eval_dataset)


@dataclasses.dataclass(frozen=True)
class Fit:
    """A trained model, at the checkpoint that validation prefers, and how it came to be; `notes` are what a reader of
    its figures must know."""

    trainer: Trainer
    history: list[dict[str, Any]]
    seconds: float
    epoch_seconds: list[float]
    notes: list[str] = dataclasses.field(default_factory=list)


def fit(
    model: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    store: WaveformStore,
    train: Dataset,
    validation: Dataset,
    arguments: TrainingArguments,
    compute_metrics: Callable,
    *,
    class_weights: list[float] | None = None,
    head_learning_rate: float | None = None,
    patience: int | None = None,
    resume: bool = False,
) -> Fit:
    """Trains `model` and loads its best checkpoint.

    A front end that is standardised by the training clips counts them first.

    Args:
        train, validation: from `ser_hf.training.batches.part`.
        compute_metrics: takes an `EvalPrediction`, returns {name: value}.
        class_weights: one per class, in the order of the ids.
        head_learning_rate: for what stands outside the encoder; `arguments.learning_rate` is then the encoder's.
        patience: evaluations without a gain before stopping; None never stops early.
        resume: go on from the last whole checkpoint, if there is one.
    """
    lines = EpochLines(arguments.metric_for_best_model)
    collator = Collator(store, extractor)
    trainer = emotion_trainer(
        model,
        arguments,
        collator,
        train,
        validation,
        class_weights,
        compute_metrics=compute_metrics,
        optimizer_cls_and_kwargs=(
            None if head_learning_rate is None else head_parameter_groups(model, arguments, head_learning_rate)
        ),
        callbacks=[lines] + ([] if patience is None else [EarlyStoppingCallback(patience)]),
    )
    began = time.perf_counter()
    checkpoint = last_checkpoint(Path(arguments.output_dir)) if resume else None
    if checkpoint is None:  # a checkpoint carries them
        fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.state.best_model_checkpoint is None:
        raise UserError(
            f"{arguments.output_dir}: the checkpoint that validation preferred is gone (was the run folder moved?); "
            "start anew with --overwrite"
        )
    return Fit(trainer, _history(trainer.state.log_history), time.perf_counter() - began, lines.epoch_seconds)


def emotion_trainer(
    model: PreTrainedModel,
    arguments: TrainingArguments,
    collator: Collator,
    train: Dataset,
    validation: Dataset,
    class_weights: Sequence[float] | None = None,
    **more: Any,
) -> EmotionTrainer:
    """An `EmotionTrainer` with this project's loss and progress bars; `more` is whatever else it takes."""
    trainer = EmotionTrainer(
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=train,
        eval_dataset=validation,
        compute_loss_func=ClassificationLoss(class_weights, arguments.label_smoothing_factor),
        preprocess_logits_for_metrics=_logits_only,
        **more,
    )
    if arguments.disable_tqdm:
        trainer.remove_callback(PrinterCallback)
    else:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(StepBar)
    return trainer


def predict(trainer: Trainer, part: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (clips,) and logits (clips, classes) of a part, the same in every process."""
    output = trainer.predict(part, metric_key_prefix="judged")
    if not np.array_equal(output.label_ids, part["labels"][:]):
        raise RuntimeError("predictions came back in another order than the clips; no figure can be trusted")
    return np.asarray(part["row"][:]), np.asarray(output.predictions, dtype=np.float32)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole: the Trainer writes trainer_state.json after everything else."""
    steps = [
        (int(path.name.rpartition("-")[2]), path)
        for path in folder.glob("checkpoint-*")
        if (path / "trainer_state.json").is_file()
    ]
    return str(max(steps)[1]) if steps else None


def _logits_only(outputs: torch.Tensor | tuple, labels: torch.Tensor) -> torch.Tensor:
    """Some heads also return hidden states; only the logits are worth gathering."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _history(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The Trainer's log by evaluation: {epoch, step, train_loss, learning_rate, grad_norm, validation}."""
    entries: dict[int, dict[str, Any]] = {}
    for record in log:
        entry = entries.setdefault(record["step"], {"epoch": record["epoch"], "step": record["step"]})
        if "loss" in record:
            entry["train_loss"] = record["loss"]
            # fp16 logs an infinite norm where it skips a step.
            for key in ("learning_rate", "grad_norm"):
                if math.isfinite(record.get(key, math.inf)):
                    entry[key] = record[key]
        validation = {key.removeprefix("eval_"): value for key, value in record.items() if key.startswith("eval_")}
        if validation:
            entry["validation"] = validation
    return [entries[step] for step in sorted(entries) if len(entries[step]) > 2]
