"""What a run will train and need, without training: `ser-hf train --dry-run`."""

import copy
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
from ..utils.environment import quiet_libraries
from ..utils.run_folder import RunFolder
from .clips import train_clips
from .context import RunContext, arguments_for
from .data import load_experiment_data
from .recipe import Recipe
from .run import check_runs

# Clips of a batch whose memory is estimated, besides the recipe's own.
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_GIB = 2**30


def plan_run(recipe: Recipe) -> str:
    """Check everything that a run checks before training, and describe it: store, trainable
    parameters, steps, and memory by batch size. Splits and their audit are logged.

    The waveforms are prepared, as for the run; nothing else is written. Memory is that of the
    weights, gradients and AdamW's two moments, and of the activations kept for the gradient, which
    are counted in two small batches here.

    Raises:
        UserError: naming the recipe key or file that is wrong.
    """
    with quiet_libraries():
        arguments = arguments_for(recipe, RunFolder(recipe.output_dir))
        data = load_experiment_data(recipe)
        run = RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))
        check_runs(run, arguments)
    store = data.store
    seconds = sum(store.lengths) / store.sampling_rate
    lines = [
        f"store: {len(store):,} clips, {seconds / 3600:.1f} h, {store.bytes / _GIB:.2f} GiB in {store.folder}"
    ]
    runs = len(data.folds) * len(recipe.training.seeds)
    lines.append(
        f"trainings: {runs} (folds: {len(data.folds)}, seeds: {len(recipe.training.seeds)})"
    )
    if recipe.training.solver == "sklearn":
        return "\n".join([*lines, "training: scikit-learn fits the classifier"])
    seed_everything(recipe.training.seeds[0])
    with quiet_libraries():
        model = build_model(copy.deepcopy(data.plan))
    freeze(model, run.freezing)
    model = add_lora(model, run.lora) if run.lora else model
    clips = train_clips(run)
    steps = math.ceil(len(EpochSchedule(clips)) / arguments.step_batch_size)
    total = (
        arguments.max_steps
        if arguments.max_steps > 0
        else math.ceil(steps * arguments.num_train_epochs)
    )
    lines += [trainable_table(model, arguments.parameter_groups(model))]
    lines.append(
        f"steps: {steps:,} an epoch of {arguments.step_batch_size} clips each, {total:,} in all"
    )
    return "\n".join([*lines, *_memory_table(model, run, arguments)])


def _memory_table(
    model: nn.Module, run: RunContext, arguments: EmotionTrainingArguments
) -> list[str]:
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    fixed = 4 * (sum(parameter.numel() for parameter in parameters) + 3 * trained)
    one, two = (_activations(model, run, arguments, count) for count in (1, 2))
    own = arguments.per_device_train_batch_size
    lines = ["memory of a process by batch size, at least:"]
    for batch in sorted({*_BATCHES, own}):
        needed = (fixed + one + (batch - 1) * (two - one)) / _GIB
        lines.append(f"  {batch:>4} clips {needed:>8.2f} GiB{' (the recipe)' * (batch == own)}")
    return lines


def _activations(
    model: nn.Module, run: RunContext, arguments: EmotionTrainingArguments, count: int
) -> int:
    """Bytes kept for the gradient of a batch of the `count` longest training clips."""
    clips = train_clips(run)
    longest = np.argsort(clips["length"][:])[-count:].tolist()
    collator = Collator.for_model(model.config, run.data.store, run.data.plan.extractor)
    batch: dict[str, Any] = collator([clips[i] for i in longest], training=True)
    held = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    if arguments.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    labels = batch.pop("labels")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16 or arguments.fp16):
            outputs = model.train()(**batch)
        LOSSES[run.task.loss]()(outputs, labels)
    return sum(kept.values())
