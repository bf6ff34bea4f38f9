"""Folders that appear complete or not at all, folders walked in order, and tables of text."""

import contextlib
import csv
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .cache import format_size
from .errors import UserError


@contextlib.contextmanager
def atomic_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """Yields a partial folder to fill, which takes the place of `folder` by a rename at the end.

    After an error `folder` is as it was before, and so are the folders above it.

    Args:
        key: the recipe key or flag that named the folder, for the message.

    Raises:
        UserError: if the folder cannot be made, or the disk is full.
    """
    folder = Path(os.path.abspath(folder))
    partial, replaced = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.replaced")
    created = [parent for parent in folder.parents if not parent.exists()]
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be made: {error.strerror}") from None
    try:
        yield partial
    except BaseException as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        written = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file()) if full else 0
        free = shutil.disk_usage(folder.parent).free if full else 0
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process writes there
            for parent in created:
                parent.rmdir()
        if full:
            raise UserError(
                f"{key}: {folder} cannot be written: {error.strerror}: more than {format_size(written)} are needed, "
                f"{format_size(free)} free; make room there, and try again"
            ) from None
        raise
    # From here on the new one is whole, and stays whatever happens to the old one.
    try:
        shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be replaced: {error.strerror}; the new one is {partial}") from None
    shutil.rmtree(replaced, ignore_errors=True)


def folders_below(
    root: Path, refuse: Callable[[OSError], None], hidden: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `root` on and the names of the files in it, whatever order the file system has them in.

    Links to folders are followed, and a folder to which several paths lead is met once, by the first of them. Hidden
    folders are left out: version control keeps copies of its own there; and so are hidden files: macOS leaves
    `._name.wav` beside each file that it copies to a foreign disk.

    Args:
        refuse: hears of a folder that cannot be read, and raises what is to be said of it.
        hidden: takes those as well.
    """
    met = set()
    for folder, inside, names in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in met:  # by another link, or a link to what it lies in
            inside.clear()
            continue
        met.add(real)
        inside[:] = sorted(name for name in inside if hidden or not name.startswith("."))
        yield folder, [name for name in names if hidden or not name.startswith(".")]


def require_utf8(path: str | Path) -> None:
    """Refuses a path with bytes that are no UTF-8, as tables of clips hold text and libsndfile and Arrow read it.

    Raises:
        UserError: naming it, with these bytes as they are written in Python.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: its path is not UTF-8, which tables of clips cannot hold; rename it") from None


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
