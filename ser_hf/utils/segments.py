"""Segments of recordings: their times in cells of tables, and the columns that have such times."""

import datetime
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .cells import is_empty, means_missing
from .errors import UserError
from .names import compared

# The usual names of the columns, in seconds.
START = "start"
END = "end"

# Names of columns, with letters only; s, sec and ms are units.
_UNITS = ("", "s", "sec", "secs", "seconds", "ms", "time", "times", "timestamp")
_STARTS = {f"{word}{unit}" for word in ("start", "begin", "onset") for unit in _UNITS}
_STARTS |= {"xmin", "tmin", "offset"}  # NeMo's manifests have offset and duration
_ENDS = {f"{word}{unit}" for word in ("end", "stop", "offset", "duration") for unit in _UNITS}
_ENDS |= {"xmax", "tmax"}
# Columns that mean a segment only if its start is not 0: other tables have them for whole files.
_LENGTHS = {f"duration{unit}" for unit in _UNITS}
_NUMBER = re.compile(r"[-+]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)(e[-+]?[0-9]+)?", re.ASCII | re.I)


class Segment(NamedTuple):
    """A part of a recording, in seconds from its beginning.

    Attributes:
        start: the beginning.
        end: the end; None is the end of the recording.
    """

    start: float
    end: float | None

    def __str__(self) -> str:
        end = "the end" if self.end is None else f"{self.end:.3f}"
        return f"{self.start:.3f}-{end} s"

    @property
    def name(self) -> str:
        """A name that is unique in the recording; such names have the order of the segments."""
        end = "end" if self.end is None else f"{self.end:09.3f}"
        return f"{self.start:09.3f}-{end}"


class SegmentColumns(NamedTuple):
    """The columns of the start and the end of segments."""

    start: str
    end: str

    def segment(self, cells: Mapping[str, Any], where: object) -> Segment | None:
        """The segment of a row; None if the row is a whole recording, because both cells are empty.

        Args:
            cells: column -> cell. A time is a number of seconds (of milliseconds in a column whose
                name ends with ms), or a timedelta, also as pandas writes it.
            where: the file and the line, for messages.

        Raises:
            UserError: if a time cannot be read or is negative, or the end is not after the start.
        """
        start = _seconds(cells.get(self.start), self.start, where)
        end = _seconds(cells.get(self.end), self.end, where)
        if start is None and end is None:
            return None
        segment = Segment(start or 0.0, end)
        if end is not None and end <= segment.start:
            raise UserError(
                f"{where}: its segment ends at {end:g} s, but begins at {segment.start:g} s; "
                f"correct {self.start} or {self.end}"
            )
        return segment


def segments_of_columns(
    columns: Iterable[str], start: str | None = START, end: str | None = END
) -> SegmentColumns | None:
    """The columns of segments; None if the rows of the table are whole recordings.

    Args:
        columns: the columns of the table.
        start, end: the names of the two columns; None if they are not to be read.
    """
    available = set(columns)
    if start is None or end is None or not {start, end} <= available:
        return None
    return SegmentColumns(start, end)


def _seconds(cell: Any, column: str, where: object) -> float | None:
    """The seconds in a cell; None if it is empty.

    Raises:
        UserError: if the cell has no time, or a negative time.
    """
    if is_empty(cell):
        return None
    word = str(cell).strip()
    if isinstance(cell, datetime.timedelta):  # also the Timedelta of pandas
        seconds = cell.total_seconds()
    elif _is_missing(word):
        return None
    else:
        seconds = _seconds_of_text(word, column)
    if seconds is None or not math.isfinite(seconds):
        raise UserError(
            f"{where}: {str(cell)[:40]!r} in column {column} is no time; write seconds, such as "
            "12.34, or 0 days 00:00:12.34"
        )
    if seconds < 0:
        raise UserError(f"{where}: {str(cell)[:40]!r} in column {column} is a negative time")
    return seconds


def _is_missing(word: str) -> bool:
    """Whether a text stands for a missing time. The number -1 is a negative time."""
    return word == "NaT" or (means_missing(word) and not _NUMBER.fullmatch(word))


def _seconds_of_text(cell: str, column: str) -> float | None:
    """The seconds in a text: a number, or a time such as 0:00:12.34; None for other text."""
    if _NUMBER.fullmatch(cell):
        number = float(cell.replace(",", "."))
        is_milliseconds = _letters(column).endswith("ms")
        return number / 1000 if is_milliseconds else number
    if ":" not in cell and "day" not in cell:
        return None

    import pandas as pd  # takes half a second to load, and few tables need it

    try:
        return pd.Timedelta(cell).total_seconds()
    except ValueError:
        return None


def segment_columns(
    columns: Iterable[str], rows: Sequence[tuple[Any, Mapping[str, Any]]]
) -> SegmentColumns | None:
    """The columns that look like the start and the end of segments, whatever their names.

    Args:
        columns: the columns to search.
        rows: for each row its place, which is not read here, and column -> cell.

    Returns:
        The columns, or None if the rows are whole recordings.
    """
    starts = []
    ends = []
    for column in columns:
        letters = _letters(column)
        if letters in _ENDS:
            ends.append(column)
        if letters in _STARTS:
            starts.append(column)
    for start in starts:
        for end in ends:
            if start != end and any(_is_segment(cells, start, end) for _, cells in rows):
                return SegmentColumns(start, end)
    return None


def _letters(column: str) -> str:
    """The letters of the name of a column, in lower case."""
    return re.sub("[^a-z]", "", compared(column))


def _is_segment(cells: Mapping[str, Any], start: str, end: str) -> bool:
    """Whether a row may be a part of a recording: it begins later, or has an end."""
    if not _is_zero(cells.get(start)):
        return True
    is_length = _letters(end) in _LENGTHS
    return not is_length and not _is_zero(cells.get(end))


def _is_zero(cell: Any) -> bool:
    """Whether a cell is empty, or the number 0 or a time such as 0:00:00.0."""
    if is_empty(cell) or means_missing(str(cell)):
        return True
    return re.fullmatch(r"(0 days )?[0:.,]*", str(cell).strip()) is not None


def refuse_unread_segments(
    where: object,
    columns: Iterable[str],
    rows: Sequence[tuple[Any, Mapping[str, Any]]],
    remedy: str,
) -> None:
    """Raise a UserError if columns that are not read look like times of segments.

    Without the error, each row would be read as a whole recording.

    Args:
        columns: the columns that are not read.
        remedy: how these columns can be read.
    """
    names = segment_columns(columns, rows)
    if names is not None:
        raise UserError(
            f"{where}: the columns {names.start} and {names.end} look like times of segments; "
            f"{remedy}"
        )
