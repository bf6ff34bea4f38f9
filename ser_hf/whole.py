"""Folders that are there whole or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError


@contextlib.contextmanager
def whole_folder(folder: Path, key: str = "output_dir") -> Iterator[Path]:
    """A folder that appears by a rename once it is filled; what stood in its place goes then, and not before.

    Args:
        key: what the user named the place with, for the message.

    Raises:
        UserError: if it cannot be made.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be made: {error.strerror}") from None
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
