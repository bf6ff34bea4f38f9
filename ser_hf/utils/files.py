"""Folders and files that appear complete or not at all, folders walked in order, and tables of text."""

import contextlib
import csv
import errno
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import UserError


@contextlib.contextmanager
def atomic_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """Yield a partial folder to fill, which replaces `folder` by a rename at the end.

    After an error `folder` is as it was before, and so are the folders above it. Messages name `key`.
    """
    folder = Path(os.path.abspath(folder))
    partial, replaced = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.replaced")
    created = [parent for parent in folder.parents if not parent.exists()]
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be created: {error.strerror}") from None
    try:
        yield partial
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process writes there
            for parent in created:
                parent.rmdir()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{key}: {folder} cannot be written: {error.strerror}; make room there") from None
        raise
    # The new folder is complete, and stays whatever happens to the old one.
    try:
        shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be replaced: {error.strerror}; see {partial}") from None
    shutil.rmtree(replaced, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file by a rename: readers see the old or the new text, never a part."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def folders_below(
    root: Path, refuse: Callable[[OSError], None], hidden: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Walk the folders from `root` on, with their file names, in an order that does not depend on the file system.

    Links to folders are followed; a folder with several paths is visited once. Hidden folders and files are left out
    unless `hidden`: macOS writes `._name.wav` beside copies. `refuse` gets the error of an unreadable folder.
    """
    seen = set()
    for folder, inside, names in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if hidden or not name.startswith("."))
        yield folder, [name for name in names if hidden or not name.startswith(".")]


def require_utf8(path: str | Path) -> None:
    """Refuse a path with bytes that are not UTF-8: tables of clips, libsndfile and Arrow cannot hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: its path is not UTF-8, which tables of clips cannot hold; rename it") from None


SEPARATORS = ",;\t"


def read_table(path: str | Path, text: str) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Read the columns of a CSV or TSV table, and each row's first line number and {column: cell}.

    The separator is the one that gives the header most columns. Names and cells are stripped; empty and missing cells
    are None; blank rows and columns without a name are left out.
    """
    separator = max(SEPARATORS, key=lambda separator: len(next(_lines(path, text, separator), (1, []))[1]))
    lines = _lines(path, text, separator)
    _, header = next(lines, (1, []))
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise UserError(f"{path}: the column {twice!r} is in its header twice; rename one")
    rows = []
    for line, cells in lines:
        if any(cells[len(header) :]):
            raise UserError(f"{path}, line {line}: more cells than the header has columns ({len(header)})")
        if any(cells):
            padded = itertools.zip_longest(header, cells[: len(header)])
            rows.append((line, {name: cell or None for name, cell in padded if name}))
    return [name for name in header if name], rows


def _lines(path: str | Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line that each row begins in (quoted cells may contain line breaks), and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: not valid CSV ({error})") from None
