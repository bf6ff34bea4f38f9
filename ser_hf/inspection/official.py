"""The folder against the official release: what is missing, what is extra, whose bytes are the original ones."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Literal

from ..corpora import CORPORA, manifest
from ..corpora.schema import Clip
from ..environment import usable_cores
from .survey import Found, read_name

_READ_BYTES = 1 << 20

Origin = Literal["original", "altered", "re-encoded", "unlisted", "uncovered"]


@dataclasses.dataclass(frozen=True)
class Official:
    """The comparison with a release's manifest, clip by clip through the ids that the corpus's grammar gives.

    Attributes:
        clips: how many the release has.
        per_label: the release's clips of each emotion, by their names (which is what the actor intended).
        found_per_label: how many of them were found, readable or not.
        missing: paths in the release whose clip was not found, in the release's order.
        origins: for each found path what its bytes are: ``original`` (the release's sha256), ``altered`` (another
            content in the release's own container), ``re-encoded`` (another container), ``uncovered`` (of a part
            of the release that the packaged list does not have) or ``unlisted`` (in no list at all). Paths whose
            names say nothing stand under ``unlisted``; Git LFS pointers do not stand here.
        part: which part of the release the packaged list has, in words; None for the whole.
    """

    clips: int
    per_label: dict[str, int]
    found_per_label: dict[str, int]
    missing: list[str]
    origins: dict[str, Origin]
    part: str | None = None

    @property
    def counts(self) -> Counter:
        return Counter(self.origins.values())


def compare(
    name: str, files: Sequence[Found], progress: Callable[[Sequence], Sequence] = lambda items: items
) -> Official | None:
    """Compares what was found with the release; None where no manifest of the corpus is known.

    Args:
        progress: wraps the list of files to hash, as tqdm does.
    """
    if name not in manifest.NAMES:
        return None
    named = [(read_name(name, entry.path), entry) for entry in manifest.manifest(name)]
    entries = {clip.id: entry for clip, entry in named}
    covered = getattr(CORPORA[name], "in_manifest", lambda clip: True)
    judged = [file for file in files if file.audio]
    present = {file.clip.id for file in judged if file.clip is not None}
    found, missing = Counter(), []
    for clip, entry in named:
        if clip.id in present:
            found[clip.emotion] += 1
        else:
            missing.append(entry.path)
    with ThreadPoolExecutor(usable_cores()) as pool:
        origins = pool.map(lambda file: _origin(file, entries, covered), judged)
        by_path = {file.path: origin for file, origin in zip(progress(judged), origins, strict=True)}
    labels = Counter(clip.emotion for clip, _ in named)
    return Official(
        len(entries), dict(labels), dict(found), missing, by_path, getattr(CORPORA[name], "MANIFEST_PART", None)
    )


def _origin(file: Found, entries: Mapping[str, manifest.Entry], covered: Callable[[Clip], bool]) -> Origin:
    entry = entries.get(file.clip.id) if file.clip is not None else None
    if entry is None:
        return "unlisted" if file.clip is None or covered(file.clip) else "uncovered"
    path = Path(file.path)
    if path.suffix.lower() != PurePath(entry.path).suffix.lower():
        return "re-encoded"
    try:
        same = path.stat().st_size == entry.bytes and _sha256(path) == entry.sha256
    except OSError:
        same = False
    return "original" if same else "altered"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
