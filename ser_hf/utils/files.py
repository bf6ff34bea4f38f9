"""Folders and files that are written completely or not at all, and files of any origin."""

import contextlib
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

# Seconds to wait before a folder is refused as in use: a killed process needs some time to end.
_PATIENCE = 5.0

# Limits for JSON files of any origin, so that a damaged one is refused quickly.
_JSON_BYTES = 2**25
_JSON_DEPTH = 32


def packaged(name: str) -> Traversable:
    """A data folder such as `recipes`.

    It is installed within the package. In a checkout it is at the top of the repository.
    """
    try:
        return resources.files(f"ser_hf.{name}")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / name


@contextlib.contextmanager
def held(lock: Path, folder: Path, key: str = "output_dir") -> Iterator[None]:
    """Keep other processes out of `folder` by the lock file `lock`.

    The system releases the lock if this process is killed.

    Raises:
        UserError: if another process has the lock; the message names `key` and that process.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock).acquire(timeout=_PATIENCE))
            _write_owner(lock)
        except Timeout:
            raise UserError(
                f"{key}: {folder} is in use by {_owner(lock)}; wait, or name another folder"
            ) from None
        except OSError as error:
            # A file system without locks raises another OSError; the run goes on without a lock.
            if machine_fault(error):
                raise
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


def _write_owner(lock: Path) -> None:
    """Write this process into its lock file."""
    # Windows lets nobody write a locked file through a second handle.
    with contextlib.suppress(PermissionError):
        lock.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")


def _owner(lock: Path) -> str:
    """The process that holds a lock file, as it wrote itself."""
    with contextlib.suppress(PermissionError):  # Windows lets nobody read a locked file
        text = lock.read_text(encoding="utf-8")
        if text:
            return text
    return "another process"


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a link to the file `source`, or a copy of it where links are not allowed.

    Windows allows symbolic links to administrators and in its developer mode.
    """
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def atomic_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """Yield a partial folder to fill, which replaces `folder` by a rename at the end.

    After an error `folder` is as it was before.

    Raises:
        UserError: if the folder cannot be written; the message names `key`.
    """
    folder = Path(os.path.abspath(folder))
    partial = folder.with_name(f"{folder.name}.partial")
    lock = folder.with_name(f"{folder.name}.lock")
    hint = ""
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
            # From here on the new folder is complete. It is kept if the rename fails.
            hint = f"; see {partial}"
            _replace_folder(folder, partial)
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        raise UserError(f"{key}: {folder} cannot be written: {fault}{hint}") from error


def _replace_folder(folder: Path, new: Path) -> None:
    """Put the folder `new` in the place of `folder`, which may not exist yet."""
    replaced = folder.with_name(f"{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    new.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file by a rename: readers see the old or the new text, never a part."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, as `replace_text` does.

    Raises:
        ValueError: for a number that is not finite.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    replace_text(path, f"{text}\n")


def folders_below(root: Path, refuse: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Walk through `root` and the folders below it, each with the names of its files.

    The order of the folders does not depend on the file system. Links to folders are followed; a
    folder with several paths is visited once. Hidden folders and files are left out, because macOS
    writes `._name.wav` beside copies.

    Args:
        refuse: is called with the error of an unreadable folder.
    """
    visited = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        real_path = os.path.realpath(folder)
        if real_path in visited:
            subfolders.clear()
            continue
        visited.add(real_path)
        # os.walk visits what this list has at the end, in its order.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield folder, [name for name in files if not name.startswith(".")]


def require_utf8(path: str | Path) -> None:
    """Raise a UserError for a path with bytes that are not UTF-8.

    Tables of clips, libsndfile and Arrow cannot hold such a path.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(
            f"{shown}: its path is not UTF-8, which tables of clips cannot hold; rename it"
        ) from None


def read_json(path: str | Path, most: int = _JSON_BYTES) -> Any:
    """The value of a JSON file of any origin, with printable texts.

    Raises:
        UserError: for a file of more than `most` bytes or of more than `_JSON_DEPTH` levels, or
            with a number that is not finite.
    """
    path = Path(path)
    text = ""
    try:
        # Only a regular file is read: reading a pipe would wait for its writer.
        if path.is_file():
            if path.stat().st_size > most:
                raise ValueError(f"larger than {most / 2**20:,.0f} MiB")
            text = path.read_text(encoding="utf-8-sig")
        return _checked_json(json.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None


def first_problem(error: Any) -> str:
    """The full path of the first key that a `pydantic.ValidationError` names, and its problem."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key or 'the file'}: {first['msg']}"


def _checked_json(value: Any, depth: int = 0) -> Any:
    """The value with printable texts; a ValueError for deep nesting or an unusable number."""
    if depth > _JSON_DEPTH:
        raise ValueError(f"nested more than {_JSON_DEPTH} levels deep")
    if isinstance(value, int | float) and not abs(value) < 2**63:
        raise ValueError("a number in it is not finite, or has more than 64 bits")
    if isinstance(value, dict):
        return {printable(key): _checked_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_checked_json(item, depth + 1) for item in value]
    if isinstance(value, str):
        return printable(value)
    return value


def parse_json(text: str, where: str | Path) -> Any:
    """The value of a JSON text.

    Raises:
        UserError: if the text is not JSON, or has one half of a surrogate pair; the message names
            `where`.
    """
    try:
        value = json.loads(text)
        # JSON may have a surrogate as an escape, which UTF-8 cannot encode.
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON ({error})") from None
    return value
