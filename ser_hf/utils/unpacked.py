"""Names of the audio files that are unpacked from datasets into the cache.

A message about such a file names the split and the row of the dataset, because the file belongs to
ser_hf and not to the user.
"""

import re
from pathlib import Path

from .cache import cache_root

_FOLDER = "unpacked"
_FILE = re.compile(r"row_(\d{7,})")


def unpacked_folder(title: str, key: str) -> Path:
    """The folder of the unpacked files of one split.

    Args:
        title: the name of the dataset and its split.
        key: differs for each content.
    """
    readable_title = re.sub(r"[^A-Za-z0-9_.-]", "_", title)[:80]
    return cache_root() / _FOLDER / f"{readable_title}-{key}"


def file_name(row: int, suffix: str) -> str:
    """The name of the unpacked file of a row, such as ``row_0000007.wav``."""
    return f"row_{row:07d}{suffix}"


def row_of(path: str | Path) -> int | None:
    """The row that a file in the cache was unpacked from; None for any other file."""
    path = Path(path)
    match = _FILE.fullmatch(path.stem)
    if match is None or path.parent.parent.name != _FOLDER:
        return None
    return int(match[1])
