"""One training: `fit` trains and loads the best checkpoint, `window_logits` applies it to clips."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForAudioClassification,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Trainer,
)
from transformers.trainer_callback import TrainerCallback, TrainerState

from ..audio import WaveformStore
from ..evaluation.metrics import METRICS
from ..loading.batches import WindowLogits
from ..loading.plan import Blueprint
from ..models.front_end import FeatureNorm
from ..utils.environment import exact_float32
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .callbacks import EpochLog, Patience, stop_reporting
from .checkpoints import (
    check_step_batch_size,
    delete_incomplete,
    has_stopped,
    last_checkpoint,
    prepare_for_sharding,
)
from .collator import Collator, TrainTransforms
from .feature_cache import CachedTraining, FeatureCaching, cached_module, fixed_crops
from .freezing import Freezing, freeze, innermost
from .lora import Lora, add_lora
from .loss import Loss
from .optimizer import make_schedule, parameter_groups
from .sampling import recordings
from .trainer import EmotionTrainer, expect_unused

logger = logging.getLogger(__name__)
_ALL = Freezing()


def dry_run(
    plan: Blueprint,
    arguments: EmotionTrainingArguments,
    clips: int,
    freezing: Freezing = _ALL,
    lora: Lora | None = None,
    cache: bool = False,
) -> None:
    """Build the network without weights, and the Trainer for `clips` clips per epoch, to check all
    settings early.
    """
    attention = {} if plan.attention is None else {"attn_implementation": plan.attention}
    try:
        with torch.device("meta"):
            model = AutoModelForAudioClassification.from_config(plan.config, **attention)
    except (ValueError, ImportError) as error:
        raise UserError(f"model{'.attention' if attention else ''}: {error}") from None
    expect_unused(arguments, model)
    freeze(model, freezing)
    if lora is not None:
        model = add_lora(model, lora)
    if cache:
        cached_module(model, freezing)
    groups = parameter_groups(model, *arguments.rates)
    groups = [group | {"params": [torch.nn.Parameter(torch.zeros(1))]} for group in groups]
    try:
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
        standard = (
            isinstance(kind, type)
            and issubclass(kind, torch.optim.Optimizer)
            and "params" not in settings
        )
        optimizer = kind(groups, **settings) if standard else torch.optim.SGD(groups)
    except (ValueError, ImportError, TypeError, AttributeError) as error:
        raise UserError(f"training.optim, training.optim_args: {error}") from None
    steps = math.ceil(clips / arguments.step_batch_size)
    planned = (
        arguments.max_steps
        if arguments.max_steps > 0
        else math.ceil(steps * arguments.num_train_epochs)
    )
    warmup = arguments.get_warmup_steps(planned)
    kwargs = arguments.lr_scheduler_kwargs
    make_schedule(arguments.schedule, optimizer, steps=planned, warmup_steps=warmup, kwargs=kwargs)


@torch.no_grad()
def fit_statistics(
    model: PreTrainedModel, collator: Collator, train: Dataset, batch_size: int = 32
) -> None:
    """Compute mean and deviation of the training clips for every `FeatureNorm` that counts them.

    Each recording counts once, without augmentation. Layers are processed in order, as later ones
    depend on earlier.
    """
    norms = [m for m in model.modules() if isinstance(m, FeatureNorm) and m.counts]
    if not norms:
        return
    train = recordings(train)
    model.eval()
    for norm in norms:
        norm.observing = True
        for batch in DataLoader(train, batch_size, collate_fn=collator):
            lengths = batch["attention_mask"].sum(dim=1)
            model.front_end(batch["input_values"].to(model.device), lengths.to(model.device))
        norm.settle()
    logger.info("front end standardized by %d training clips", len(train))


@dataclasses.dataclass(frozen=True)
class Fit:
    """A trained model with its best checkpoint, its validation metric, warnings, and facts about
    cached features.

    `held_out` are the windows of the validation clips, by models that were not fitted on them; None
    if the model of `trainer` was not. `refit` describes the fit on training and validation clips
    (`training.refit` of the report).
    """

    trainer: Trainer
    history: list[dict[str, Any]]
    seconds: float
    epoch_seconds: list[float]
    validated: float
    notes: list[str] = dataclasses.field(default_factory=list)
    cached: dict[str, Any] | None = None
    held_out: WindowLogits | None = None
    refit: dict[str, Any] | None = None


def fit(
    model: PreTrainedModel,
    extractor: SequenceFeatureExtractor,
    store: WaveformStore,
    train: Dataset,
    validation: Dataset,
    arguments: EmotionTrainingArguments,
    compute_metrics: Callable,
    *,
    loss: Loss | None = None,
    patience: int | None = None,
    resume: bool = False,
    watch: Callable[[float, dict[str, float]], None] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    transforms: TrainTransforms | None = None,
    cache: FeatureCaching | None = None,
    planned_steps: int | None = None,
) -> Fit:
    """Train the parameters of `model` that require a gradient, and load its best checkpoint.

    Args:
        train, validation: from `ser_hf.training.clips.clip_table`.
        patience: evaluations without improvement before early stopping; None disables it.
        resume: continue from the last complete checkpoint, if any.
        watch: called with epoch and metrics of every validation; an exception ends the training.
        cache: computes frozen features once; the model is complete afterwards, checkpoints are not.
        planned_steps: of the learning rate schedule, if the training ends earlier.

    Returns:
        The model with its best checkpoint, its validation metric, and notes for the report; without
        evaluations (`refitting`) the model as it is after the last step.

    Raises:
        UserError: if training diverges, a checkpoint cannot be written or resumed, or a setting
            does not fit the model.
    """
    began = time.perf_counter()
    epochs_log = EpochLog()
    collator = Collator.for_model(model.config, store, extractor, arguments.seed, transforms)
    folder = Path(arguments.output_dir)
    if resume and arguments.should_save:
        delete_incomplete(folder)
    prepare_for_sharding(model, arguments.average)
    if cache is not None:
        train = fixed_crops(train, store)
    if cache is not None or not (resume and last_checkpoint(folder)):  # a checkpoint holds them
        fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)
    cached = None
    if cache is not None:
        cached = CachedTraining(model, cache, collator, train, validation, arguments)
        collator = cached.collator
    trainer = EmotionTrainer(
        model,
        arguments,
        collator,
        train,
        validation,
        loss,
        compute_metrics=compute_metrics,
        callbacks=[
            epochs_log,
            *([] if patience is None else [Patience(patience)]),
            *([] if watch is None else [_ValidationWatcher(watch)]),
            *callbacks,
        ],
    )
    trainer.planned_steps = planned_steps
    checkpoint = last_checkpoint(folder) if resume else None
    if checkpoint is not None:
        check_step_batch_size(checkpoint, trainer.made_by())
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if has_stopped(state):
            arguments.max_steps, trainer.planned_steps = state.global_step, state.max_steps
        trainer.add_callback(_Resumed(trainer, checkpoint))
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    stop_reporting(trainer)
    if cached is not None:
        cached.end(trainer)
    _end_mixed_precision(trainer)
    state = trainer.state
    if not arguments.load_best_model_at_end:
        return Fit(trainer, [], time.perf_counter() - began, [], math.nan)
    if state.best_metric is None:
        raise UserError(
            "training.eval_steps, training.eval_delay: no validation during training; evaluate earlier"
        )
    if state.best_model_checkpoint is None or not Path(state.best_model_checkpoint).is_dir():
        raise UserError(
            f"{arguments.output_dir}: the best checkpoint is missing; start again with --overwrite"
        )
    history = _history(state.log_history, state.best_global_step)
    kept = next(entry["epoch"] for entry in history if "kept" in entry)
    logger.info(
        "selected: epoch %g, mean %s %.3f", kept, arguments.metric_for_best_model, state.best_metric
    )
    return Fit(
        trainer,
        history,
        time.perf_counter() - began,
        epochs_log.epoch_seconds,
        state.best_metric,
        cached=None if cached is None else cached.facts,
    )


def _end_mixed_precision(trainer: Trainer) -> None:
    """Leave a model that computes in float32, as the published one does: figures are to be those of
    the latter.
    """
    # Accelerate replaced the model's `forward` by one in half precision; this puts the model's own
    # back.
    model = innermost(trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False))
    if "flash" in (model.config._attn_implementation or ""):  # its kernels refuse float32
        model.set_attn_implementation("sdpa")


class _Resumed(TrainerCallback):
    """Restores, before the first step, the state that the Trainer does not restore."""

    def __init__(self, trainer: EmotionTrainer, checkpoint: Path):
        self.trainer = trainer
        self.checkpoint = checkpoint

    def on_train_begin(self, args, state, control, **kwargs):
        # The state holds the path that the best checkpoint had, and the run may have been moved
        # since.
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if state.best_global_step and best.is_dir():
            state.best_model_checkpoint = str(best)
        if self.trainer.average:
            self.trainer.average.load(self.checkpoint)


class _ValidationWatcher(TrainerCallback):
    """Calls `watch` for every validation, after its checkpoint has been written."""

    def __init__(self, watch: Callable[[float, dict[str, float]], None]):
        self.watch = watch
        self.metrics = None

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.metrics = metrics

    def on_save(self, args, state, control, **kwargs):
        if self.metrics is not None:
            metrics = self.metrics
            self.metrics = None
            self.watch(state.epoch, _validation(metrics))


def window_logits(trainer: Trainer, part: Dataset) -> WindowLogits:
    """Apply the model to the windows of clips; the same in every process."""
    with exact_float32():
        output = trainer.predict(part, metric_key_prefix="evaluated")
    given = part["shares" if "shares" in part.column_names else "labels"][:]
    if not np.array_equal(output.label_ids, np.asarray(given, dtype=output.label_ids.dtype)):
        raise RuntimeError("predictions are not in the order of the clips")
    logits = np.asarray(output.predictions, dtype=np.float32)
    return WindowLogits(part["row"][:], part["length"][:], logits)


def _history(log: list[dict[str, Any]], kept: int) -> list[dict[str, Any]]:
    """The Trainer's log by evaluation: {epoch, step, train_loss, train, learning_rate(s),
    grad_norm, validation}.

    ``train`` holds metrics of the training batches. The entry of step `kept` has ``kept: true``.
    """
    entries: dict[int, dict[str, Any]] = {}
    for record in log:
        entry = entries.setdefault(
            record["step"], {"epoch": record["epoch"], "step": record["step"]}
        )
        if "loss" in record:
            entry["train_loss"] = record["loss"]
            # fp16 logs an infinite norm where it skips a step.
            for key, value in record.items():
                if (key == "grad_norm" or key.startswith("learning_rate")) and math.isfinite(value):
                    entry[key] = value
            entry["train"] = {key: record[key] for key in METRICS if key in record}
        if validation := _validation(record):
            entry["validation"] = validation
            if record["step"] == kept:
                entry["kept"] = True
    return [entries[step] for step in sorted(entries) if len(entries[step]) > 2]


def _validation(record: dict[str, float]) -> dict[str, float]:
    """The validation metrics of a log record, without timings."""
    timings = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    metrics = {
        key.removeprefix("eval_"): value for key, value in record.items() if key.startswith("eval_")
    }
    return {key: value for key, value in metrics.items() if key not in timings}
