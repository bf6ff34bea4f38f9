"""The official release of a corpus: its files, where to download them, or how to register.

A corpus module states its release in the constant `RELEASE`. `ser_hf.corpora.verify` compares a
folder with it, and `ser_hf.corpora.download` downloads what is missing.
"""

import dataclasses
from typing import NamedTuple


class Entry(NamedTuple):
    """One file of a release: path with forward slashes, size, SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip of the release's files, in whatever folders.

    Attributes:
        name: of the server, for messages.
        url: of the archive.
        bytes: its size, as published.
        md5: of its content, as published.
    """

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class LfsStore:
    """The Git LFS server of a repository, which has each file by its SHA-256.

    Attributes:
        name: of the server, for messages.
        url: of the server; it ends in ``.git/info/lfs``.
    """

    name: str
    url: str


Source = Archive | LfsStore


@dataclasses.dataclass(frozen=True)
class Release:
    """The official release of a corpus.

    Attributes:
        files: the documented number of its audio files, if their list is packaged, as
            ``manifests/NAME.tsv.xz`` beside the module of the corpus.
        sources: where to download it, the official source first, mirrors after it. Two sources have
            two names.
        registration: what to do for a release that is sent on request only.
    """

    files: int | None = None
    sources: tuple[Source, ...] = ()
    registration: str | None = None
