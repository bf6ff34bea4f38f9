"""The cache of prepared waveforms and generated corpora: folders that are built once."""

import hashlib
import json
import logging
import mmap
import os
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .errors import UserError, one_line

logger = logging.getLogger(__name__)

# What reading files of arrays (`numpy.load`) raises when one of their bytes has changed.
UNREADABLE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile)
_PATIENCE = 1.0  # seconds of waiting for another process before a message
PARTIAL = ".partial"
REBUILT = "the next run builds it again, and --resume continues from the last checkpoint"


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    if given := cache_dir or os.environ.get("SER_HF_CACHE"):
        return Path(given)
    try:
        return Path.home() / ".cache" / "ser_hf"
    except RuntimeError:  # a user without an entry in the system's list, as in containers
        raise UserError(
            "SER_HF_CACHE: missing, and this user has no home folder; set it to a folder"
        ) from None


def key_of(value: Any) -> str:
    """A short stable name for a JSON-able description."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def format_size(size: float) -> str:
    """Bytes as text: ``11.3 GB``, ``4.20 MB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


@contextmanager
def built_once(
    folder: Path, check: Callable[[Path], Any] | None = None, resumed: bool = False
) -> Iterator[Path | None]:
    """Yield a partial folder to fill, or None if `folder` exists; a filled folder appears by one
    rename.

    An existing folder needs no lock, so a read-only cache can be used. Other processes wait while
    one builds the folder. A failed build leaves nothing; a killed one is resumed or deleted by the
    next.

    Args:
        check: raises an OSError or ValueError if an existing folder is damaged; it is then built
            again.
        resumed: the next build continues with the files of a killed or interrupted one.
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
            lock = FileLock(f"{folder}.lock")
            try:
                held.enter_context(lock.acquire(timeout=_PATIENCE))
            except Timeout:  # the system releases the lock of a dead process
                logger.warning("waiting for the process that builds %s", folder)
                held.enter_context(lock.acquire())
            if folder.is_dir() and (damage := _damage(folder, check)):
                logger.warning("%s is damaged (%s): deleted, and built again", folder, damage)
                shutil.rmtree(folder)
            if not (exists := folder.is_dir()):  # another process may have built it
                if not resumed:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=resumed)
        except OSError as error:
            raise _unwritable(folder, error) from None
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
                raise _unwritable(folder, error) from error
            raise


class MappedFile:
    """The content of a file as a read-only array: `file[begin:end]` maps it when first read.

    Reading beyond the end of a file that has become shorter would kill the process, so each access
    looks at the file: it raises a UserError if the file is shorter than it was, or removed before
    it was mapped. `changed` says whether it was written to since its owner set that to False.
    Worker processes map the file themselves.
    """

    def __init__(self, path: Path, dtype: type[np.number]):
        self.path = path
        self.dtype = dtype
        self._file = None
        self._stat = path.stat()
        self.bytes = self._stat.st_size
        self.changed = False

    def __getitem__(self, items: slice) -> np.ndarray:
        try:
            if self._file is None:
                file = os.open(self.path, os.O_RDONLY)
                weakref.finalize(self, os.close, file)
                self._values = np.frombuffer(
                    mmap.mmap(file, self.bytes, access=mmap.ACCESS_READ), self.dtype
                )
                self._file = file  # last, as threads share it
            stat = os.fstat(self._file)
        except (OSError, ValueError):
            stat = None
        if stat is None or stat.st_size < self.bytes:
            raise UserError(f"{self.path}: cut short or removed while in use; {REBUILT}")
        self.changed |= stat.st_mtime_ns != self._stat.st_mtime_ns
        self._stat = stat
        return self._values[items]

    def __getstate__(self):
        return self.__dict__ | {"_file": None, "_values": None}


def _damage(folder: Path, check: Callable[[Path], Any] | None) -> str | None:
    """What is wrong with an existing folder, in words, or None."""
    try:
        if check is not None:
            check(folder)
    except UNREADABLE as error:
        return one_line(error)
    return None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder.parent}: cannot be written to ({error.strerror or error}); make room or make it writable, or set "
        "audio.cache_dir, or the environment's SER_HF_CACHE, to another folder"
    )
