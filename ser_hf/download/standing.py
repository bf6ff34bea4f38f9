"""What a folder holds of a release: what is there, what is missing, what is not what it should be."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath

from ..corpora import CORPORA
from ..corpora.files import audio_paths, is_lfs_pointer
from ..corpora.manifest import Entry, manifest
from ..environment import usable_cores
from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class Standing:
    """A folder beside the list of the release's files, clip by clip as the corpus's grammar names them, so that files
    may lie in other folders than the release's.

    Attributes:
        name, folder: the corpus and where it lies.
        clips: how many files the release has (of RAVDESS the spoken part).
        missing: the files of which there is nothing yet, or only a stub, in the release's order.
        stubs: paths with nothing in them by the place in the release that they hold: Git LFS pointers and empty files.
        altered: paths with a clip's name and kind, but other bytes than the release's.
        reencoded: paths with a clip's name that are another kind of file (such as FLAC), whose bytes say nothing.
        copies: paths of clips that stand a second time.
        unlisted: how many audio files are none of the list's.
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
    unlisted: int
    hashed: bool

    @property
    def whole(self) -> bool:
        """Whether the folder holds every file of the release once, none of them another."""
        return not (self.missing or self.altered or self.reencoded or self.copies)

    def told(self) -> str:
        """What is wrong, with an example of each kind, or that nothing is."""
        title = CORPORA[self.name].TITLE
        if self.whole:
            return f"{self.folder}: {title} is whole, {self._matching}"
        pointers = f", {len(self.stubs)} of them Git LFS pointers or empty" if self.stubs else ""
        parts = [
            (self.missing, f"missing{pointers}", lambda entry: entry.path),
            (self.altered, "altered or damaged, which --replace downloads anew", self._below),
            (self.reencoded, "converted to another format, which cannot be checked", self._below),
            (self.copies, "a second copy (mirrors often hold the whole folder twice), to be deleted", self._below),
        ]
        found = [f"{len(items):,} {what} (first {show(items[0])})" for items, what, show in parts if items]
        return f"{self.folder}: not {title} as released; of {self.clips:,} files: {'; '.join(found)}"

    def listed(self, most: int = 20) -> list[str]:
        """A line for each file that is there and not as it should be, where there are several of a kind: at most so
        many of each kind, and how many more there are."""
        lines = []
        for what, paths in (
            ("altered", self.altered),
            ("another format", self.reencoded),
            ("a second copy", self.copies),
        ):
            if len(paths) > 1:
                lines += [f"{what}: {self._below(path)}" for path in paths[:most]]
                lines += [f"{what}: {len(paths) - most:,} more"] if paths[most:] else []
        return lines

    def altered_entries(self) -> dict[Path, Entry]:
        """What the release has in place of each altered file."""
        entries, read_name = by_clip(self.name), CORPORA[self.name].read_name
        return {path: entries[read_name(path).id] for path in self.altered}

    @property
    def _matching(self) -> str:
        compared = "every byte" if self.hashed else "names and sizes"
        return f"{self.clips:,} files, {compared} as released"

    def _below(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def look(
    name: str,
    folder: str | Path,
    hashed: bool = True,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> Standing:
    """Compares a folder with the packaged list of a corpus's files; a folder that does not exist holds nothing.

    Args:
        hashed: reads every byte; otherwise files of the right name and size are believed.
        progress: wraps the files to hash, as tqdm does.

    Raises:
        UserError: for a corpus without a list, for a name that contradicts its folder (`read_name` of the corpus), and
            for a file that cannot be read.
    """
    folder = Path(folder)
    entries = by_clip(name)
    candidates: dict[str, list[Path]] = {}
    unlisted = 0
    for path in audio_paths(folder) if folder.is_dir() else []:
        clip = CORPORA[name].read_name(path)
        if clip is None or clip.id not in entries:
            unlisted += 1
        else:
            candidates.setdefault(clip.id, []).append(path)
    same = _compared([(path, entries[clip]) for clip, paths in candidates.items() for path in paths], hashed, progress)
    missing, stubs, altered, reencoded, copies = [], {}, [], [], []
    for clip, entry in entries.items():
        paths = candidates.get(clip, [])
        full = [path for path in paths if not _is_stub(path)]
        if not full:
            missing.append(entry)
            stubs.update({entry.path: paths[0]} if paths else {})
        # The one that is counted is the release's own, where it is among them.
        full.sort(key=lambda path: not same[path])
        copies += full[1:]
        for path in full[:1]:
            if path.suffix.lower() != PurePath(entry.path).suffix:
                reencoded.append(path)
            elif not same[path]:
                altered.append(path)
    return Standing(name, folder, len(entries), missing, stubs, altered, reencoded, copies, unlisted, hashed)


@functools.cache
def by_clip(name: str) -> dict[str, Entry]:
    """The files of a release by the ids of their clips, in the release's order."""
    return {CORPORA[name].read_name(PurePath(entry.path)).id: entry for entry in manifest(name)}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: if it cannot be read.
    """
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_stub(path: Path) -> bool:
    with _readable(path):
        return path.stat().st_size == 0 or is_lfs_pointer(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _compared(
    files: list[tuple[Path, Entry]], hashed: bool, progress: Callable[[Iterable], Iterable]
) -> dict[Path, bool]:
    def same(file: tuple[Path, Entry]) -> bool:
        path, entry = file
        with _readable(path):
            size = path.stat().st_size
        return size == entry.bytes and (not hashed or sha256_of(path) == entry.sha256)

    with ThreadPoolExecutor(usable_cores()) as pool:
        answers = pool.map(same, files)
        return {path: answer for (path, _), answer in zip(progress(files), answers, strict=True)}
