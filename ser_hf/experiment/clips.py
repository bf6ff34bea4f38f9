"""Selects the clips of a run for training and evaluation, and reads their recordings."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..audio import prepare
from ..evaluation.tasks import MULTI_LABEL
from ..models.preparation import Preparation
from ..training.balancing import balanced
from ..training.clips import clip_table
from ..training.clips import window_notes as notes_about_windows
from ..training.sampling import EpochSchedule, epoch_labels
from .context import RunContext
from .targets import packed_targets


def evaluation_clips(run: RunContext, split: str) -> Dataset:
    """The complete clips of a split (train, validation or test); long clips are in windows."""
    rows = run.fold.split.rows[split]
    return clip_table(
        run.data.dataset,
        rows,
        run.data.store,
        window=longest_window(run),
        targets=_targets(run),
    )


def _targets(run: RunContext) -> np.ndarray | None:
    """The packed targets of all rows; None for a model with a single target."""
    if run.layout is None:
        return None
    return packed_targets(run.recipe, run.data.dataset)


def evaluated_rows(run: RunContext) -> list[int]:
    """The rows of the evaluated split."""
    return run.fold.split.rows[run.recipe.evaluation.part]


def unprepared_clips(run: RunContext, rows: Sequence[int]) -> Sequence[np.ndarray]:
    """The clips (samples,) of `rows` as recorded, at the model's rate, without preparation.

    The store of the run has prepared clips instead.
    """
    store = run.data.store
    if not run.data.plan.preparation.active:
        return [store[row] for row in rows]  # views, which take no memory
    dataset = run.data.dataset.select(rows)
    cache_dir = run.recipe.audio.cache_dir
    _, unprepared_store = prepare(dataset, store.sampling_rate, cache_dir, Preparation())
    return unprepared_store


def longest_window(run: RunContext) -> int | None:
    """The number of samples of the longest window in evaluation; None if clips are never divided.

    The window is that of the recipe or the longest that the model can process, whichever is
    shorter.
    """
    limits = []
    if run.recipe.evaluation.window:
        limits.append(round(run.recipe.evaluation.window * run.data.store.sampling_rate))
    if run.data.plan.longest_clip:
        limits.append(run.data.plan.longest_clip)
    return min(limits, default=None)


def window_notes(run: RunContext) -> list[str]:
    """Notes for the report about clips that evaluation splits into windows or pads."""
    split = run.recipe.evaluation.part
    sentences = notes_about_windows(
        split,
        evaluation_clips(run, split),
        run.data.store.sampling_rate,
        window=longest_window(run),
        longest=run.data.plan.longest_clip,
        shortest=run.data.plan.shortest_clip,
    )
    return [f"{sentence}." for sentence in sentences]


def train_clips(run: RunContext) -> Dataset:
    """The training clips.

    For the Trainer, they are cropped, have soft labels or are balanced, as the recipe says. For
    scikit-learn, they are the same as in evaluation.
    """
    recipe = run.recipe
    data = run.data
    if recipe.training.solver == "sklearn":
        return clip_table(data.dataset, train_rows(run), data.store, window=longest_window(run))
    clips = clip_table(
        data.dataset,
        train_rows(run),
        data.store,
        max_duration=_longest_crop(run),
        soft_labels=recipe.training.loss.soft_labels,
        targets=_targets(run),
    )
    if not is_resampled(run):
        return clips
    return balanced(
        clips,
        corpora=data.dataset["corpus"][:],
        speakers=data.dataset["speaker"][:],
        weights=data.weights,
        balance=recipe.training.balance,
        seed=recipe.training.seeds[0],
    )


def train_rows(run: RunContext) -> list[int]:
    """The rows of the training clips.

    scikit-learn selects by cross-validation. Its training clips therefore include the validation
    split, unless this split is evaluated.
    """
    rows = run.fold.split.rows
    if run.recipe.training.solver == "sklearn" and run.recipe.evaluation.part == "test":
        return rows["train"] + rows["validation"]
    return rows["train"]


def train_labels(run: RunContext, clips: Dataset) -> list[int] | np.ndarray:
    """The labels from which class weights and priors are computed.

    Args:
        clips: from `train_clips`; with resampling, the labels are those of one epoch.

    Returns:
        Class ids (clips,), or for sets of classes 0 or 1, (clips, classes).
    """
    if run.task is MULTI_LABEL:
        return np.asarray(clips["shares"][:])[EpochSchedule(clips).of(0)]
    if is_resampled(run):
        return epoch_labels(clips)
    labels = np.asarray(run.data.dataset["label"][:])[train_rows(run)]
    return labels[labels >= 0].tolist()


def is_resampled(run: RunContext) -> bool:
    """Whether an epoch may leave out a clip or repeat it.

    This happens with `training.balance`, and if a corpus of a mixture has another weight than 1.
    """
    weighted = any(weight != 1 for weight in run.data.weights.values())
    return weighted or run.recipe.training.balance is not None


def _longest_crop(run: RunContext) -> float | None:
    """The longest training clip in seconds: the limit of the recipe or model; None without one."""
    limits = []
    if run.recipe.audio.max_duration:
        limits.append(run.recipe.audio.max_duration)
    if run.data.plan.longest_clip:
        limits.append(run.data.plan.longest_clip / run.data.store.sampling_rate)
    return min(limits, default=None)
