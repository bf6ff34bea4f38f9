"""Where files wait while a download goes on: under the SHA-256 of their content, which is also how they are taken.

A file gets on the shelf by its bytes alone, whatever name or folder it came under, and only when all of them are
there. Nothing on it has the name of an audio file, so that nobody takes an unfinished download for a corpus.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from ..corpora.files import UNFINISHED

_BLOCK = 1 << 20


class Wanted(Protocol):
    """A file that is looked for: its place in the release, and what is known of its content."""

    path: str
    bytes: int
    sha256: str


class Shelf:
    """The folder `.download` in a corpus's folder, and what has arrived there of `wanted`, or of `welcome`: files that
    are taken if they come along."""

    def __init__(self, root: Path, wanted: Iterable[Wanted], welcome: Iterable[Wanted] = ()):
        self.root = root
        self.folder = root / UNFINISHED
        self._by_hash: dict[str, list[Wanted]] = {}
        self._wanted = list(wanted)
        for item in (*self._wanted, *welcome):
            self._by_hash.setdefault(item.sha256, []).append(item)
        self._sizes = {items[0].bytes for items in self._by_hash.values()}
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where content of that hash waits."""
        return self.folder / sha256

    def missing(self) -> list[Wanted]:
        """The wanted files that have not arrived, in the order asked for."""
        return [item for item in self._wanted if not self.path(item.sha256).exists()]

    def open_wants(self) -> list[Wanted]:
        """The same with each content once: four pairs of the releases' files have one content under two names."""
        return list({item.sha256: item for item in reversed(self.missing())}.values())[::-1]

    def may_want(self, size: int) -> bool:
        """Whether some wanted file has that size: other content need not be read at all."""
        return size in self._sizes

    def take(self, stream: BinaryIO, size: int) -> bool:
        """Reads at most `size` bytes and keeps them if they are what is wanted; whether they are."""
        partial = self.folder / "taking.part"
        digest, left = hashlib.sha256(), size
        try:
            with partial.open("wb") as file:
                while left and (block := stream.read(min(left, _BLOCK))):
                    digest.update(block)
                    file.write(block)
                    left -= len(block)
            wanted = digest.hexdigest() in self._by_hash
            if wanted:
                partial.replace(self.path(digest.hexdigest()))
            return wanted
        finally:
            partial.unlink(missing_ok=True)

    def take_file(self, path: Path) -> bool:
        """Keeps a copy of a file that lies on this disk or another, if it is what is wanted; whether it is."""
        size = path.stat().st_size
        if not self.may_want(size):
            return False
        with path.open("rb") as file:
            return self.take(file, size)

    def place(self, places: Mapping[str, Path]) -> None:
        """Moves what has arrived to its path in the release, or to the place that `places` names by that path.

        Everything that is moved was missing: what stands in a place is a stub that it replaces.
        """
        for sha256, items in self._by_hash.items():
            source = self.path(sha256)
            if not source.exists():
                continue
            targets = [places.get(item.path, self.root / item.path) for item in items]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            for target in targets[1:]:
                copy = source.with_suffix(".part")
                shutil.copyfile(source, copy)
                copy.replace(target)
            source.replace(targets[0])
