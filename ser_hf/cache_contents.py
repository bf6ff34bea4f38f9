"""What stands in the cache: sizes, when each folder was last used, and how what is not used any more goes."""

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .cache import PARTIAL, unused

# Folder of the cache -> what is in it. What else stands there is somebody else's, and neither told nor touched.
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
# A folder's name: a key of `ser_hf.cache.key_of`, behind the name of the table that it is of where there is one.
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
    """What stands below a cache's folder, the longest unused first."""
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
