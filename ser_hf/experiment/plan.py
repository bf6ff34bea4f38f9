"""Describes a run without training: its model, steps and memory (`ser-hf train --dry-run`)."""

import math

from transformers import PreTrainedModel

from ..training.arguments import EmotionTrainingArguments
from ..training.freezing import trainable_table
from ..training.sampling import EpochSchedule
from ..utils.environment import quiet_libraries
from ..utils.run_folder import RunFolder
from .batch_size import estimated_memory, model_to_measure, with_batch_size
from .clips import train_clips
from .context import RunContext, arguments_for
from .data import load_experiment_data
from .recipe import Recipe
from .run import check_runs

# Batch sizes for which memory is estimated, besides the batch size of the recipe.
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_GIB = 2**30
# Mapped files are the code of libraries and the store; the system can drop them from memory.
_NOT_INCLUDED = "without mapped files and the data loader's processes"


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
    run = with_batch_size(run)
    arguments = run.arguments()
    lines = [_store_line(run), _trainings_line(run)]
    model = model_to_measure(run)
    if recipe.training.solver == "sklearn":
        size = estimated_memory(model, run, arguments).total(0) / _GIB
        lines.append(f"memory of a process, {_NOT_INCLUDED}: {size:.2f} GiB")
        return "\n".join([*lines, "training: scikit-learn fits the classifier"])

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
    """Estimate the memory of a training with the batch size of the recipe, without libraries."""
    arguments = run.arguments()
    model = model_to_measure(run)
    estimate = estimated_memory(model, run, arguments)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return weights + estimate.total(arguments.per_device_train_batch_size) - estimate.base


def _memory_table(
    model: PreTrainedModel, run: RunContext, arguments: EmotionTrainingArguments
) -> list[str]:
    """Estimate the memory of a training for several batch sizes, one line for each.

    With a GPU it is the memory of the GPU.
    """
    estimate = estimated_memory(model, run, arguments)
    batch_size = arguments.per_device_train_batch_size
    heading = "memory of a GPU by batch size:"
    if arguments.device.type == "cpu":
        heading = f"memory of a process by batch size, {_NOT_INCLUDED}:"
    lines = [heading]
    for clips in sorted({*_BATCHES, batch_size}):
        mark = " (the recipe)" if clips == batch_size else ""
        lines.append(f"  {clips:>4} clips {estimate.total(clips) / _GIB:>8.2f} GiB{mark}")
    return lines
