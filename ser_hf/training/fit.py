"""Trains a model with the Trainer (`fit`), and predicts clips with it (`window_logits`)."""

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
from ..loading.batches import SAMPLES_A_CLIP, WindowLogits, longest_first
from ..loading.plan import Blueprint
from ..models.front_end import FeatureNorm
from ..utils.environment import MemoryLimit, exact_float32, return_freed_memory
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .callbacks import EpochLog, Patience, stop_reporting
from .checkpoints import check_step_size, delete_incomplete, has_stopped, last_checkpoint
from .collator import Collator, TrainTransforms
from .feature_cache import (
    CachedTraining,
    CacheSummary,
    FeatureCaching,
    cached_module,
    fixed_crops,
)
from .freezing import Freezing, freeze, innermost
from .lora import Lora, add_lora
from .loss import Loss
from .sampling import recordings
from .schedules import make_schedule
from .sharding import prepare_for_sharding
from .targets import TargetLayout, TargetsLoss
from .trainer import EmotionTrainer, expect_unused, takes_groups

logger = logging.getLogger(__name__)

# A function that receives the epoch and the metrics of each validation.
Watch = Callable[[float, dict[str, float]], None]

_ALL = Freezing()
_TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def dry_run(
    plan: Blueprint,
    arguments: EmotionTrainingArguments,
    clips: int,
    freezing: Freezing = _ALL,
    lora: Lora | None = None,
    cache: bool = False,
) -> None:
    """Check all settings early: build the network without weights, its optimizer and schedule.

    Args:
        clips: number of clips per epoch.
        cache: whether frozen features are cached.

    Raises:
        UserError: naming the key of a setting that does not fit the network.
    """
    model = _network_of(plan)
    expect_unused(arguments, model)
    freeze(model, freezing)
    if lora is not None:
        model = add_lora(model, lora)
    if cache:
        cached_module(model, freezing)
    optimizer = _empty_optimizer(model, arguments)

    steps = arguments.max_steps
    steps_per_epoch = arguments.steps_per_epoch(clips)
    if steps <= 0:
        steps = math.ceil(steps_per_epoch * arguments.num_train_epochs)
    make_schedule(
        arguments.schedule,
        optimizer,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=arguments.get_warmup_steps(steps),
        kwargs=arguments.lr_scheduler_kwargs,
    )


def _network_of(plan: Blueprint) -> PreTrainedModel:
    """Build the network of a blueprint on the meta device, which allocates no weights."""
    settings = {} if plan.attention is None else {"attn_implementation": plan.attention}
    try:
        with torch.device("meta"):
            return AutoModelForAudioClassification.from_config(
                plan.config, trust_remote_code=False, **settings
            )
    except (ValueError, ImportError) as error:
        key = "model" if plan.attention is None else "model.attention"
        raise UserError(f"{key}: {error}") from None


def _empty_optimizer(
    model: torch.nn.Module, arguments: EmotionTrainingArguments
) -> torch.optim.Optimizer:
    """Create the optimizer with a single number in each parameter group, to check its settings."""
    groups = [
        group | {"params": [torch.nn.Parameter(torch.zeros(1))]}
        for group in arguments.parameter_groups(model)
    ]
    try:
        optimizer_class, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
        if takes_groups(optimizer_class, settings):
            return optimizer_class(groups, **settings)
        return torch.optim.SGD(groups)
    except (ValueError, ImportError, TypeError, AttributeError) as error:
        raise UserError(f"training.optim, training.optim_args: {error}") from None


@torch.no_grad()
def fit_statistics(
    model: PreTrainedModel, collator: Collator, train: Dataset, batch_size: int = 32
) -> None:
    """Compute the mean and deviation of the training clips for each `FeatureNorm` that needs them.

    Each recording counts once, without augmentation. Norms are processed in the order of the
    layers, because the input of a norm depends on the norms before it.
    """
    norms = [
        module for module in model.modules() if isinstance(module, FeatureNorm) and module.counts
    ]
    if not norms:
        return
    train = recordings(train)
    # The front end counts real frames only, so that padding has no effect.
    clip_batches = longest_first(
        train["length"][:], batch_size, padding_safe=True, most=batch_size * SAMPLES_A_CLIP
    )
    model.eval()
    memory = MemoryLimit()
    for norm in norms:
        norm.observing = True
        for batch in DataLoader(train, batch_sampler=clip_batches, collate_fn=collator):
            lengths = batch["attention_mask"].sum(dim=1)
            model.front_end(batch["input_values"].to(model.device), lengths.to(model.device))
            memory.check()
        norm.settle()
    return_freed_memory()
    logger.info("front end standardized by %d training clips", len(train))


