"""The cache of prepared waveforms and generated corpora: folders built once, locks, and what the cache contains."""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
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
except ImportError:  # Windows, which refuses to delete what is open
    fcntl = None

logger = logging.getLogger(__name__)

# What reading files of arrays (`numpy.load`) raised wherever one of their bytes was another; RuntimeError is that of
# zipfile, for archives of a kind that it does not know.
_UNREADABLE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile)
# Seconds of waiting for another process until that is told, and until it is told again.
_PATIENCE, _TOLD_AGAIN = 1.0, 60.0
PARTIAL = ".partial"
_ORIGIN = "origin.txt"
# Seconds after which a build that was cut off is not gone on with any more.
_ABANDONED = 30 * 24 * 3600


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    return Path(cache_dir or os.environ.get("SER_HF_CACHE") or Path.home() / ".cache" / "ser_hf")


def key_of(value: Any) -> str:
    """A short stable name for a JSON-able description."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def note_origin(folder: Path, origin: str | Path) -> None:
    """Notes in a folder of the cache the table that its files come from, for messages (`origin_of`)."""
    note = folder / _ORIGIN
    with suppress(OSError):  # a cache that cannot be written to
        if not note.is_file() or note.read_text(encoding="utf-8") != str(origin):
            note.write_text(str(origin), encoding="utf-8")


def origin_of(path: str | Path) -> str | None:
    """The table and the row that a file of the cache was unpacked from; None for any other file."""
    path = Path(path)
    number = re.fullmatch(r"row_(\d+)\..*", path.name)
    with suppress(OSError, UnicodeDecodeError):
        if number:
            return f"{path.with_name(_ORIGIN).read_text(encoding='utf-8')}, row {int(number[1])}"
    return None


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
    one builds the folder. A build that fails leaves nothing; what a killed build left is resumed or deleted by the
    next build of the same folder, and after 30 days by that of any folder beside it.

    Args:
        check: reads an existing folder and raises an OSError, ValueError or the like if it is damaged; it is then
            deleted and built again, with a warning.
        resumed: the next build gets the folder as a killed or interrupted one left it.
        needed: bytes that a build takes, for the message about a full disk.

    Raises:
        UserError: if the cache cannot be written to, or its disk is full.
    """
    damage = _damage(folder, check) if folder.is_dir() else None
    if damage is None and folder.is_dir():
        with suppress(OSError):  # a cache that cannot be written to does not know when it was used
            os.utime(folder)
        yield None
        return
    partial = folder.with_name(folder.name + PARTIAL)
    with ExitStack() as held:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_acquired(FileLock(f"{folder}.lock"), folder, partial))
            damage = _damage(folder, check) if folder.is_dir() else None
            if damage is not None:
                logger.warning("%s is damaged (%s): deleted, and built again", folder, damage)
                shutil.rmtree(folder)
            stands = folder.is_dir()  # another process may have built it
            if not stands:
                _clear_abandoned(folder.parent)
                if not resumed:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=resumed)
        except OSError as error:
            raise _unwritable(folder, error, damage, needed) from None
        if stands:
            yield None
            return
        try:
            yield partial
            partial.rename(folder)
        except BaseException as error:
            written = _bytes_in(partial)
            if isinstance(error, Exception) or not resumed:
                shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                raise _unwritable(folder, error, None, needed, written) from error
            raise


