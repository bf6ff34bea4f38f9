"""Tables as people save them: cells between commas, semicolons or tabs, below a line of column names."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

SEPARATORS = ",;\t"


def read_table(path: str | Path, text: str) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """The columns of a table, and its rows that are not blank: the line each begins in, counted from 1, and its cells.

    The separator is the one that gives the header most columns. Names and cells are stripped; an empty cell, and one
    that a short row lacks, is None. Columns without a name (row numbers that some tool wrote) are left out.

    Args:
        path: named in errors.
        text: the content of the file, with ``\\n`` between lines.

    Raises:
        UserError: for a column that stands twice, for a row with more cells than columns, and for what is not CSV.
    """
    headers = {separator: next(_lines(path, text, separator), (1, []))[1] for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda separator: len(headers[separator]))
    header = headers[separator]
    doubled = [name for name in header if name and header.count(name) > 1]
    if doubled:
        raise UserError(f"{path}: the column {doubled[0]!r} stands in its header twice; rename one")
    rows = []
    lines = _lines(path, text, separator)
    next(lines, None)
    for line, cells in lines:
        if not any(cells):
            continue
        if any(cells[len(header) :]):
            raise UserError(f"{path}, line {line}: more cells than the header has columns ({len(header)})")
        cells += [""] * (len(header) - len(cells))
        rows.append((line, {name: cell or None for name, cell in zip(header, cells, strict=False) if name}))
    return [name for name in header if name], rows


def _lines(path: str | Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the line that each row begins in (quoted cells may hold line breaks), and the row's cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: not valid CSV ({error})") from None
