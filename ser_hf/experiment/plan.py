"""Describes a run without training: its model, steps and memory (`ser-hf train --dry-run`)."""

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ..loading.build import build_model
from ..training.arguments import EmotionTrainingArguments, seed_everything
from ..training.collator import Collator
from ..training.freezing import freeze, trainable_table
from ..training.lora import add_lora
from ..training.loss import LOSSES
from ..training.sampling import EpochSchedule
from ..training.targets import packed_outputs
from ..utils.environment import quiet_libraries
from ..utils.run_folder import RunFolder
from .clips import train_clips
from .context import RunContext, arguments_for
from .data import load_experiment_data
from .recipe import Recipe
from .run import check_runs

# Batch sizes for which memory is estimated, besides the batch size of the recipe.
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_GIB = 2**30


@quiet_libraries()
def plan_run(recipe: Recipe) -> str:
    """Check everything that a run checks before training, and describe the run.

    The description has the store, the trainable parameters, the steps, and the memory by batch
    size. Splits and their audit are logged. Prepared waveforms are written to the store, as in a
    run; no other files are written.

    Raises:
        UserError: naming the recipe key or file that is wrong.
    """
    arguments = arguments_for(recipe, RunFolder(recipe.output_dir))
    data = load_experiment_data(recipe)
    run = RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))
    check_runs(run, arguments)
    lines = [_store_line(run), _trainings_line(run)]
    if recipe.training.solver == "sklearn":
        return "\n".join([*lines, "training: scikit-learn fits the classifier"])

    model = _model(run)
    lines.append(trainable_table(model, arguments.parameter_groups(model)))
    lines.append(_steps_line(run, arguments))
    return "\n".join([*lines, *_memory_table(model, run, arguments)])


def _store_line(run: RunContext) -> str:
    """The line about the store of waveforms."""
    store = run.data.store
    hours = sum(store.lengths) / store.sampling_rate / 3600
    size = f"{store.bytes / _GIB:.2f} GiB"
    return f"store: {len(store):,} clips, {hours:.1f} h, {size} in {store.folder}"


def _trainings_line(run: RunContext) -> str:
    """The line about the number of trainings."""
    folds = len(run.data.folds)
    seeds = len(run.recipe.training.seeds)
    return f"trainings: {folds * seeds} (folds: {folds}, seeds: {seeds})"


def _model(run: RunContext) -> nn.Module:
    """Build the model of the first training, with its frozen parts and its adapters."""
    seed_everything(run.recipe.training.seeds[0])
    model = build_model(copy.deepcopy(run.data.plan))
    freeze(model, run.freezing)
    return add_lora(model, run.lora) if run.lora else model


def _steps_line(run: RunContext, arguments: EmotionTrainingArguments) -> str:
    """The line about the number of optimizer steps."""
    clips = len(EpochSchedule(train_clips(run)))
    steps_of_epoch = arguments.steps_per_epoch(clips)
    steps = arguments.max_steps
    if steps <= 0:
        steps = math.ceil(steps_of_epoch * arguments.num_train_epochs)
    return (
        f"steps: {steps_of_epoch:,} an epoch of {arguments.step_batch_size} clips each, "
        f"{steps:,} in all"
    )


def training_bytes(run: RunContext) -> int:
    """Estimate the memory of a training with the batch size of the recipe, at least."""
    arguments = run.arguments()
    estimate = _estimate(_model(run), run, arguments)
    return estimate.of_batch(arguments.per_device_train_batch_size)


@dataclasses.dataclass(frozen=True)
class _MemoryEstimate:
    """Bytes of the parameters with all that AdamW keeps, and of the activations of clips."""

    parameters: int
    first_clip: int
    next_clip: int

    def of_batch(self, clips: int) -> int:
        """The bytes of a training with batches of this size."""
        return self.parameters + self.first_clip + (clips - 1) * self.next_clip


def _estimate(
    model: nn.Module, run: RunContext, arguments: EmotionTrainingArguments
) -> _MemoryEstimate:
    """Estimate the memory of a training.

    The memory is that of the weights, the gradients, the two moments of AdamW, and the activations
    that are kept for the gradient. Activations are measured on a batch of one and one of two clips.
    """
    parameters = list(model.parameters())
    weights = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    first_clip_bytes = _activation_bytes(model, run, arguments, 1)
    return _MemoryEstimate(
        parameters=4 * (weights + 3 * trained),
        first_clip=first_clip_bytes,
        next_clip=_activation_bytes(model, run, arguments, 2) - first_clip_bytes,
    )


def _memory_table(
    model: nn.Module, run: RunContext, arguments: EmotionTrainingArguments
) -> list[str]:
    """The estimated memory of a training for several batch sizes, one line for each."""
    estimate = _estimate(model, run, arguments)
    batch_size = arguments.per_device_train_batch_size
    lines = ["memory of a process by batch size, at least:"]
    for clips in sorted({*_BATCHES, batch_size}):
        needed = estimate.of_batch(clips) / _GIB
        mark = " (the recipe)" if clips == batch_size else ""
        lines.append(f"  {clips:>4} clips {needed:>8.2f} GiB{mark}")
    return lines


def _activation_bytes(
    model: nn.Module, run: RunContext, arguments: EmotionTrainingArguments, count: int
) -> int:
    """Measure the bytes kept for the gradient of a batch of the `count` longest training clips."""
    clips = train_clips(run)
    longest = np.argsort(clips["length"][:])[-count:].tolist()
    collator = Collator.for_model(model.config, run.data.store, run.data.plan.extractor)
    batch: dict[str, Any] = collator([clips[i] for i in longest], training=True)
    parameter_storages = {
        parameter.untyped_storage().data_ptr() for parameter in model.parameters()
    }
    bytes_of_storage: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameter_storages:
            bytes_of_storage[storage.data_ptr()] = storage.nbytes()
        return tensor

    if arguments.activation_checkpointing:
        model.activation_checkpointing_enable()
    labels = batch.pop("labels")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16 or arguments.fp16):
            outputs = model.train()(**batch)
        if run.layout is None:
            LOSSES[run.task.loss]()(outputs, labels)
        else:
            packed_outputs(outputs).square().sum()  # the losses keep as much
    return sum(bytes_of_storage.values())
