"""The cache of prepared waveforms and generated corpora: folders built once, locks, and what the cache contains."""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows, which refuses to delete open files
    fcntl = None

logger = logging.getLogger(__name__)

# What reading files of arrays (`numpy.load`) raises when one of their bytes has changed.
_UNREADABLE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile)
_PATIENCE = 1.0  # seconds of waiting for another process before a message
PARTIAL = ".partial"
_REMOVED = ".removed"
# Folders of the cache. Other folders there are ignored.
KINDS = ("waveforms", "frozen", "near_duplicates", "unpacked", "synthetic")
# A folder is named by a key of `key_of`, after the name of the table that it was unpacked from if there is one.
_NAME = re.compile(rf"(?P<folder>(?:.+-)?[0-9a-f]{{24}})(?P<left>{re.escape(PARTIAL)}|{re.escape(_REMOVED)})?")


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    return Path(cache_dir or os.environ.get("SER_HF_CACHE") or Path.home() / ".cache" / "ser_hf")


def key_of(value: Any) -> str:
    """A short stable name for a JSON-able description."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def format_size(size: float) -> str:
    """Bytes as text: ``11.3 GB``, ``4.20 MB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


@contextmanager
def built_once(
    folder: Path,
    check: Callable[[Path], Any] | None = None,
    resumed: bool = False,
    needed: Callable[[], float] | None = None,
) -> Iterator[Path | None]:
    """Yields a partial folder to fill, or None if `folder` exists; a filled folder appears by one rename.

    An existing folder needs no lock, so a read-only cache can be used. Processes wait, with a message, while another
    one builds the folder. A failed build leaves nothing; what a killed build left is resumed or deleted by the next.

    Args:
        check: reads an existing folder and raises an OSError, ValueError or the like if it is damaged; it is then
            deleted and built again, with a warning.
        resumed: the next build continues with the files of a killed or interrupted one.
        needed: bytes that a build takes, for the message about a full disk.

    Raises:
        UserError: if the cache cannot be written to, or its disk is full.
    """
    if folder.is_dir() and _damage(folder, check) is None:
        with suppress(OSError):  # a read-only cache keeps no time of use
            os.utime(folder)
        yield None
        return
    partial = folder.with_name(folder.name + PARTIAL)
    with ExitStack() as held:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_acquire(folder))
            if folder.is_dir() and (damage := _damage(folder, check)):
                logger.warning("%s is damaged (%s): deleted, and built again", folder, damage)
                shutil.rmtree(folder)
            if not (exists := folder.is_dir()):  # another process may have built it
                if not resumed:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=resumed)
        except OSError as error:
            raise _unwritable(folder, error, needed) from None
        if exists:
            yield None
            return
        try:
            yield partial
            partial.rename(folder)
        except BaseException as error:
            if isinstance(error, Exception) or not resumed:
                shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                raise _unwritable(folder, error, needed) from error
            raise


class InUse:
    """Marks a folder of the cache as used while this object lives, so that no process deletes it.

    Several processes may mark the same; on file systems without locks nothing is marked.
    """

    def __init__(self, folder: Path):
        with suppress(OSError):
            mark = os.open(folder, os.O_RDONLY)
            weakref.finalize(self, os.close, mark)
            if fcntl is not None:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether no process builds or uses the folder; none can start to build it meanwhile."""
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(f"{folder}.lock").acquire(timeout=0))
            if folder.is_dir() and fcntl is not None:
                mark = os.open(folder, os.O_RDONLY)
                held.callback(os.close, mark)
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (Timeout, BlockingIOError):
            yield False
            return
        yield True


def _acquire(folder: Path) -> AbstractContextManager:
    """The lock of a folder, with a message if another process holds it. The system releases that of a dead process."""
    lock = FileLock(f"{folder}.lock")
    try:
        return lock.acquire(timeout=_PATIENCE)
    except Timeout:
        logger.warning("waiting for the process that builds %s", folder)
        return lock.acquire()


def _damage(folder: Path, check: Callable[[Path], Any] | None) -> str | None:
    """What is wrong with an existing folder, in words, or None."""
    try:
        if check is not None:
            check(folder)
    except _UNREADABLE as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _unwritable(folder: Path, error: OSError, needed: Callable[[], float] | None) -> UserError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    size = f": {format_size(needed())} are needed" if full and needed else ""
    return UserError(
        f"{folder.parent}: cannot be written to ({error.strerror or error}){size}; make "
        f"{'room there' if full else 'it writable'}, or set audio.cache_dir, or the environment's SER_HF_CACHE, to "
        "another folder"
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder of the cache. `bytes` are those of its files, `last_used` seconds since the epoch; `unfinished` marks
    what an interrupted build left, which the next one may continue."""

    kind: str
    path: Path
    bytes: int
    last_used: float
    unfinished: bool

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that it was to become."""
        return self.path.with_name(_NAME.fullmatch(self.path.name)["folder"])


def entries(root: Path) -> list[Entry]:
    """The entries of a cache, the longest unused first."""
    found = []
    for path in (path for kind in KINDS for path in (root / kind).glob("*")):
        name = _NAME.fullmatch(path.name)
        if name is None or path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError):  # removed meanwhile
            stats = [file.stat() for file in (path, *path.iterdir())]
            size, last = sum(stat.st_size for stat in stats[1:]), max(stat.st_mtime for stat in stats)
            found.append(Entry(path.parent.name, path, size, last, name["left"] is not None))
    return sorted(found, key=lambda entry: (entry.last_used, entry.path))


def remove(entry: Entry) -> bool:
    """Deletes an entry that no process builds or has open, and returns whether it did.

    A folder is renamed before, so that no process finds half of it.

    Raises:
        OSError: if it cannot be deleted.
    """
    with unused(entry.folder) as free:
        if not free:
            return False
        removed = entry.folder.with_name(entry.folder.name + _REMOVED)
        if removed.exists():  # left by an interrupted removal, or this very entry
            shutil.rmtree(removed)
        if entry.path.exists():
            os.rename(entry.path, removed)
            shutil.rmtree(removed)
    return True
