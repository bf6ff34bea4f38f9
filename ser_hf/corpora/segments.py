"""Rows that are segments of recordings: the settings of their columns, and rows that contradict."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from ..utils.errors import UserError
from ..utils.segments import (
    END,
    START,
    SegmentColumns,
    refuse_unread_segments,
    segments_of_columns,
)
from .rows import Row, TableSettings


class SegmentSettings(TableSettings):
    """Settings of a table whose rows may be segments of recordings."""

    start: Annotated[
        str | None,
        Field(
            description="the column of the start of a segment in its recording, in seconds; "
            "null: rows are whole recordings"
        ),
    ] = START
    end: Annotated[
        str | None,
        Field(description="the column of the end of a segment; null: rows are whole recordings"),
    ] = END

    def segment_columns(self, where: object, columns: Iterable[str]) -> SegmentColumns | None:
        """The columns of segments in a table; None if its rows are whole recordings.

        Raises:
            UserError: if the recipe names a column that the table lacks.
        """
        columns = list(columns)
        for key, default in {"start": START, "end": END}.items():
            name = getattr(self, key)
            if name not in (None, default, *columns):
                raise UserError(
                    f"corpus.{key}: {where} has no column {name!r}; it has {', '.join(columns)}"
                )
        return segments_of_columns(columns, self.start, self.end)

    def refuse_other_segments(
        self,
        where: object,
        columns: Iterable[str],
        rows: Sequence[tuple[Any, Mapping[str, Any]]],
    ) -> None:
        """Raise a UserError if unread columns look like times of segments.

        If the recipe has `start: null` or `end: null`, whole recordings are wanted.
        """
        if self.start is not None and self.end is not None:
            refuse_unread_segments(
                where,
                columns,
                rows,
                "name them in corpus.start and corpus.end (in seconds), or, if the files are cut "
                "already, set corpus.start: null",
            )


def require_single_rows(rows: Iterable[Row]) -> None:
    """Raise a UserError if two rows are the same recording, or the same segment of it.

    Rows whose audio has no file name are not compared.
    """
    first_row: dict[tuple, Row] = {}
    for row in rows:
        if not row.searched_path:
            continue
        first = first_row.setdefault((str(row.path), row.segment), row)
        if first is row:
            continue
        what = row.searched_path
        if row.segment is not None:
            what += f", {row.segment},"
        labels = ""
        if first.label != row.label:
            labels = f" with the label {first.label!r} instead of {row.label!r}"
        raise UserError(
            f"{row.where}: {what} is also in {first.where}{labels}; list each clip once"
        )
