"""Comparison of a folder with the list of a release: missing, altered, converted and doubled files."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath

from ..utils.environment import usable_cores
from ..utils.errors import UserError
from . import CORPORA
from .files import Entry, audio_paths, is_lfs_pointer, manifest


@dataclasses.dataclass(frozen=True)
class ReleaseCheck:
    """The state of a folder, clip by clip: files are matched by their names, in whatever subfolder they are.

    Attributes:
        clips: number of files in the release (of RAVDESS in the spoken part).
        missing: files that are absent, empty or a Git LFS pointer, in the release's order.
        stubs: empty files and Git LFS pointers, by the path in the release that they stand for.
        altered: files with a clip's name and format, but other bytes.
        reencoded: files with a clip's name in another format (such as FLAC), whose bytes cannot be checked.
        copies: further files of a clip that is present already.
        hashed: whether contents were compared (SHA-256), or sizes only.
    """

    name: str
    folder: Path
    clips: int
    missing: list[Entry]
    stubs: dict[str, Path]
    altered: list[Path]
    reencoded: list[Path]
    copies: list[Path]
    hashed: bool

    @property
    def complete(self) -> bool:
        """Whether the folder holds every file of the release once and unchanged."""
        return not (self.missing or self.altered or self.reencoded or self.copies)

    def summary(self) -> str:
        """One line: the folder is complete, or what is wrong, with an example of each kind."""
        title = CORPORA[self.name].TITLE
        if self.complete:
            compared = "every byte" if self.hashed else "names and sizes"
            return f"{self.folder}: {title} is complete, {self.clips:,} files, {compared} as released"
        stubs = f", {len(self.stubs)} of them Git LFS pointers or empty" if self.stubs else ""
        kinds = [
            ([entry.path for entry in self.missing], f"missing{stubs}"),
            (self._relative(self.altered), "altered or damaged, which --replace downloads again"),
            (self._relative(self.reencoded), "converted to another format, which cannot be checked"),
            (self._relative(self.copies), "a second copy (mirrors often hold the whole folder twice), to be deleted"),
        ]
        found = [f"{len(paths):,} {problem} (first {paths[0]})" for paths, problem in kinds if paths]
        return f"{self.folder}: not {title} as released; of {self.clips:,} files: {'; '.join(found)}"

    def details(self, limit: int = 20) -> list[str]:
        """One line for each file that is not as released, at most `limit` of a kind; none for a kind with one file,
        which the summary names."""
        lines = []
        for problem, paths in (
            ("altered", self._relative(self.altered)),
            ("another format", self._relative(self.reencoded)),
            ("a second copy", self._relative(self.copies)),
        ):
            if len(paths) > 1:
                lines += [f"{problem}: {path}" for path in paths[:limit]]
            if len(paths) > limit:
                lines.append(f"{problem}: {len(paths) - limit:,} more")
        return lines

    def _relative(self, paths: list[Path]) -> list[str]:
        return [path.relative_to(self.folder).as_posix() for path in paths]


def check_release(
    name: str,
    folder: str | Path,
    hashed: bool = True,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> ReleaseCheck:
    """Compares a folder with the packaged list of a corpus's files; a folder that does not exist is empty.

    Args:
        hashed: reads every byte; otherwise names and sizes are enough.
        progress: wraps the files to compare, as tqdm does.

    Raises:
        UserError: for a corpus without a list, for a name that contradicts its folder (`read_name` of the corpus), and
            for a file that cannot be read.
    """
    folder = Path(folder)
    entries = entries_by_clip(name)
    candidates: dict[str, list[Path]] = {}
    for path in audio_paths(folder) if folder.is_dir() else []:
        clip = CORPORA[name].read_name(path)
        if clip is not None and clip.id in entries:
            candidates.setdefault(clip.id, []).append(path)
    files = [(path, entries[clip]) for clip, paths in candidates.items() for path in paths]
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = pool.map(lambda file: _matches(*file, hashed), files)
        original = {path for (path, _), result in zip(progress(files), results, strict=True) if result}
    missing, stubs, altered, reencoded, copies = [], {}, [], [], []
    for clip, entry in entries.items():
        paths = candidates.get(clip, [])
        full = [path for path in paths if not _is_stub(path)]
        if not full:
            missing.append(entry)
            stubs.update({entry.path: paths[0]} if paths else {})
            continue
        # Of several files of one clip, an original is the one that counts.
        first, *others = sorted(full, key=lambda path: path not in original)
        copies += others
        if first.suffix.lower() != PurePath(entry.path).suffix:
            reencoded.append(first)
        elif first not in original:
            altered.append(first)
    return ReleaseCheck(name, folder, len(entries), missing, stubs, altered, reencoded, copies, hashed)


@functools.cache
def entries_by_clip(name: str) -> dict[str, Entry]:
    """The files of a release by the ids of their clips, in the release's order."""
    return {CORPORA[name].read_name(PurePath(entry.path)).id: entry for entry in manifest(name)}


def _matches(path: Path, entry: Entry, hashed: bool) -> bool:
    with _readable(path):
        if path.stat().st_size != entry.bytes:
            return False
        if not hashed:
            return True
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256


def _is_stub(path: Path) -> bool:
    with _readable(path):
        return path.stat().st_size == 0 or is_lfs_pointer(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
