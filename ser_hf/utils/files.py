"""Folders and files that appear complete or not at all, folders walked in order, and tables of
text.
"""

import ast
import contextlib
import csv
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import UserError, machine_fault, printable

_PATIENCE = 5.0  # seconds until a folder is refused as in use: a killed process takes some to end


def packaged(name: str) -> Traversable:
    """A folder at the top of the repository: installed with the package, or beside it in a
    checkout.
    """
    try:
        return resources.files(f"ser_hf.{name}")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / name


@contextlib.contextmanager
def held(lock: Path, folder: Path, key: str = "output_dir") -> Iterator[None]:
    """Keep other processes out of a folder by a lock file, which the system frees if this one is
    killed.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock).acquire(timeout=_PATIENCE))
            lock.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        except Timeout:
            owner = lock.read_text(encoding="utf-8") or "another process"
            raise UserError(
                f"{key}: {folder} is in use by {owner}; wait, or name another folder"
            ) from None
        except OSError as error:  # on a file system without locks, nothing is held
            if machine_fault(error):
                raise
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


@contextlib.contextmanager
def atomic_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """Yield a partial folder to fill, which replaces `folder` by a rename at the end.

    After an error `folder` is as it was before. Messages name `key`.
    """
    folder = Path(os.path.abspath(folder))
    partial, replaced, lock = (
        folder.with_name(f"{folder.name}.{word}") for word in ("partial", "replaced", "lock")
    )
    kept = ""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(lock, folder, key):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            # The new folder is complete, and stays whatever happens to the old one.
            kept = f"; see {partial}"
            shutil.rmtree(replaced, ignore_errors=True)
            if folder.exists():
                folder.rename(replaced)
            partial.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
    except Exception as error:
        if fault := machine_fault(error):
            raise UserError(f"{key}: {folder} cannot be written: {fault}{kept}") from error
        raise


def replace_text(path: Path, text: str) -> None:
    """Write a file by a rename: readers see the old or the new text, never a part."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """As `replace_text`, a value as indented JSON; a number that is not finite is a ValueError."""
    replace_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def folders_below(root: Path, refuse: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Walk the folders from `root` on, with their file names, in an order that does not depend on
    the file system.

    Links to folders are followed; a folder with several paths is visited once. Hidden folders and
    files are left out: macOS writes `._name.wav` beside copies. `refuse` gets the error of an
    unreadable folder.
    """
    seen = set()
    for folder, inside, names in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        yield folder, [name for name in names if not name.startswith(".")]


def require_utf8(path: str | Path) -> None:
    """Refuse a path with bytes that are not UTF-8: tables of clips, libsndfile and Arrow cannot
    hold it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(
            f"{shown}: its path is not UTF-8, which tables of clips cannot hold; rename it"
        ) from None


_JSON_BYTES = 2**25
_JSON_DEPTH = 32


def read_json(path: str | Path, most: int = _JSON_BYTES) -> Any:
    """The value of a JSON file of any origin, with printable texts. A file of more than `most`
    bytes or `_JSON_DEPTH` levels, or with a number that is not finite, is refused."""
    path = Path(path)
    try:
        # reading a pipe would wait for its writer
        if path.is_file() and path.stat().st_size > most:
            raise ValueError(f"larger than {most / 2**20:,.0f} MiB")
        return _plain(json.loads(path.read_text(encoding="utf-8-sig") if path.is_file() else ""))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None


def first_problem(error: Any) -> str:
    """The full path of the first key that a `pydantic.ValidationError` names, and its problem."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > _JSON_DEPTH:
        raise ValueError(f"nested more than {_JSON_DEPTH} levels deep")
    if isinstance(value, int | float) and not abs(value) < 2**63:
        raise ValueError("a number in it is not finite, or has more than 64 bits")
    if isinstance(value, dict):
        return {printable(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    return printable(value) if isinstance(value, str) else value


SEPARATORS = ",;\t"
_MOST_COLUMNS = 1000


def parse_json(text: str, where: str | Path) -> Any:
    """The value of a JSON text; a UserError that names `where` if it is none, or holds half a
    character.
    """
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error})") from None
    return value


def read_table(path: str | Path, text: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read the columns of a CSV or TSV table, and each row's first line number and {column: cell}.

    The separator is the one that gives the header most columns. Names and cells are stripped; empty
    and missing cells, blank rows and columns without a name are left out.

    Raises:
        UserError: for too many columns, a column twice, or more cells than columns.
    """
    separator = max(
        SEPARATORS, key=lambda separator: len(next(_lines(path, text, separator), (1, []))[1])
    )
    lines = _lines(path, text, separator)
    _, header = next(lines, (1, []))
    if len(header) > _MOST_COLUMNS:
        raise UserError(
            f"{path}: {len(header):,} columns; a table of clips has {_MOST_COLUMNS:,} at most"
        )
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise UserError(f"{path}: the column {twice!r} is in its header twice; rename one")
    rows = []
    for line, cells in lines:
        if any(cells[len(header) :]):
            raise UserError(
                f"{path}, line {line}: more cells than the header has columns ({len(header)})"
            )
        if any(cells):
            rows.append(
                (
                    line,
                    {
                        name: cell
                        for name, cell in zip(header, cells, strict=False)
                        if name and cell
                    },
                )
            )
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


def class_fields(*files: Path) -> dict[str, list[str]]:
    """The annotated fields of each class in Python files, with those of bases in the files; nothing
    is imported.
    """
    nodes = [node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}

    def fields(name: str) -> list[str]:
        if name not in classes:
            return []
        bases = [field for base in classes[name].bases for field in fields(ast.unparse(base))]
        own = [item for item in classes[name].body if isinstance(item, ast.AnnAssign)]
        return bases + [
            item.target.id
            for item in own
            if not ast.unparse(item.annotation).startswith("ClassVar")
        ]

    return {name: fields(name) for name in classes}
