"""Recordings in formats that are not supported, and Git LFS pointers in the place of recordings."""

import os
from pathlib import Path

from .errors import UserError

# Suffixes of recordings that libsndfile does not read.
OTHER_SUFFIXES = {
    ".m4a",
    ".mp4",
    ".opus",
    ".webm",
    ".aac",
    ".wma",
    ".amr",
    ".3gp",
    ".mkv",
    ".avi",
    ".mov",
}
_LFS_HEADER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer: a short text in place of the content.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        if os.path.getsize(path) > _LFS_POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(_LFS_HEADER)) == _LFS_HEADER
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def conversion_advice(path: Path) -> str:
    """How to convert a file in a format that is not supported."""
    wav = path.with_suffix(".wav")
    return f"{path.suffix} is not supported; convert it: ffmpeg -i {path} -vn {wav}"
