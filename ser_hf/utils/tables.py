"""The one reader of tables in text files: CSV, TSV and their relatives from spreadsheets.

Every line of the file is accounted for: it belongs to the header, to a row, or to a blank row.

- The separator is a comma, a semicolon, a tab or a vertical bar: the one that gives the header most
  columns. A first line such as ``sep=;``, which Excel writes, names it.
- In a table with commas, semicolons or bars, a cell in quotation marks may contain separators and
  line breaks.
- In a table with tabs, a quotation mark is a character, as transcripts are exported. Cells that a
  program has put in quotation marks as a whole are read without them.
- A cell that spans lines which look like rows of the table is refused, because a quotation mark
  that is not closed would hide these rows. Other cells with line breaks are counted in a note.
"""

import codecs
import csv
import dataclasses
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .errors import UserError
from .names import matching, trimmed

SEPARATORS = ",;\t|"  # of the columns of a table
_MOST_COLUMNS = 1000
_MOST_BYTES = 2**30
_MOST_LINES_OF_CELL = 1000
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
# The end of a file name, such as .wav.
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", re.ASCII)
# The encodings whose byte order marks are known; the longer marks come first.
_ENCODING_OF_MARK = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """The content of a table.

    Attributes:
        path: the file, for messages.
        columns: the names of the columns, without columns that have no name.
        rows: for each row that has any cell the number of its first line, and column -> cell.
            Empty and missing cells are left out.
        lines: the number of lines of the file.
        heading: the number of lines of the header and above it.
        blank: the numbers of the lines of blank rows.
        spans: the first and the last line of each row that has several lines.
        short: the first lines of rows with fewer cells than the header has columns.
    """

    path: str | Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    lines: int
    heading: int
    blank: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    short: tuple[int, ...] = ()

    @property
    def account(self) -> str:
        """The lines of the file by their use, such as ``a.csv: 66 lines: header, 65 rows``."""
        parts = ["header", "1 row" if len(self.rows) == 1 else f"{len(self.rows):,} rows"]
        if self.spans:
            lines_in_cells = sum(last - first for first, last in self.spans)
            parts.append(f"{lines_in_cells:,} more in cells with line breaks")
        if self.blank:
            parts.append(f"{len(self.blank):,} blank")
        return f"{self.path}: {self.lines:,} lines: {', '.join(parts)}"

    @property
    def notes(self) -> list[str]:
        """Sentences about rows that are unusual, but can be read."""
        notes = []
        if self.spans:
            first, last = self.spans[0]
            notes.append(
                f"{self.path}: {len(self.spans):,} rows have line breaks in a cell (the first in "
                f"lines {first} to {last})."
            )
        if self.short:
            notes.append(
                f"{self.path}: {len(self.short):,} rows have fewer cells than the header (the "
                f"first in line {self.short[0]})."
            )
        return notes

    def named(self, wanted: Iterable[str | None]) -> "Table":
        """The table with the wanted names in place of names that differ in their spelling only.

        A column "Speaker " is then the column "speaker".

        Raises:
            UserError: if two columns have such names.
        """
        new_names = {}
        for name in dict.fromkeys(wanted):
            if name is None:
                continue
            candidates = matching(name, self.columns)
            if len(candidates) > 1:
                raise UserError(
                    f"{self.path}: the columns {' and '.join(map(repr, candidates))} differ in "
                    f"their spelling only; name one of them {name}"
                )
            if candidates and candidates[0] not in (name, *new_names):
                new_names[candidates[0]] = name
        if not new_names:
            return self
        rows = []
        for line, cells in self.rows:
            rows.append((line, {new_names.get(column, column): cells[column] for column in cells}))
        columns = [new_names.get(column, column) for column in self.columns]
        return dataclasses.replace(self, columns=columns, rows=rows)


def read_table(path: str | Path) -> Table:
    """Read a table from a file.

    Raises:
        UserError: for a file that is no text in UTF-8 or UTF-16, too many columns, a column twice,
            more cells than columns, or a quotation mark that hides lines; the message names the
            file and the line.
    """
    return parse_table(path, decoded_text(path))


