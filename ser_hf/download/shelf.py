"""Where files wait while a download goes on: under the SHA-256 of their content, which is also how they are taken.

A file gets on the shelf by its bytes alone, whatever name or folder it came under, and only when all of them are
there. Nothing on it has the name of an audio file, so that nobody takes an unfinished download for a corpus.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from ..corpora.files import UNFINISHED
from ..errors import UserError

_BLOCK = 1 << 20


class Wanted(Protocol):
    """A file that is looked for: its place in the release, and what is known of its content."""

    path: str
    bytes: int
    sha256: str


class Readable(Protocol):
    """What can be read piece by piece."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""


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
        return [item for item in self._wanted if not self.has(item)]

    def open_wants(self) -> list[Wanted]:
        """The same with each content once: four pairs of the releases' files have one content under two names."""
        return list({item.sha256: item for item in reversed(self.missing())}.values())[::-1]

    def has(self, item: Wanted) -> bool:
        """Whether a file has arrived."""
        return self.path(item.sha256).exists()

    def may_want(self, size: int) -> bool:
        """Whether some wanted file has that size: other content need not be read at all."""
        return size in self._sizes

    def take(self, stream: Readable, size: int) -> bool:
        """Reads at most `size` bytes and keeps them if they are what is wanted; whether they are.

        Raises:
            OSError: if they cannot be written down; what reading them raises goes through as it is.
        """
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

    def require_places(self, places: Mapping[str, Path]) -> None:
        """Looks whether everything could be moved to its place.

        Raises:
            UserError: naming what stands in the way.
        """
        for items in self._by_hash.values():
            for target in (self._target(item, places) for item in items):
                if target.is_dir():
                    raise UserError(f"{target}: a folder stands where a file belongs; move it away")
                # The nearest thing above it that is there, links to nothing too; `self.root` is.
                above = next(folder for folder in target.parents if folder.exists() or folder.is_symlink())
                if not above.is_dir():
                    raise UserError(f"{above}: stands where a folder belongs; move it away")

    def place(self, places: Mapping[str, Path]) -> None:
        """Moves what has arrived to its path in the release, or to the place that `places` names by that path.

        Everything that is moved was missing: what stands in a place is a stub that it replaces, or what is to be.

        Raises:
            UserError: as `require_places`, with nothing moved.
        """
        self.require_places(places)
        for sha256, items in self._by_hash.items():
            source = self.path(sha256)
            if not source.exists():
                continue
            targets = [self._target(item, places) for item in items]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            for target in targets[1:]:
                copy = source.with_suffix(".part")
                shutil.copyfile(source, copy)
                copy.replace(target)
            source.replace(targets[0])

    def _target(self, item: Wanted, places: Mapping[str, Path]) -> Path:
        return places.get(item.path, self.root / item.path)
