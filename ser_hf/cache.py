"""Where prepared waveforms and generated corpora live between runs, and how a folder comes to be there whole."""

import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import UserError

logger = logging.getLogger(__name__)

# What reading files of arrays (`numpy.load`) raised wherever one of their bytes was another; RuntimeError is that of
# zipfile, for archives of a kind that it does not know.
_UNREADABLE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile)
# Seconds of waiting for another process until that is told, and until it is told again.
_PATIENCE, _TOLD_AGAIN = 1.0, 60.0


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    return Path(cache_dir or os.environ.get("SER_HF_CACHE") or Path.home() / ".cache" / "ser_hf")


def key_of(value: Any) -> str:
    """A short stable name for a JSON-able description."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def told_size(size: float) -> str:
    """Bytes for a reader: ``11.3 GB``, ``4.20 MB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"


@contextmanager
def built_once(
    folder: Path, check: Callable[[Path], Any] | None = None, resumed: bool = False
) -> Iterator[Path | None]:
    """Yields a fresh folder to fill, or None where `folder` stands already; filled folders appear by one rename.

    A folder that stands is taken without a lock, so that a cache may be read that cannot be written to. Processes that
    want one that does not stand wait for the one that builds it, and say so. A build that fails leaves nothing behind.

    Args:
        check: reads a folder that stands and raises an OSError, ValueError or the like if it is damaged; a damaged one
            is told in the log, deleted and built anew.
        resumed: a build that is cut off (killed, or by the keyboard) leaves what it has, and the next one is given the
            folder as that left it. What of it is whole is the builder's to find out.

    Raises:
        UserError: if the cache cannot be written to, or its disk fills up.
    """
    if folder.is_dir() and _damage(folder, check) is None:
        yield None
        return
    partial = folder.with_name(folder.name + ".partial")
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
                if not resumed:
                    shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(exist_ok=resumed)
        except OSError as error:
            raise _unwritable(folder, error) from None
        if stands:
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


def _acquired(lock: FileLock, folder: Path, partial: Path) -> AbstractContextManager:
    """The lock, held until the context ends. The system releases that of a process that dies."""
    patience = _PATIENCE
    while True:
        try:
            return lock.acquire(timeout=patience)
        except Timeout:
            logger.warning("waiting for the process that builds %s (%s so far)", folder, told_size(_bytes_in(partial)))
            patience = _TOLD_AGAIN


def _bytes_in(folder: Path) -> int:
    size = 0
    with suppress(OSError):  # another process is at work there
        for path in folder.iterdir():
            size += path.stat().st_size
    return size


def _damage(folder: Path, check: Callable[[Path], Any] | None) -> str | None:
    """What is wrong with a folder that stands, in words; None where nothing is."""
    try:
        if check is not None:
            check(folder)
    except _UNREADABLE as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{folder.parent}: cannot be written to ({error.strerror or error}); make room there, or set audio.cache_dir, "
        "or the environment's SER_HF_CACHE, to another folder"
    )