def decoded_text(path: str | Path, most: int = _MOST_BYTES) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Excel writes "Unicode text" as UTF-16. Other encodings are never guessed.

    Raises:
        UserError: if the file is missing, too large, or has another encoding.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe may never end
            raise UserError(f"{path}: cannot be read as text: not a file")
        if status.st_size > most:
            raise UserError(
                f"{path}: {status.st_size:,} bytes; a table has at most {most:,}; divide it"
            )
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as text: {problem}") from None
    encoding = "utf-8"
    for mark, encoding_of_mark in _ENCODING_OF_MARK.items():
        if content.startswith(mark):
            encoding = encoding_of_mark
            break
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: cannot be read as {encoding.removesuffix('-sig').upper()} text "
            f"({error.reason}); save the table as UTF-8 (Excel: CSV UTF-8)"
        ) from None


def parse_table(path: str | Path, text: str) -> Table:
    """Read a table from its text.

    Args:
        path: the file, for messages.

    Raises:
        UserError: as `read_table`.
    """
    lines = list(io.StringIO(text, newline=""))
    heading = 0
    separator = None
    if lines:
        separator_line = _SEPARATOR_LINE.fullmatch(lines[0].strip("\r\n "))
        if separator_line:
            heading = 1
            separator = separator_line[1]
    if separator is None:
        separator = _separator(path, lines[heading:])

    header, heading = _header(path, lines, heading, separator)
    _check_header(path, header)
    columns = [name for name in header if name]
    rows = []
    blank = []
    spans = []
    short = []
    for first, last, cells in _rows(path, lines, heading, separator, len(header)):
        if not any(cells):
            blank += range(first, last + 1)
            continue
        if any(cells[len(header) :]):
            raise UserError(
                f"{path}, line {first}: more cells than the header has columns ({len(header)})"
            )
        named_cells = zip(header, cells, strict=False)
        rows.append((first, {name: cell for name, cell in named_cells if name and cell}))
        if last > first:
            spans.append((first, last))
        if any(header[len(cells) :]):
            short.append(first)
    return Table(
        path=path,
        columns=columns,
        rows=rows,
        lines=len(lines),
        heading=heading,
        blank=tuple(blank),
        spans=tuple(spans),
        short=tuple(short),
    )


def _separator(path: str | Path, lines: Sequence[str]) -> str:
    """The separator that gives the header most columns.

    A table with one column has no separator: then a comma belongs to the cell, and the lines are
    read as those of a table with tabs.
    """
    columns = {}
    for candidate in SEPARATORS:
        try:
            header, _ = _header(path, lines, 0, candidate)
        except UserError:  # a quotation mark that has a meaning with another separator only
            header = []
        columns[candidate] = len(header)
    best = max(SEPARATORS, key=columns.get)
    return "\t" if columns[best] == 1 else best


def _header(
    path: str | Path, lines: Sequence[str], start: int, separator: str
) -> tuple[list[str], int]:
    """The cells of the first row that has any, and the number of lines up to its end."""
    for _, last, cells in _rows(path, lines, start, separator, 0):
        if any(cells):
            return cells, last
    return [], len(lines)


def _check_header(path: str | Path, header: Sequence[str]) -> None:
    """Refuse a header with too many columns, or with a name that is there twice."""
    if len(header) > _MOST_COLUMNS:
        raise UserError(
            f"{path}: {len(header):,} columns; a table of clips has {_MOST_COLUMNS:,} at most"
        )
    for name in header:
        if name and header.count(name) > 1:
            raise UserError(f"{path}: the column {name!r} is in its header twice; rename one")


