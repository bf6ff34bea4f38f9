"""Where prepared waveforms and generated corpora live between runs, and how a folder comes to be there whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import UserError


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else the environment's SER_HF_CACHE, else ~/.cache/ser_hf."""
    return Path(cache_dir or os.environ.get("SER_HF_CACHE") or Path.home() / ".cache" / "ser_hf")


def key_of(value: Any) -> str:
    """A short stable name for a JSON-able description."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


@contextmanager
def built_once(folder: Path) -> Iterator[Path | None]:
    """Yields a fresh folder to fill, or None where `folder` stands already; filled folders appear by one rename.

    Processes that want the same folder wait for the one that builds it. A build that fails leaves nothing behind.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = "audio.cache_dir, or the environment's SER_HF_CACHE"
        raise UserError(f"{folder.parent}: cannot be made ({error.strerror}); set {where}") from None
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            yield None
            return
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
