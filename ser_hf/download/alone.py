"""One download at a time in a folder, what an earlier one has left there, and what the folder's disk refuses."""

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from ..corpora.files import UNFINISHED, unfinished
from ..errors import UserError

logger = logging.getLogger(__name__)

# Beside what is unfinished, not in it: it outlives that, and stays, as a lock that is removed may be held twice.
LOCK = f"{UNFINISHED}.lock"


class Unwritable(UserError):
    """The disk of a folder, or something in the folder, does not let anything be written."""


def usable_folder(given: str | os.PathLike[str], key: str, title: str) -> Path:
    """The folder that is meant, which may not exist yet.

    Raises:
        UserError: if it cannot be one.
    """
    text = os.fspath(given)
    if not text.strip():
        raise UserError(f"{key}: empty; name the folder that {title} is to lie in")
    try:
        os.stat(text)
    except FileNotFoundError:
        return Path(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{key}: {text[:200]!r} cannot be a folder ({reason})") from None
    if not os.path.isdir(text):
        raise UserError(f"{text}: is no folder; name the one that {title} is to lie in")
    return Path(text)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other download goes on in a folder, which it makes; leaves no empty `.download` behind.

    Raises:
        Unwritable: for whatever the disk refuses inside.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder):
            try:
                yield
            finally:
                with suppress(OSError):  # most often: something is in it
                    (folder / UNFINISHED).rmdir()
    except OSError as error:
        raise Unwritable(_told(error, folder)) from error


def clear(folder: Path) -> None:
    """Removes what a download has left.

    Raises:
        OSError: if something stays.
    """
    if unfinished(folder):
        shutil.rmtree(folder / UNFINISHED)


def _held(folder: Path) -> AcquireReturnProxy:
    lock = FileLock(folder / LOCK)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process downloads into it; waiting", folder)
        return lock.acquire(timeout=-1)


def _told(error: OSError, folder: Path) -> str:
    """What is in the way, and what to do about it, by the kind of error."""
    place, reason = error.filename2 or error.filename or folder, error.strerror or error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{folder}: cannot be written to ({reason}); make room, or name another folder"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY):
        return f"{place}: stands in the way ({reason}); move it away, or name another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: cannot be written to ({reason}); name a folder that you may write to"
    return f"{place}: cannot be written to ({reason}); name another folder, or another disk"
