"""Folders that are there whole or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .cache import told_size
from .errors import UserError


@contextlib.contextmanager
def whole_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """A folder that appears by a rename once it is filled; what stood in its place goes then, and not before.

    Args:
        key: what the user named the place with, for the message.

    Raises:
        UserError: if it cannot be made, or the disk is full.
    """
    folder = Path(os.path.abspath(folder))
    partial, replaced = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.replaced")
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
        shutil.rmtree(partial, ignore_errors=True)
        if full:
            free = shutil.disk_usage(folder.parent).free
            raise UserError(
                f"{key}: {folder} cannot be written: {error.strerror}: more than {told_size(written)} are needed, "
                f"{told_size(free)} free; make room there, and try again"
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
