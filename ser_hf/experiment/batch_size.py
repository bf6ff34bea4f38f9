"""`training.auto_batch_size`: finds the largest batch that fits, before training."""

import copy
import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel

from ..loading.build import build_model
from ..training.arguments import EmotionTrainingArguments, seed_everything
from ..training.collator import Collator
from ..training.freezing import freeze
from ..training.lora import add_lora
from ..training.loss import LOSSES
from ..training.memory import (
    MakeBatch,
    MeasuredLoss,
    MemoryEstimate,
    estimate_fit_memory,
    estimate_memory,
    fits_in_main_memory,
    fits_on_device,
    largest_batch,
)
from ..training.targets import packed_outputs
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .clips import evaluation_clips, train_clips
from .context import RunContext
from .recipe import Recipe

logger = logging.getLogger(__name__)


def with_batch_size(run: RunContext) -> RunContext:
    """The run with the batch size that `training.auto_batch_size` finds.

    A step keeps its number of clips: batch size times accumulated batches stays as in the recipe.
    The new recipe has the found numbers and `auto_batch_size: false`, so that it computes the same
    on every machine. A run that resumes has the numbers of its folder.

    Raises:
        UserError: if not even one clip fits.
    """
    training = run.recipe.training
    if not training.auto_batch_size:
        return run
    clips_of_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    clips = _saved_batch_size(run.folder) if run.resume else None
    if clips is None or clips_of_step % clips:
        clips = _found_batch_size(run, clips_of_step)
        logger.info(
            "batch size: %d clips, and %d batches for a step of %d",
            clips,
            clips_of_step // clips,
            clips_of_step,
        )
    return dataclasses.replace(run, recipe=_with_batches(run.recipe, clips, clips_of_step // clips))


def _with_batches(recipe: Recipe, clips: int, accumulated: int) -> Recipe:
    training = recipe.training.replace(
        per_device_train_batch_size=clips,
        gradient_accumulation_steps=accumulated,
        auto_batch_size=False,
    )
    return recipe.replace(training=training)


def _saved_batch_size(folder: RunFolder) -> int | None:
    """The batch size of an interrupted run in the folder; None without one."""
    if not folder.recipe.is_file():
        return None
    return read_yaml(folder.recipe).get("training", {}).get("per_device_train_batch_size")


def _found_batch_size(run: RunContext, clips_of_step: int) -> int:
    """Find the largest batch that fits; with several processes, on the smallest of their GPUs."""
    arguments = run.arguments()
    model = model_to_measure(run)
    train_batch = batch_of_longest(model, run, train_clips(run), training=True)
    loss = _loss_to_measure(run)
    if arguments.device.type == "cuda":
        fits = fits_on_device(model, loss, arguments, train_batch)
    else:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        fits = fits_in_main_memory(estimated_memory(model, run, arguments), processes)
    clips = min(gather_object([largest_batch(clips_of_step, fits) or 0]))
    if clips == 0:
        raise UserError(
            "training.auto_batch_size: not even one clip fits into memory; shorten clips by "
            "audio.max_duration, or train fewer layers"
        )
    return clips


def _loss_to_measure(run: RunContext) -> MeasuredLoss:
    """A loss that keeps as many tensors for the gradient as that of the run."""
    if run.layout is None:
        return LOSSES[run.task.loss]()
    return _sum_of_squares


def _sum_of_squares(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    return packed_outputs(outputs).square().sum()


def model_to_measure(run: RunContext) -> PreTrainedModel:
    """Build the model of the first training, with its frozen parts and its adapters."""
    seed_everything(run.recipe.training.seeds[0])
    model = build_model(copy.deepcopy(run.data.plan))
    freeze(model, run.freezing)
    return add_lora(model, run.lora) if run.lora else model


def estimated_memory(
    model: PreTrainedModel, run: RunContext, arguments: EmotionTrainingArguments
) -> MemoryEstimate:
    """Estimate the memory of a training, or of a fit by scikit-learn, from its longest clips."""
    if run.recipe.training.solver == "sklearn":
        clips = train_clips(run)
        return estimate_fit_memory(
            model,
            batch_of_longest(model, run, clips, training=False),
            _clips_of_longest(arguments, clips),
            windows=len(clips),
        )
    validation = evaluation_clips(run, "validation")
    return estimate_memory(
        model,
        _loss_to_measure(run),
        arguments,
        train_batch=batch_of_longest(model, run, train_clips(run), training=True),
        evaluation_batch=batch_of_longest(model, run, validation, training=False),
        evaluated_clips=_clips_of_longest(arguments, validation),
    )


def _clips_of_longest(arguments: EmotionTrainingArguments, clips: Dataset) -> int:
    """The number of clips in the evaluation batch of the longest clips."""
    # The first batch has the longest clips, but it may be a small rest.
    return max(map(len, arguments.evaluation_batches(clips["length"][:])[:2]))


def batch_of_longest(
    model: PreTrainedModel, run: RunContext, clips: Dataset, *, training: bool
) -> MakeBatch:
    """A function that makes a batch of the longest clips; they repeat if there are too few."""
    order = np.argsort(clips["length"][:])[::-1].tolist()
    collator = Collator.for_model(model.config, run.data.store, run.data.plan.extractor)

    def make(count: int) -> dict[str, Any]:
        return collator(_first(clips, order, count), training=training)

    return make


def _first(clips: Dataset, order: Sequence[int], count: int) -> list[dict[str, Any]]:
    return [clips[order[i % len(order)]] for i in range(count)]
