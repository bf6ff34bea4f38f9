"""Dimensions of emotion: numbers in the columns of a corpus, scaled from the range of the ratings
to 0 to 1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .schema import Clip

# Another name of a column, where a corpus lacks the first one.
ALIASES = {"arousal": "activation", "activation": "arousal"}
Range = Sequence[float]


def check_targets(targets: Sequence[str], ranges: Mapping[str, Range]) -> None:
    """Check the names and the ranges before any file is read. Raises a `UserError` naming the key."""
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
                f"corpus.ranges.{name}: expected [lowest, highest], such as [1, 5], got {list(bounds)}"
            )


def rating(clip: Clip, name: str) -> Any:
    """The value of a target in the clip's columns; None if it is missing."""
    value = clip.extra.get(name)
    return clip.extra.get(ALIASES.get(name)) if value is None else value


def scaled_targets(
    clips: Sequence[Clip],
    targets: Sequence[str],
    ranges: Mapping[str, Range],
    known: Mapping[str, Mapping[str, Range]],
) -> tuple[list[dict[str, float]], dict[str, list[float]]]:
    """The targets of each clip from 0 to 1, and the range of each target, [0, 1] if it differs
    between corpora.

    Args:
        ranges: of the recipe, which take precedence.
        known: corpus -> the ranges of its columns; of one corpus under None.

    Raises:
        UserError: for a target that is missing, no number, out of its range, or the same for all
            clips.
    """
    columns = sorted(
        {
            key
            for clip in clips
            for key, value in clip.extra.items()
            if isinstance(value, int | float)
        }
    )
    rows: list[dict[str, float]] = [{} for _ in clips]
    used: dict[str, set[tuple[float, ...]]] = {}
    for name in targets:
        for clip, row in zip(clips, rows, strict=True):
            own = known.get(clip.corpus, {})
            value = rating(clip, name)
            bounds = ranges.get(name) or own.get(name) or own.get(ALIASES.get(name))
            if value is None:
                there = f"columns of numbers: {', '.join(columns) or 'none'}"
                raise UserError(
                    f"corpus.targets: {clip.id} has no {name} ({there}); fill it in, or set corpus.on_unknown: skip"
                )
            number = _number(value)
            if number is None:
                raise UserError(
                    f"corpus.targets: {name} of {clip.id} is {value!r:.100}, not a number; correct it"
                )
            if bounds is None:
                raise UserError(
                    f"corpus.ranges.{name}: missing; give the lowest and highest rating, such as [1, 5]"
                )
            low, high = bounds
            if not low <= number <= high:
                raise UserError(
                    f"corpus.ranges.{name}: {clip.id} has {number:g}, outside of {low:g} to {high:g}"
                )
            row[name] = (number - low) / (high - low)
            used.setdefault(name, set()).add((float(low), float(high)))
        if len({row[name] for row in rows}) == 1:
            raise UserError(f"corpus.targets: {name} is the same for all clips; leave it out")
    return rows, {name: list(*own) if len(own) == 1 else [0.0, 1.0] for name, own in used.items()}


def _number(value: Any) -> float | None:
    """A finite number, also as text: one word makes a column of numbers one of text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def names_of(dataset: Dataset) -> list[str]:
    """The names of what a model of these rows predicts: their targets, else their classes."""
    return list(dataset.features.get("targets") or dataset.features["label"].names)


def targets_of(dataset: Dataset, rows: Sequence[int]) -> np.ndarray | None:
    """The targets of some rows, float32 (clips, dimensions); None for rows without targets."""
    if "targets" not in dataset.features:
        return None
    columns = dataset.select_columns(["targets"])[list(rows)]["targets"]
    return np.asarray([list(row.values()) for row in columns], np.float32).reshape(len(rows), -1)
