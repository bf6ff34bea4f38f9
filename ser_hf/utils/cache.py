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
PARTIAL = ".partial"  # the end of the name of a folder that is being built
REBUILT = "the next run builds it again, and --resume continues from the last checkpoint"

_PATIENCE = 1.0  # seconds of waiting for another process before a message

# Raises an OSError or a ValueError for a damaged folder.
_Check = Callable[[Path], Any]


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    chosen = cache_dir or os.environ.get("SER_HF_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".cache" / "ser_hf"
    except RuntimeError:  # a user without an entry in the system's list, as in containers
        raise UserError(
            "SER_HF_CACHE: missing, and this user has no home folder; set it to a folder"
        ) from None


def key_of(value: Any) -> str:
    """A short name of a value that JSON can hold; equal values have the same name."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def format_size(size: float) -> str:
    """Bytes as text: ``11.3 GB``, ``4.20 MB``."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.2f} MB"


@contextmanager
def built_once(
    folder: Path, check: _Check | None = None, resumed: bool = False
) -> Iterator[Path | None]:
    """Yield a partial folder to fill, or None if `folder` exists; the filled one is renamed to it.

    An existing folder needs no lock, so a read-only cache can be used. Other processes wait while
    one builds the folder. A failed build leaves nothing. What a killed build leaves is continued
    or deleted by the next build.

    Args:
        check: raises an OSError or ValueError if an existing folder is damaged; it is then built
            again.
        resumed: the next build continues with the files of a killed or interrupted one.

    Raises:
        UserError: if the folder cannot be written.
    """
    if folder.is_dir() and _damage(folder, check) is None:
        with suppress(OSError):  # in a read-only cache the time of the last use stays as it is
            os.utime(folder)
        yield None
        return

    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _wait_for_lock(folder, stack)
            partial = _partial_folder(folder, check, resumed)
        except OSError as error:
            raise _unwritable(folder, error) from None

        if partial is None:
            yield None
            return
        try:
            yield partial
            partial.rename(folder)
        except BaseException as error:
            # An interruption is no Exception: what it leaves can be continued.
            if isinstance(error, Exception) or not resumed:
                shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError):
                raise _unwritable(folder, error) from error
            raise


def _wait_for_lock(folder: Path, stack: ExitStack) -> None:
    """Get the lock of the folder until `stack` ends; log a message if that takes some time."""
    lock = FileLock(f"{folder}.lock")
    try:
        stack.enter_context(lock.acquire(timeout=_PATIENCE))
    except Timeout:  # the builder is alive: the system releases the lock of a dead process
        logger.warning("waiting for the process that builds %s", folder)
        stack.enter_context(lock.acquire())


def _partial_folder(folder: Path, check: _Check | None, resumed: bool) -> Path | None:
    """The folder to fill, or None if another process built `folder` before this one had the lock.

    A damaged `folder` is deleted with a warning.
    """
    if folder.is_dir():
        damage = _damage(folder, check)
        if damage is None:
            return None
        logger.warning("%s is damaged (%s): deleted, and built again", folder, damage)
        shutil.rmtree(folder)

    partial = folder.with_name(folder.name + PARTIAL)
    if not resumed:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(exist_ok=resumed)
    return partial


def _damage(folder: Path, check: _Check | None) -> str | None:
    """What is wrong with an existing folder, in one line, or None."""
    if check is None:
        return None
    try:
        check(folder)
    except UNREADABLE as error:
        return one_line(error)
    return None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder.parent}: cannot be written to ({error.strerror or error}); make room or make it "
        "writable, or set audio.cache_dir, or the environment's SER_HF_CACHE, to another folder"
    )


class MappedFile:
    """The content of a file as a read-only array: `file[begin:end]` maps it when first read.

    Reading beyond the end of a file that has become shorter would kill the process. Each access
    therefore checks the file, and raises a UserError if it is shorter than it was, or was removed
    before it was mapped. `changed` is True if the file was written to since the user of this object
    set it to False. Each worker process maps the file itself.
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
                self._file = file  # set last: threads share this object
            stat = os.fstat(self._file)
        except (OSError, ValueError):
            stat = None
        if stat is None or stat.st_size < self.bytes:
            raise UserError(f"{self.path}: cut short or removed while in use; {REBUILT}")
        self.changed |= stat.st_mtime_ns != self._stat.st_mtime_ns
        self._stat = stat
        return self._values[items]

    def __getstate__(self):
        # Neither the open file nor its mapping can be sent to a worker process.
        return self.__dict__ | {"_file": None, "_values": None}
