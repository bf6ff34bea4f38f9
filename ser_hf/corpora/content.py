"""Audio files by their content: copies of a clip, and official files under other names.

Mirrors of a corpus often contain a folder twice, or give the files other names. Both are found by
the SHA-256 of the files. Sizes are compared first, so that few files are read.
"""

import dataclasses
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ..utils.environment import usable_cores
from ..utils.errors import UserError
from .release import Entry
from .schema import Clip

# An inspection compares the same files several times. The digests of this number of files are kept.
_DIGESTS_KEPT = 1 << 15


@dataclasses.dataclass(frozen=True)
class SeparatedCopies:
    """Clips without copies.

    Attributes:
        clips: the first file of each clip, and files of the same clip with other content.
        copies: files that are byte for byte equal to one of `clips` with the same id.
    """

    clips: list[Clip]
    copies: list[Clip]


def separate_copies(clips: Sequence[Clip]) -> SeparatedCopies:
    """Separate the files that are copies of another file of the same clip."""
    number_of_id = Counter(clip.id for clip in clips)
    repeated = [Path(clip.path) for clip in clips if number_of_id[clip.id] > 1]
    digest_of_path = digests(repeated)
    kept = []
    copies = []
    seen = set()
    for clip in clips:
        content = (clip.id, digest_of_path.get(Path(clip.path)))
        if content in seen:
            copies.append(clip)
        else:
            kept.append(clip)
            seen.add(content)
    return SeparatedCopies(kept, copies)


def official_entries(paths: Iterable[Path], entries: Iterable[Entry]) -> dict[Path, Entry]:
    """Find official files by their content, whatever their names are.

    Args:
        paths: the files to compare.
        entries: the files of a release.

    Returns:
        The path of a file -> the entry with the same content, the first one if several entries have
        this content. Files that are not in the release are left out.
    """
    entry_of_digest: dict[str, Entry] = {}
    sizes = set()
    for entry in entries:
        entry_of_digest.setdefault(entry.sha256, entry)
        sizes.add(entry.bytes)
    candidates = [path for path in paths if _status(path).st_size in sizes]
    official = {}
    for path, digest in digests(candidates).items():
        if digest in entry_of_digest:
            official[path] = entry_of_digest[digest]
    return official


def same_content(first: Path, second: Path) -> bool:
    """Whether two files are byte for byte equal."""
    digest_of_path = digests([first, second])
    return digest_of_path[first] == digest_of_path[second]


def digests(paths: Sequence[Path]) -> dict[Path, str]:
    """The hexadecimal SHA-256 of files, which are read on threads.

    A file that has not changed is read once in a process.

    Raises:
        UserError: if a file cannot be read.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        progress = tqdm(
            pool.map(_digest, paths),
            desc="comparing",
            total=len(paths),
            unit="file",
            leave=False,
            disable=None,
            delay=1,
        )
        return dict(zip(paths, progress, strict=True))


def _digest(path: Path) -> str:
    """The SHA-256 of a file."""
    status = _status(path)
    return _digest_of_state(path, status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=_DIGESTS_KEPT)
def _digest_of_state(path: Path, inode: int, size: int, modified: int) -> str:
    """The SHA-256 of a file in one state, which inode, size and time of change identify."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _status(path: Path) -> os.stat_result:
    """The status of a file; a UserError if it cannot be read."""
    try:
        return path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
