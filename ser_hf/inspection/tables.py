"""Counts and distributions over the measured clips: label by speaker, by sex, and what explains a measure."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..corpora.schema import EMOTIONS, Clip
from .measure import Measurement
from .survey import Found

# What `describe` and `explained` look at: name of the measure -> unit and what the reader calls it.
MEASURES = {
    "duration": ("s", "duration"),
    "loudness": ("LUFS", "loudness (gated)"),
    "rms": ("dBFS", "RMS level"),
    "peak": ("dBFS", "peak level"),
    "floor": ("dBFS", "level of the quietest tenth"),
    "leading_silence": ("s", "leading silence"),
    "trailing_silence": ("s", "trailing silence"),
    "silent_share": ("%", "share of silence"),
    "clipped_share": ("%", "share of clipped samples"),
    "dc_offset": ("%", "DC offset"),
}

# Where the names of rows have an order of their own.
_ORDER = {"low": 0, "medium": 1, "high": 2, "normal": 0, "strong": 1}


@dataclasses.dataclass(frozen=True)
class Row:
    """One audio file: what it is to the corpus, what was measured (None for a Git LFS pointer), whose bytes it has."""

    file: Found
    measured: Measurement | None
    origin: str | None = None

    @property
    def clip(self) -> Clip | None:
        return self.file.clip

    @property
    def usable(self) -> bool:
        """Whether it is a clip of the corpus that can be decoded."""
        return self.file.role == "clip" and self.measured is not None and self.measured.error is None


@dataclasses.dataclass(frozen=True)
class NearCopy:
    """Two clips that hold the same take, not sample for sample; see `ser_hf.audio.duplicates.NearDuplicate`."""

    first: Row
    second: Row
    overlap: float
    bit_error_rate: float


def ordered_labels(clips: Iterable[Clip]) -> list[str]:
    """The emotions that occur, in canonical order; others after them, by name."""
    present = {clip.emotion for clip in clips}
    return [emotion for emotion in EMOTIONS if emotion in present] + sorted(present - set(EMOTIONS))


def crosstable(clips: Sequence[Clip], key: Callable[[Clip], Any]) -> dict[str, Any] | None:
    """Clips by `key` (rows, sorted, intensities from low to high) and label (columns), as ``{labels, rows: {name:
    [counts]}, total: [counts]}``.

    Clips whose key is None are counted under ``not stated``; None where no clip states it.
    """
    counts = Counter((key(clip), clip.emotion) for clip in clips)
    names = {name for name, _ in counts}
    if names <= {None}:
        return None
    labels = ordered_labels(clips)
    keys = [*sorted(names - {None}, key=lambda name: (_ORDER.get(name, -1), name)), *({None} & names)]
    rows = {"not stated" if name is None else name: [counts[name, label] for label in labels] for name in keys}
    return {"labels": labels, "rows": rows, "total": [sum(column) for column in zip(*rows.values(), strict=True)]}


def describe(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each of `MEASURES` over the usable clips: smallest, 5th percentile, median, 95th percentile, largest."""
    described = {}
    for measure in MEASURES:
        values = [value for row in rows if (value := getattr(row.measured, measure)) is not None]
        if values:
            points = np.percentile(values, [0, 5, 50, 95, 100])
            names = ("minimum", "p05", "median", "p95", "maximum")
            described[measure] = {"clips": len(values), **dict(zip(names, map(float, points), strict=True))}
    return described


def explained(rows: Sequence[Row], measure: str, key: Callable[[Clip], str]) -> float | None:
    """Share of a measure's variance that belongs to the groups of `key`: epsilon squared (Kelley, 1935), which is eta
    squared less what as many groups would explain by chance; never below 0.

    None where it means nothing: fewer than two groups, no more clips than groups, or no variance.
    """
    pairs = [(key(row.clip), value) for row in rows if (value := getattr(row.measured, measure)) is not None]
    groups: dict[str, list[float]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    count, kinds = len(pairs), len(groups)
    if kinds < 2 or count <= kinds:
        return None
    total = float(np.var([value for _, value in pairs]) * count)
    if total <= 1e-20 * count:
        return None
    within = sum(float(np.var(values) * len(values)) for values in groups.values())
    return max(0.0, 1 - (within / (count - kinds)) / (total / (count - 1)))


def by_group(rows: Sequence[Row], measure: str, key: Callable[[Clip], str]) -> dict[str, list[float]]:
    """Group -> the values of a measure in it, groups sorted by name."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        value = getattr(row.measured, measure)
        if value is not None:
            groups.setdefault(key(row.clip), []).append(value)
    return dict(sorted(groups.items()))


def repeated(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[list[Row]]:
    """The groups of at least two rows that share a key (not None), in order of their first row."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        name = key(row)
        if name is not None:
            groups.setdefault(name, []).append(row)
    return [group for group in groups.values() if len(group) > 1]