def _rows(
    path: str | Path, lines: Sequence[str], start: int, separator: str, width: int
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first and last line of each row, counted from 1, and its cells.

    Args:
        start: the number of lines to leave out.
        width: the number of columns of the table; 0 if it is not known yet.
    """
    if separator == "\t":
        rows = _tab_separated(lines, start, width)
    else:
        rows = _quoted(path, lines, start, separator, width)
    for first, last, cells in rows:
        yield first, last, [trimmed(cell) for cell in cells]


def _quoted(
    path: str | Path, lines: Sequence[str], start: int, separator: str, width: int
) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a table whose cells may be in quotation marks (RFC 4180)."""
    reader = csv.reader(iter(lines[start:]), delimiter=separator)
    first = start + 1
    try:
        for cells in reader:
            last = start + reader.line_num
            if last > first:
                _require_real_cell(path, lines, first, last, separator, width)
            yield first, last, cells
            first = last + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {first}: not valid CSV ({error})") from None


def _require_real_cell(
    path: str | Path, lines: Sequence[str], first: int, last: int, separator: str, width: int
) -> None:
    """Raise a UserError if a row has several lines because a quotation mark is not closed."""
    text = lines[first - 1 : last]
    problem = None
    try:
        list(csv.reader(text, delimiter=separator, strict=True))
    except csv.Error:
        problem = "that is not closed"
    # The first line begins the cell. Another line may be a row of the table by itself.
    if problem is None and any(_looks_like_row(line, separator, width) for line in text[1:]):
        problem = f"up to line {last}, with other rows of the table in it"
    if problem is not None:
        raise UserError(
            f"{path}, line {first}: a cell begins with a quotation mark {problem}; close it, or "
            "write two quotation marks for one that belongs to the text"
        )


def _looks_like_row(line: str, separator: str, width: int) -> bool:
    """Whether a line has the cells of a row, with the name of a file among them."""
    cells = line.rstrip("\r\n").split(separator)
    return len(cells) == width > 1 and any(_SUFFIX.search(trimmed(cell)) for cell in cells)


def _tab_separated(
    lines: Sequence[str], start: int, width: int
) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a table with tabs, in which a quotation mark is a character."""
    position = start
    while position < len(lines):
        line = lines[position].rstrip("\r\n")
        cells = line.split("\t")
        count = 1
        if '"' in line:
            quoted = _quoted_tab_row(lines, position, width)
            if quoted is None:
                cells = [_unquoted(cell) for cell in cells]
            else:
                count, cells = quoted
        yield position + 1, position + count, cells
        position += count


def _unquoted(cell: str) -> str:
    """The cell without the quotation marks around it, if a program has put it in such marks."""
    cell = cell.strip()
    if len(cell) >= 2 and cell.startswith('"') and cell.endswith('"'):
        content = cell[1:-1]
        if '"' not in content.replace('""', ""):
            return content.replace('""', '"')
    return cell


def _is_tab_row(line: str, width: int) -> bool:
    """Whether a line has the cells of a row by itself, or the name of a file among some cells."""
    cells = line.rstrip("\r\n").split("\t")
    if len(cells) >= (width or 2):
        return True
    return len(cells) > 1 and any(_SUFFIX.search(trimmed(cell)) for cell in cells)


def _quoted_tab_row(
    lines: Sequence[str], position: int, width: int
) -> tuple[int, list[str]] | None:
    """The number of lines and the cells of a row whose quoted cell has tabs or line breaks.

    None if the quotation marks are characters: the lines after the first one have the cells of
    rows, or no line closes the quotation.
    """
    text = ""
    for count in range(1, min(_MOST_LINES_OF_CELL, len(lines) - position) + 1):
        line = lines[position + count - 1]
        if count > 1 and _is_tab_row(line, width):
            return None
        text += line
        is_closed = text.count('"') % 2 == 0
        # A row on one line with all its cells needs no reading of its quotation marks.
        if is_closed and (count > 1 or line.count("\t") >= max(width, 1)):
            try:
                rows = list(csv.reader(io.StringIO(text, newline=""), "excel-tab", strict=True))
            except csv.Error:
                return None
            fits = len(rows) == 1 and (not width or len(rows[0]) <= width)
            return (count, rows[0]) if fits else None
        if is_closed:
            return None
        if count == 1 and not any(cell.startswith('"') for cell in line.split("\t")):
            return None  # a quotation mark within a cell opens nothing
    return None