class InUse:
    """Marks a folder of the cache, or a file, as used while this object lives, so that no process deletes it. Several
    processes may mark the same; on file systems without locks nothing is marked."""

    def __init__(self, folder: Path):
        with suppress(OSError):
            mark = _opened(folder)
            weakref.finalize(self, os.close, mark)
            if fcntl is not None:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_marked(path: Path) -> bool:
    """Whether any process has marked it as `InUse`; True if that is unknown.

    Raises:
        OSError: if it is not there, or may not be read.
    """
    mark = _opened(path)
    try:
        if fcntl is None:
            return True
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(mark)
    return False


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether no process builds or uses the folder; none can start to build it meanwhile."""
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(f"{folder}.lock").acquire(timeout=0))
            if folder.is_dir() and fcntl is not None:
                mark = _opened(folder)
                held.callback(os.close, mark)
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (Timeout, BlockingIOError):
            yield False
            return
        yield True


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY)


def _clear_abandoned(beside: Path) -> None:
    """Deletes the remains of builds that were killed long ago, unless another process works there."""
    for partial in beside.glob(f"*{PARTIAL}"):
        with suppress(OSError):  # deleted meanwhile
            last = max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if time.time() - last < _ABANDONED:
                continue
            with unused(partial.with_name(partial.name.removesuffix(PARTIAL))) as free:
                if free:
                    logger.info("%s: left by a build that was cut off long ago; deleted", partial)
                    shutil.rmtree(partial, ignore_errors=True)


def _acquired(lock: FileLock, folder: Path, partial: Path) -> AbstractContextManager:
    """The lock, held until the context ends. The system releases that of a process that dies."""
    patience = _PATIENCE
    while True:
        try:
            return lock.acquire(timeout=patience)
        except Timeout:
            logger.warning(
                "waiting for the process that builds %s (%s so far)", folder, format_size(_bytes_in(partial))
            )
            patience = _TOLD_AGAIN


def _bytes_in(folder: Path) -> int:
    size = 0
    with suppress(OSError):  # another process is at work there
        for path in folder.iterdir():
            size += path.stat().st_size
    return size


def _damage(folder: Path, check: Callable[[Path], Any] | None) -> str | None:
    """What is wrong with an existing folder, in words, or None."""
    try:
        if check is not None:
            check(folder)
    except _UNREADABLE as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _unwritable(
    folder: Path,
    error: OSError,
    damage: str | None,
    needed: Callable[[], float] | None,
    written: float = 0,
) -> UserError:
    place, reason = folder.parent, error.strerror or error
    elsewhere = "or set audio.cache_dir, or the environment's SER_HF_CACHE, to another folder"
    what = f"{place}: cannot be written to ({reason})"
    if damage is not None:
        what = f"{folder}: damaged ({damage}), and cannot be built again, as {place} cannot be written to ({reason})"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{what}; make it writable, {elsewhere}")
    size = f"{format_size(needed())} are needed" if needed else f"more than {format_size(written)} are needed"
    with suppress(OSError):
        size += f", {format_size(shutil.disk_usage(place).free)} free"
    return UserError(f"{what}: {size}; make room there, {elsewhere}")


# Folder of the cache -> what is in it. Other folders there are ignored.
KINDS = {
    "waveforms": "decoded and prepared clips",
    "frozen": "what frozen layers make of clips",
    "near_duplicates": "pairs of clips that are one take",
    "pieces": "parts cut out of recordings",
    "unpacked": "audio from inside tables",
    "synthetic": "generated corpora",
    "corpora": "corpora on their way to the Hub",
}
_REMOVED = ".removed"
# A folder's name: a key of `ser_hf.utils.cache.key_of`, behind the name of the table that it is of where there is one.
_NAME = re.compile(rf"(?P<folder>(?:.+-)?[0-9a-f]{{24}})(?P<left>{re.escape(PARTIAL)}|{re.escape(_REMOVED)})?")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A folder of the cache. `bytes` are those of its files, `last_used` seconds since the epoch; `unfinished` is what
    a build that was cut off has left, which the next one may go on with."""

    kind: str
    path: Path
    bytes: int
    last_used: float
    unfinished: bool

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that it was to become."""
        return self.path.with_name(_NAME.fullmatch(self.path.name)["folder"])

    @property
    def in_use(self) -> bool:
        """Whether a process builds it, or has it open; not known, and so False, where nothing can be locked."""
        with suppress(OSError), unused(self.folder) as free:
            return not free
        return False


def entries(root: Path) -> list[Entry]:
    """The entries of a cache, the longest unused first."""
    return sorted(_entries(root), key=lambda entry: (entry.last_used, entry.path))


def _entries(root: Path) -> Iterator[Entry]:
    for kind in KINDS:
        for path in (root / kind).glob("*"):
            name = _NAME.fullmatch(path.name)
            if name is None or path.is_symlink() or not path.is_dir():
                continue
            size, last = 0, 0.0
            with suppress(OSError):  # removed meanwhile
                last = path.stat().st_mtime
                for file in path.iterdir():
                    stat = file.stat()
                    size, last = size + stat.st_size, max(last, stat.st_mtime)
            yield Entry(kind, path, size, last, name["left"] is not None)


def remove(entry: Entry) -> bool:
    """Deletes what no process builds or has open; whether it did. A folder is renamed before, so that nobody finds
    half of it.

    Raises:
        OSError: if it cannot be deleted.
    """
    with unused(entry.folder) as free:
        if not free:
            return False
        removed = entry.folder.with_name(entry.folder.name + _REMOVED)
        if removed.exists():  # what an earlier removal that was cut off has left, or this very entry
            shutil.rmtree(removed)
        if entry.path.exists():
            os.rename(entry.path, removed)
            shutil.rmtree(removed)
    return True
