"""Targets of clips: ratings in columns of a corpus, scaled to the range 0 to 1, and sets of classes
that follow from the votes of raters.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, List, Value

from ..utils.errors import UserError
from .schema import Clip

# Name of a target -> another name for it, which is used if a corpus lacks the first name.
ALIASES = {"arousal": "activation", "activation": "arousal"}
Range = Sequence[float]
# The column of the ratings of each clip: {dimension: target}.
TARGETS = "targets"
# The column of the set of classes of each clip: true or false for each class.
POSITIVES = "positives"


def check_targets(targets: Sequence[str], ranges: Mapping[str, Range]) -> None:
    """Check the names and the ranges; a UserError names the key."""
    for name in targets:
        if not name.strip() or not name.isprintable() or len(name) > 100 or targets.count(name) > 1:
            raise UserError(
                f"corpus.targets: expected the names of columns, each once, got {name!r}"
            )
    for name, bounds in ranges.items():
        if name not in targets:
            raise UserError(
                f"corpus.ranges.{name}: not in corpus.targets; list it there, or leave it out"
            )
        if len(bounds) != 2 or not all(map(math.isfinite, bounds)) or not bounds[0] < bounds[1]:
            raise UserError(
                f"corpus.ranges.{name}: expected [lowest, highest], such as [1, 5], "
                f"got {list(bounds)}"
            )


def rating(clip: Clip, name: str) -> Any:
    """The rating of a clip for a target, as its column contains it; None if it is missing."""
    value = clip.extra.get(name)
    return clip.extra.get(ALIASES.get(name)) if value is None else value


@dataclasses.dataclass(frozen=True)
class ScaledTargets:
    """The result of `scaled_targets`.

    Attributes:
        rows: for each clip, target -> value from 0 to 1; None for each target of a clip that lacks
            a rating.
        ranges: target -> [lowest, highest] rating; [0, 1] if the ranges of the corpora differ.
    """

    rows: list[dict[str, float | None]]
    ranges: dict[str, list[float]]


def is_rated(clip: Clip, targets: Sequence[str]) -> bool:
    """Whether a clip has a rating for each target."""
    return all(rating(clip, name) is not None for name in targets)


def scaled_targets(
    clips: Sequence[Clip],
    targets: Sequence[str],
    ranges: Mapping[str, Range],
    ranges_of_corpus: Mapping[str | None, Mapping[str, Range]],
    *,
    partial: bool = False,
) -> ScaledTargets:
    """Scale the ratings of each clip from the range of the target to 0 to 1.

    Args:
        clips: the clips.
        targets: the names of the targets.
        ranges: target -> range in the recipe; these ranges take precedence.
        ranges_of_corpus: corpus -> the ranges of its columns; the key is None if the corpus is not
            a mixture.
        partial: whether clips may lack ratings; a clip counts as rated if it has all of them.

    Raises:
        UserError: if a rating is missing, not a number or out of its range, or if all ratings of a
            target are equal.
    """
    rows: list[dict[str, float | None]] = [{} for _ in clips]
    rated = [not partial or is_rated(clip, targets) for clip in clips]
    if not any(rated):
        raise UserError(f"corpus.targets: no clip has a rating for each of {', '.join(targets)}")
    ranges_of_target = {}
    for name in targets:
        distinct_ranges = set()
        for clip, row, has_ratings in zip(clips, rows, rated, strict=True):
            if not has_ratings:
                row[name] = None
                continue
            number = _rating_number(clip, name, clips)
            corpus_ranges = ranges_of_corpus.get(clip.corpus, {})
            bounds = (
                ranges.get(name) or corpus_ranges.get(name) or corpus_ranges.get(ALIASES.get(name))
            )
            low, high = _checked_bounds(clip, name, number, bounds)
            row[name] = (number - low) / (high - low)
            distinct_ranges.add((float(low), float(high)))
        if len({row[name] for row in rows} - {None}) == 1:
            raise UserError(f"corpus.targets: {name} is the same for all clips; leave it out")
        ranges_of_target[name] = [0.0, 1.0]
        if len(distinct_ranges) == 1:
            ranges_of_target[name] = list(distinct_ranges.pop())
    return ScaledTargets(rows, ranges_of_target)


def _rating_number(clip: Clip, name: str, clips: Sequence[Clip]) -> float:
    """The rating of a clip as a number.

    Raises:
        UserError: if it is missing or not a number; the message lists the columns of numbers.
    """
    value = rating(clip, name)
    if value is None:
        columns = ", ".join(_number_columns(clips)) or "none"
        raise UserError(
            f"corpus.targets: {clip.id} has no {name} (columns of numbers: {columns}); fill it in, "
            "or set corpus.on_unknown: skip"
        )
    number = _number(value)
    if number is None:
        raise UserError(
            f"corpus.targets: {name} of {clip.id} is {value!r:.100}, not a number; correct it"
        )
    return number


def _checked_bounds(clip: Clip, name: str, number: float, bounds: Range | None) -> Range:
    """Return the range of a rating; a UserError if it is missing or does not contain the rating."""
    if bounds is None:
        raise UserError(
            f"corpus.ranges.{name}: missing; give the lowest and highest rating, such as [1, 5]"
        )
    low, high = bounds
    if not low <= number <= high:
        raise UserError(
            f"corpus.ranges.{name}: {clip.id} has {number:g}, outside of {low:g} to {high:g}"
        )
    return bounds


def _number_columns(clips: Sequence[Clip]) -> list[str]:
    """The names of further columns that contain a number for any clip, sorted."""
    columns = set()
    for clip in clips:
        for name, value in clip.extra.items():
            if isinstance(value, int | float):
                columns.add(name)
    return sorted(columns)


def _number(value: Any) -> float | None:
    """Convert a number or its text to a float; None if it is not a finite number.

    Numbers can be text because one cell with a word makes the whole column text.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def with_positives(dataset: Dataset, share: float | None = None) -> Dataset:
    """Add the column `positives`: for each class, whether its share of the votes is above a limit.

    This is the rule of EMO-SUPERB (Wu et al. 2024, arXiv:2402.13018), whose limit is 1 / the number
    of classes.

    Args:
        dataset: rows with the column `votes`, probabilities over the classes.
        share: the limit; None for 1 / the number of classes.

    Raises:
        UserError: if a clip has no votes.
    """
    votes = [None] * len(dataset)
    if "votes" in dataset.column_names:
        votes = dataset["votes"][:]
    if None in votes:
        without = dataset["id"][votes.index(None)]
        raise UserError(
            f"task: multi_label needs the votes of raters, and {without} has none (CREMA-D: set "
            "corpus.target and corpus.soft: true)"
        )
    positives = above_limit(np.asarray(votes, np.float32), share)
    return dataset.add_column(
        POSITIVES, positives.tolist(), feature=List(Value("bool"), length=positives.shape[1])
    )


