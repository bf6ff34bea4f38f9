"""Targets for dimensions of emotion: ratings in columns of a corpus, scaled to the range 0 to 1."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .schema import Clip

# Name of a target -> another name for it, which is used if a corpus lacks the first name.
ALIASES = {"arousal": "activation", "activation": "arousal"}
Range = Sequence[float]


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
        rows: for each clip, target -> value from 0 to 1.
        ranges: target -> [lowest, highest] rating; [0, 1] if the ranges of the corpora differ.
    """

    rows: list[dict[str, float]]
    ranges: dict[str, list[float]]


def scaled_targets(
    clips: Sequence[Clip],
    targets: Sequence[str],
    ranges: Mapping[str, Range],
    ranges_of_corpus: Mapping[str | None, Mapping[str, Range]],
) -> ScaledTargets:
    """Scale the ratings of each clip from the range of the target to 0 to 1.

    Args:
        clips: the clips.
        targets: the names of the targets.
        ranges: target -> range in the recipe; these ranges take precedence.
        ranges_of_corpus: corpus -> the ranges of its columns; the key is None if the corpus is not
            a mixture.

    Raises:
        UserError: if a rating is missing, not a number or out of its range, or if all ratings of a
            target are equal.
    """
    rows: list[dict[str, float]] = [{} for _ in clips]
    ranges_of_target = {}
    for name in targets:
        distinct_ranges = set()
        for clip, row in zip(clips, rows, strict=True):
            number = _rating_number(clip, name, clips)
            corpus_ranges = ranges_of_corpus.get(clip.corpus, {})
            bounds = (
                ranges.get(name) or corpus_ranges.get(name) or corpus_ranges.get(ALIASES.get(name))
            )
            low, high = _checked_bounds(clip, name, number, bounds)
            row[name] = (number - low) / (high - low)
            distinct_ranges.add((float(low), float(high)))
        if len({row[name] for row in rows}) == 1:
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


def names_of(dataset: Dataset) -> list[str]:
    """The names of the outputs of a model for a dataset: its targets, otherwise its classes."""
    return list(dataset.features.get("targets") or dataset.features["label"].names)


def targets_of(dataset: Dataset, rows: Sequence[int]) -> np.ndarray | None:
    """The targets of the rows, float32 (clips, dimensions); None if the dataset has no targets."""
    if "targets" not in dataset.features:
        return None
    columns = dataset.select_columns(["targets"])[list(rows)]["targets"]
    return np.asarray([list(row.values()) for row in columns], np.float32).reshape(len(rows), -1)