@dataclasses.dataclass(frozen=True)
class Fit:
    """The result of a training: the trained model, and the data for its report.

    Args:
        trainer: the Trainer, which has the model of the best checkpoint.
        history: one entry for each evaluation, or for each candidate of a grid.
        seconds, epoch_seconds: duration of the whole fit, and of each epoch.
        validated: the validation metric of the model.
        notes: warnings for the report.
        cached: summary of the cache; None without `freeze.cache`.
        held_out: logits of the validation clips by models that were not fitted on these clips. None
            if the model of `trainer` itself was not fitted on them.
        cross_validated: logits of all training clips, each by a model that was not fitted on its
            speaker; None without a cross-validation over speakers.
        refit: description of the fit on training and validation clips (`training.refit` of the
            report); None without one.
    """

    trainer: Trainer
    history: list[dict[str, Any]]
    seconds: float
    epoch_seconds: list[float]
    validated: float
    notes: list[str] = dataclasses.field(default_factory=list)
    cached: CacheSummary | None = None
    held_out: WindowLogits | None = None
    cross_validated: WindowLogits | None = None
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
    loss: Loss | TargetsLoss | None = None,
    patience: int | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    transforms: TrainTransforms | None = None,
    cache: FeatureCaching | None = None,
    planned_steps: int | None = None,
    has_statistics: bool = False,
    layout: TargetLayout | None = None,
) -> Fit:
    """Train the parameters of `model` that require a gradient, and load the best checkpoint.

    Args:
        train, validation: from `ser_hf.training.clips.clip_table`.
        patience: evaluations without improvement before early stopping; None disables it.
        resume: continue from the last complete checkpoint, if any.
        watch: called for every validation; an exception ends the training.
        cache: settings to compute frozen features once. Checkpoints then lack the frozen modules;
            the model has them again after the training.
        planned_steps: number of steps of the learning rate schedule, if the training ends earlier.
        has_statistics: whether the weights contain the statistics of the front end; otherwise they
            are computed from the training clips.
        layout: of a model with several targets: their columns in the packed `shares` of the clips.

    Returns:
        The model of the best checkpoint, its validation metric, and notes for the report. Without
        evaluations (see `refitting`), the model has the weights after the last step.

    Raises:
        UserError: if training diverges, a checkpoint cannot be written or resumed, or a setting
            does not fit the model.
    """
    began = time.perf_counter()
    folder = Path(arguments.output_dir)
    if resume and arguments.should_save:
        delete_incomplete(folder)
    checkpoint = last_checkpoint(folder) if resume else None

    prepare_for_sharding(model, arguments.average)
    collator = Collator.for_model(model.config, store, extractor, arguments.seed, transforms)
    cached = None
    if cache is not None:
        train = fixed_crops(train, store)
        if not has_statistics:
            fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)
        cached = CachedTraining(model, cache, collator, train, validation, arguments)
        collator = cached.collator
    elif checkpoint is None and not has_statistics:  # a checkpoint contains the statistics already
        fit_statistics(model, collator, train, arguments.per_device_eval_batch_size)

    log = EpochLog()
    trainer = EmotionTrainer(
        model,
        arguments,
        collator,
        train,
        validation,
        loss,
        compute_metrics=compute_metrics,
        layout=layout,
        callbacks=_callbacks(log, patience, watch, callbacks),
    )
    trainer.planned_steps = planned_steps
    if checkpoint is not None:
        _prepare_to_resume(trainer, checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    stop_reporting(trainer)
    if cached is not None:
        cached.end(trainer)
    _end_mixed_precision(trainer)

    if not arguments.load_best_model_at_end:
        return Fit(trainer, [], time.perf_counter() - began, [], math.nan)
    history = _selected_history(trainer)
    return Fit(
        trainer,
        history,
        time.perf_counter() - began,
        log.epoch_seconds,
        trainer.state.best_metric,
        cached=None if cached is None else cached.summary,
    )


def _callbacks(
    log: EpochLog, patience: int | None, watch: Watch | None, further: Sequence[TrainerCallback]
) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [log]
    if patience is not None:
        callbacks.append(Patience(patience))
    if watch is not None:
        callbacks.append(_ValidationWatcher(watch))
    return [*callbacks, *further]


def _prepare_to_resume(trainer: EmotionTrainer, checkpoint: Path) -> None:
    """Check that a checkpoint can be resumed, and restore what the Trainer does not."""
    check_step_size(checkpoint, trainer.step_size())
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if has_stopped(state):
        trainer.args.max_steps = state.global_step
        trainer.planned_steps = state.max_steps
    if state.epoch is not None:
        logger.info("continuing after epoch %.3g, from %s", state.epoch, checkpoint)
    trainer.add_callback(_Resumed(trainer, checkpoint))


def _selected_history(trainer: EmotionTrainer) -> list[dict[str, Any]]:
    """The history of a training (see `_history`), after a check that its best checkpoint exists."""
    state = trainer.state
    if state.best_metric is None:
        raise UserError(
            "training.eval_steps, training.eval_delay: no validation during training; "
            "evaluate earlier"
        )
    if state.best_model_checkpoint is None or not Path(state.best_model_checkpoint).is_dir():
        raise UserError(
            f"{trainer.args.output_dir}: the best checkpoint is missing; "
            "start again with --overwrite"
        )
    history = _history(state.log_history, state.best_global_step)
    selected_epoch = next(entry["epoch"] for entry in history if "kept" in entry)
    metric = trainer.args.metric_for_best_model
    word = "last" if trainer.args.keeps_last else "selected"
    logger.info("%s: epoch %g, mean %s %.3f", word, selected_epoch, metric, state.best_metric)
    return history


def _end_mixed_precision(trainer: Trainer) -> None:
    """Make the model compute in float32, as the published model does."""
    # Accelerate replaced the model's `forward` by one in half precision; this undoes it.
    model = innermost(trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False))
    if "flash" in (model.config._attn_implementation or ""):  # its kernels refuse float32
        model.set_attn_implementation("sdpa")