def above_limit(shares: np.ndarray, share: float | None = None) -> np.ndarray:
    """Whether shares of votes, (clips, classes), are above a limit; see `with_positives`."""
    limit = 1 / shares.shape[1] if share is None else share
    # A share that is exactly the limit, such as 2 of 12 votes with 6 classes, is not above it.
    return shares > np.float32(limit) + np.float32(1e-6)


def positives_of(dataset: Dataset, rows: Sequence[int]) -> np.ndarray | None:
    """The sets of classes of the rows, bool (clips, classes); None if the dataset has no sets."""
    if POSITIVES not in dataset.features:
        return None
    classes = dataset.features["label"].num_classes
    values = dataset.select_columns([POSITIVES])[list(rows)][POSITIVES]
    return np.asarray(values, bool).reshape(len(rows), classes)


def dimension_names(dataset: Dataset) -> list[str]:
    """The names of the dimensions that the clips of a dataset are rated in; empty without any."""
    return list(dataset.features.get(TARGETS) or ())


def names_of(dataset: Dataset) -> list[str]:
    """The names of the outputs of a model for a dataset: its targets, otherwise its classes."""
    return list(dataset.features.get(TARGETS) or dataset.features["label"].names)


def targets_of(dataset: Dataset, rows: Sequence[int]) -> np.ndarray | None:
    """The targets of the rows, float32 (clips, dimensions); None if the dataset has no targets.

    The targets of a clip without ratings are nan.
    """
    if TARGETS not in dataset.features:
        return None
    columns = dataset.select_columns([TARGETS])[list(rows)][TARGETS]
    return np.asarray([list(row.values()) for row in columns], np.float32).reshape(len(rows), -1)
