"""Columns of tables that name segments of recordings, such as `start` and `end`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .cells import is_empty, means_missing
from .errors import UserError
from .names import compared

# Names of columns, with letters only; s, sec and ms are units.
_UNITS = ("", "s", "sec", "secs", "seconds", "ms", "time", "times", "timestamp")
_STARTS = {f"{word}{unit}" for word in ("start", "begin", "onset") for unit in _UNITS}
_STARTS |= {"xmin", "tmin", "offset"}  # NeMo's manifests have offset and duration
_ENDS = {f"{word}{unit}" for word in ("end", "stop", "offset", "duration") for unit in _UNITS}
_ENDS |= {"xmax", "tmax"}
# Columns that mean a segment only if its start is not 0: other tables have them for whole files.
_LENGTHS = {f"duration{unit}" for unit in _UNITS}


def segment_columns(
    columns: Iterable[str], rows: Sequence[tuple[Any, Mapping[str, Any]]]
) -> tuple[str, str] | None:
    """The columns of the start and the end of segments; None if the rows are whole recordings.

    Args:
        columns: the columns to search.
        rows: for each row its place, which is not read here, and column -> cell.
    """
    starts = []
    ends = []
    for column in columns:
        letters = re.sub("[^a-z]", "", compared(column))
        if letters in _ENDS:
            ends.append(column)
        if letters in _STARTS:
            starts.append(column)
    for start in starts:
        for end in ends:
            if start != end and any(_is_segment(cells, start, end) for _, cells in rows):
                return start, end
    return None


def _is_segment(cells: Mapping[str, Any], start: str, end: str) -> bool:
    """Whether a row may be a part of a recording: it begins later, or has an end."""
    if not _is_zero(cells.get(start)):
        return True
    is_length = re.sub("[^a-z]", "", compared(end)) in _LENGTHS
    return not is_length and not _is_zero(cells.get(end))


def _is_zero(cell: Any) -> bool:
    """Whether a cell is empty, or the number 0 or a time such as 0:00:00.0."""
    if is_empty(cell) or means_missing(str(cell)):
        return True
    return re.fullmatch(r"(0 days )?[0:.,]*", str(cell).strip()) is not None


def refuse_segments(
    where: object, columns: Iterable[str], rows: Sequence[tuple[Any, Mapping[str, Any]]]
) -> None:
    """Raise a UserError if rows are segments of recordings, because whole files are read."""
    names = segment_columns(columns, rows)
    if names is not None:
        start, end = names
        raise UserError(
            f"{where}: the columns {start} and {end} name segments of recordings, but whole files "
            "are read; cut the files at these times, or give the two columns other names if the "
            "files are cut already"
        )
