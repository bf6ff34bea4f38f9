"""Check that a folder contains all files of a release, by their published SHA-256."""

import dataclasses
import functools
import hashlib
import importlib.resources
import lzma
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

from tqdm import tqdm

from ..utils.environment import usable_cores
from ..utils.errors import UserError
from ..utils.recordings import is_lfs_pointer
from .content import official_entries
from .files import audio_paths
from .registry import SINGLE_CORPORA
from .release import Entry, Release, Table


def release_of(name: str) -> Release:
    """The release of a corpus; an empty release if there is none, or no corpus of this name."""
    if name not in SINGLE_CORPORA:
        return Release()
    return getattr(SINGLE_CORPORA[name], "RELEASE", Release())


def manifest(name: str) -> list[Entry]:
    """The files of the official release of a corpus, sorted by path.

    Raises:
        UserError: if ser_hf has no list of the files.
    """
    if release_of(name).files is None:
        listed = [corpus for corpus in SINGLE_CORPORA if release_of(corpus).files is not None]
        raise UserError(
            f"{name}: ser_hf has no list of its official files; it has lists of {', '.join(listed)}"
        )
    return list(_entries(name))


def listed_files(name: str) -> Sequence[Entry]:
    """The files of the official release of a corpus; empty if ser_hf has no list of them."""
    return () if release_of(name).files is None else _entries(name)


@functools.cache
def _entries(name: str) -> tuple[Entry, ...]:
    """Read the packaged list of the files of a release, without its header line."""
    package = importlib.resources.files(SINGLE_CORPORA[name].__package__)
    packed = package.joinpath("manifests", f"{name}.tsv.xz").read_bytes()
    entries = []
    for row in lzma.decompress(packed).decode("utf-8").splitlines()[1:]:
        path, size, sha256 = row.split("\t")
        entries.append(Entry(path, int(size), sha256))
    return tuple(entries)


@dataclasses.dataclass(frozen=True)
class ReleaseCheck:
    """The result of `check_release`.

    Attributes:
        name: the name of the corpus.
        folder: the folder that was checked.
        missing: the files of the release that the folder lacks.
        altered: files with the name of a clip but with other content.
        missing_tables: the tables of the release that are neither in the folder nor near it. No
            audio depends on them.
        renamed: unchanged files under other names, recognized by their content.
    """

    name: str
    folder: Path
    missing: list[Entry]
    altered: list[Path]
    missing_tables: list[Entry] = dataclasses.field(default_factory=list)
    renamed: list[Path] = dataclasses.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the folder holds every audio file of the release unchanged."""
        return not (self.missing or self.altered)

    def summary(self) -> str:
        """The result in one line, with the first missing and the first altered file."""
        title = SINGLE_CORPORA[self.name].TITLE
        number = f"{len(manifest(self.name)):,} files"
        if self.complete:
            remarks = [f"without {entry.path}" for entry in self.missing_tables]
            if self.renamed:
                remarks.append(f"{len(self.renamed):,} under other names")
            return "; ".join(
                [f"{self.folder}: {title} is complete, {number} as released", *remarks]
            )
        problems = []
        if self.missing:
            problems.append(f"{len(self.missing):,} missing (first {self.missing[0].path})")
        if self.altered:
            problems.append(
                f"{len(self.altered):,} altered, damaged or converted (first {self.altered[0]})"
            )
        return (
            f"{self.folder}: not {title} as released; of {number}: {'; '.join(problems)}; "
            "delete what is altered"
        )


def check_release(name: str, folder: str | Path, hashed: bool = True) -> ReleaseCheck:
    """Compare a folder with the packaged list of the files of a corpus.

    A file is compared with the entry of the same clip; the subfolder of the file does not matter. A
    file without a name of the corpus is compared by its content with the files that are missing.

    Args:
        name: the name of the corpus.
        folder: the folder to check.
        hashed: whether to compare the SHA-256 of each file; otherwise only name and size.
            Files without a name of the corpus are always compared by their SHA-256.
    """
    folder = Path(folder)
    entry_of_clip = {_clip_id(name, entry.path): entry for entry in manifest(name)}
    files: list[tuple[str, Path]] = []
    unnamed = []
    for path in audio_paths(folder) if folder.is_dir() else ():
        clip = _clip_id(name, path)
        if clip is None:
            unnamed.append(path)
        elif clip in entry_of_clip and path.stat().st_size and not is_lfs_pointer(path):
            files.append((clip, path))
    unchanged = _unchanged(files, [entry_of_clip[clip] for clip, _ in files], hashed)
    # One unchanged copy of a clip is enough.
    altered = {clip: path for clip, path in files if clip not in unchanged}
    present = unchanged | altered.keys()
    missing = [entry for clip, entry in entry_of_clip.items() if clip not in present]
    renamed = official_entries(unnamed, missing)
    renamed_contents = {entry.sha256 for entry in renamed.values()}
    return ReleaseCheck(
        name=name,
        folder=folder,
        missing=[entry for entry in missing if entry.sha256 not in renamed_contents],
        altered=list(altered.values()),
        missing_tables=[table.entry for table in missing_tables(name, folder)],
        renamed=list(renamed),
    )


def missing_tables(name: str, folder: Path) -> list[Table]:
    """The tables of a release that are neither in a folder nor in one of the two folders above it.

    The audio may be in a subfolder of the release, and the table beside it.
    """
    nearby = (folder, *folder.absolute().parents[:2])
    missing = []
    for table in release_of(name).tables:
        if not any((base / table.entry.path).is_file() for base in nearby):
            missing.append(table)
    return missing


def _unchanged(
    files: Sequence[tuple[str, Path]], entries: Sequence[Entry], hashed: bool
) -> set[str]:
    """The ids of the clips that have an unchanged file.

    Args:
        files: pairs of the id of a clip and the path of its file.
        entries: for each file, the entry of the release to compare it with.
        hashed: whether to compare the SHA-256, and not only the size.
    """
    paths = [path for _, path in files]
    unchanged = set()
    with ThreadPoolExecutor(usable_cores()) as pool:
        results = pool.map(_matches, paths, entries, [hashed] * len(files))
        progress = tqdm(
            zip(files, results, strict=True),
            desc="checking",
            total=len(files),
            leave=False,
            disable=None,
        )
        for (clip, _), same in progress:
            if same:
                unchanged.add(clip)
    return unchanged


def _clip_id(name: str, path: str | PurePath) -> str | None:
    """The id of the clip that a path names; None if it is not a file name of the corpus."""
    clip = SINGLE_CORPORA[name].read_name(PurePath(path))
    return None if clip is None else clip.id


def _matches(path: Path, entry: Entry, hashed: bool) -> bool:
    """Whether a file has the size of the entry and, if `hashed`, its SHA-256."""
    if path.stat().st_size != entry.bytes:
        return False
    if not hashed:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
