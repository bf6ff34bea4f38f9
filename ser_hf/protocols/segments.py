"""Segments of recordings in splits: which rows have a recording in common, or overlap in time."""

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from datasets import Dataset

from ..corpora.schema import UNNAMED
from .split import read_column

# Times are rounded: segments that have less than so many seconds in common do not overlap.
_LEAST_OVERLAP = 0.02
# Cache of the paths that `_paths` has read.
_PATHS: WeakKeyDictionary[Dataset, list[str]] = WeakKeyDictionary()


def recordings(dataset: Dataset) -> dict[str, list[int]]:
    """The rows of each recording that has a segment among them: path -> rows, sorted by start.

    The result is empty if all rows are whole recordings.
    """
    starts = _starts(dataset)
    if starts is None:
        return {}
    rows_of_path: dict[str, list[int]] = {}
    for row, path in enumerate(_paths(dataset)):
        rows_of_path.setdefault(path, []).append(row)
    segmented = {}
    for path, rows in rows_of_path.items():
        if len(rows) > 1 and any(starts[row] is not None for row in rows):
            segmented[path] = sorted(rows, key=lambda row: starts[row] or 0.0)
    return segmented


def overlapping(dataset: Dataset) -> list[tuple[int, int]]:
    """The pairs of rows that are segments of one recording and overlap in time."""
    pairs = []
    for rows in recordings(dataset).values():
        times = [_times(dataset, row) for row in rows]
        for i, (_, end) in enumerate(times):
            for j in range(i + 1, len(rows)):
                # The rows are sorted by their start: no later one overlaps.
                if times[j][0] >= end - _LEAST_OVERLAP:
                    break
                pairs.append((rows[i], rows[j]))
    return pairs


def of_one_voice(dataset: Dataset) -> list[list[int]]:
    """Groups of segments of one recording that may have the same speaker.

    There is a group for each speaker of a recording. Segments of unknown speakers are in all groups
    of their recording, because any of its speakers may be theirs.
    """
    speakers = read_column(dataset, "speaker")
    groups = []
    for rows in recordings(dataset).values():
        unknown_rows = [row for row in rows if speakers[row].endswith(f":{UNNAMED}")]
        rows_of_speaker: dict[str, list[int]] = {}
        for row in rows:
            if row not in unknown_rows:
                rows_of_speaker.setdefault(speakers[row], []).append(row)
        for speaker_rows in rows_of_speaker.values() or [[]]:
            group = sorted(speaker_rows + unknown_rows)
            if len(group) > 1:
                groups.append(group)
    return groups


def units(dataset: Dataset, rows: Sequence[int]) -> list[list[int]]:
    """Divide rows into groups that stay together: a recording with its segments, or one row.

    The groups have the order of their first rows.
    """
    recording_of_row = {}
    for path, rows_of_path in recordings(dataset).items():
        for row in rows_of_path:
            recording_of_row[row] = path
    groups: dict[str | int, list[int]] = {}
    for row in rows:
        groups.setdefault(recording_of_row.get(row, row), []).append(row)
    return list(groups.values())


def _starts(dataset: Dataset) -> list[float | None] | None:
    """The start of each row; None if no row is a segment."""
    if "start" not in dataset.column_names:
        return None
    starts = read_column(dataset, "start")
    return starts if any(start is not None for start in starts) else None


def _times(dataset: Dataset, row: int) -> tuple[float, float]:
    """The start and the end of a row in its recording; the end may be infinite."""
    start = read_column(dataset, "start")[row]
    end = read_column(dataset, "end")[row]
    return start or 0.0, math.inf if end is None else end


def _paths(dataset: Dataset) -> list[str]:
    """The path of the recording of each row; rows without one have different names."""
    if dataset not in _PATHS:
        paths = []
        for row, cells in enumerate(dataset.select_columns(["audio"])):
            path = (cells["audio"] or {}).get("path")
            paths.append(path or f"row {row}")
        _PATHS[dataset] = paths
    return _PATHS[dataset]
