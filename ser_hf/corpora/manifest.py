"""The files of the official releases: path, size and SHA-256 of each, to tell a whole corpus from a damaged mirror.

Each list has every audio file of a corpus as its makers publish it, hashed once; the module of each corpus names where
that is. It holds facts only, nothing of the recordings. Paths are relative to the folder of the release. A list is
stored as `manifests/NAME.tsv.xz`: a header and the tab-separated columns `path`, `bytes` and `sha256` (of the whole
file, in hexadecimal), sorted by path, compressed by Python's `lzma` at its highest preset (`xz -9e`).
"""

import functools
import importlib.resources
import lzma
from typing import NamedTuple

from ..errors import UserError

# Corpus -> number of audio files in its official release (of RAVDESS in the spoken part), as its documentation has it.
OFFICIAL = {"cremad": 7442, "ravdess": 1440, "tess": 2800, "savee": 480, "emodb": 535}
NAMES = tuple(OFFICIAL)


class Entry(NamedTuple):
    """One file of a release: its path with forward slashes, its size in bytes, its SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


def manifest(name: str) -> list[Entry]:
    """The files of the official release of a corpus (of RAVDESS the spoken part), sorted by path.

    Raises:
        UserError: for a corpus whose release has no list here.
    """
    if name not in NAMES:
        raise UserError(f"{name}: no list of its official files is known; there is one of {', '.join(NAMES)}")
    return list(_entries(name))


@functools.cache
def _entries(name: str) -> tuple[Entry, ...]:
    packed = importlib.resources.files(__package__).joinpath("manifests", f"{name}.tsv.xz").read_bytes()
    rows = lzma.decompress(packed).decode("utf-8").splitlines()[1:]
    return tuple(Entry(path, int(size), sha256) for path, size, sha256 in (row.split("\t") for row in rows))
