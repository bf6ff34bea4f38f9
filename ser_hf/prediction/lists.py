"""Tables that list recordings: CSV, TSV, JSON lines or Parquet, with a column that holds their paths."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..corpora.audio_folder import read_json_lines
from ..corpora.cells import is_empty, text
from ..corpora.parquet_table import opened, rows_of
from ..delimited import read_table
from ..errors import UserError
from ..strict import read_text
from .recordings import Recording

SUFFIXES = {".csv", ".jsonl", ".parquet", ".tsv"}
_PATHS = ("path", "file_name")  # ours, and the name that datasets has for it
# The columns that only our own answers have. Their times are of what a model heard, silence trimmed off.
_ANSWERS = {"window", "windows", "predicted"}


def listed(table: Path) -> Iterator[tuple[str, bool, Recording]]:
    """Of each row where it stands, whether it has an id of its own, and the recording; relative paths start from the
    table's folder.

    The columns `id`, `label` and `speaker` are kept; `start` and `end` are seconds of the file, of which that part
    alone is heard. Without an id of its own a part is called as a media fragment (https://www.w3.org/TR/media-frags/),
    ``calls/one.wav#t=1.5,4``. Of a table that `ser-hf predict` wrote, files are heard whole.

    Raises:
        UserError: naming the table or the row that cannot be used.
    """
    columns, rows = _read(table)
    column = next((name for name in _PATHS if name in columns), None)
    if column is None:
        inside = "; audio inside a table is heard by ser_hf.predict, as a Dataset" if "audio" in columns else ""
        raise UserError(
            f"{table}: has no column {' or '.join(_PATHS)}; there are {', '.join(columns) or 'none'}; call the one "
            f"that holds the paths of the recordings path{inside}"
        )
    whole = set(columns) >= _ANSWERS
    empty = True
    for where, row in rows:
        empty = False
        cell = row.get(column)
        if not cell:
            raise UserError(f"{where}: the cell of {column!r} is empty")
        if not isinstance(cell, str):
            raise UserError(f"{where}: {column} is {cell!r}, not the path of a file")
        path = Path(os.path.normpath(table.parent / cell))
        start, end = (0.0, None) if whole else (_seconds(where, row, "start") or 0.0, _seconds(where, row, "end"))
        if end is not None and end <= start:
            raise UserError(f"{where}: ends at {end:g} s, where it starts at {start:g} s")
        own = text(row.get("id"))
        part = "" if start == 0 and end is None else f"#t={start:g}" + ("" if end is None else f",{end:g}")
        name = own or path.as_posix() + part
        known = text(row.get("label")), text(row.get("speaker"))
        yield where, own is not None, Recording(name, str(path), *known, start=start, end=end)
    if empty:
        raise UserError(f"{table}: lists no recording")


def _read(table: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    """The columns, and of each row where it stands and its cells."""
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        file = opened(table)
        numbered = enumerate(rows_of(file, ()), start=1)
        return file.schema_arrow.names, ((f"{table}, row {number}", row) for number, row in numbered)
    if suffix == ".jsonl":
        lines = list(read_json_lines(table))
        columns = list(dict.fromkeys(name for _, row in lines for name in row))
    else:
        columns, lines = read_table(table, read_text(table))
    return columns, ((f"{table}, line {line}", row) for line, row in lines)


def _seconds(where: str, row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    if is_empty(value):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(
            f"{where}: {column} is {value!r}, where seconds of the recording are expected; rename the column if it "
            "says something else"
        )
    return seconds