class _Resumed(TrainerCallback):
    """Restores, before the first step, the state that the Trainer does not restore."""

    def __init__(self, trainer: EmotionTrainer, checkpoint: Path):
        self.trainer = trainer
        self.checkpoint = checkpoint

    def on_train_begin(self, args, state, control, **kwargs):
        # The state has the path of the best checkpoint, but the run's folder may have been moved.
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if state.best_global_step and best.is_dir():
            state.best_model_checkpoint = str(best)
        if self.trainer.average:
            self.trainer.average.load(self.checkpoint)


class _ValidationWatcher(TrainerCallback):
    """Calls `watch` for every validation, after its checkpoint has been written."""

    def __init__(self, watch: Watch):
        self.watch = watch
        self.metrics = None

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.metrics = metrics

    def on_save(self, args, state, control, **kwargs):
        if self.metrics is not None:
            metrics = self.metrics
            self.metrics = None
            self.watch(state.epoch, _validation(metrics))


def window_logits(trainer: Trainer, clips: Dataset) -> WindowLogits:
    """Apply the model to the windows of clips; every process gets all logits."""
    with exact_float32():
        output = trainer.predict(clips, metric_key_prefix="evaluated")
    labels = clips["shares" if "shares" in clips.column_names else "labels"][:]
    expected = np.asarray(labels, dtype=output.label_ids.dtype)
    if not np.array_equal(output.label_ids, expected, equal_nan="shares" in clips.column_names):
        raise RuntimeError("predictions are not in the order of the clips")
    logits = np.asarray(output.predictions, dtype=np.float32)
    return WindowLogits(clips["row"][:], clips["length"][:], logits)


def _history(log: list[dict[str, Any]], selected_step: int) -> list[dict[str, Any]]:
    """Convert the Trainer's log to a list with one entry for each evaluation.

    Keys of an entry: {epoch, step, train_loss, train, learning_rate(s), grad_norm, validation}.
    ``train`` has metrics of the training batches. The entry of
    the selected step has ``kept: true``.
    """
    entries: dict[int, dict[str, Any]] = {}
    for record in log:
        step = record["step"]
        entry = entries.setdefault(step, {"epoch": record["epoch"], "step": step})
        if "loss" in record:
            entry["train_loss"] = record["loss"]
            entry |= _rates_and_norm(record)
            entry["train"] = {key: record[key] for key in METRICS if key in record}
        validation = _validation(record)
        if validation:
            entry["validation"] = validation
            if step == selected_step:
                entry["kept"] = True
    # Entries without a loss or metrics have an epoch and a step only.
    return [entries[step] for step in sorted(entries) if len(entries[step]) > 2]


def _rates_and_norm(record: dict[str, Any]) -> dict[str, float]:
    """Learning rates and the norm of the gradient; fp16 logs infinity in steps that it skips."""
    keys = [key for key in record if key == "grad_norm" or key.startswith("learning_rate")]
    return {key: record[key] for key in keys if math.isfinite(record[key])}


def _validation(record: dict[str, float]) -> dict[str, float]:
    """The validation metrics of a log record, without timings."""
    metrics = {}
    for key, value in record.items():
        name = key.removeprefix("eval_")
        if key.startswith("eval_") and name not in _TIMINGS:
            metrics[name] = value
    return metrics
