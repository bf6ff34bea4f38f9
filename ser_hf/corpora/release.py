"""The official release of a corpus: its files, where to download them, or how to register.

A corpus module describes its release in the constant `RELEASE`. `ser_hf.corpora.verify` compares a
folder with the release, and `ser_hf.corpora.download` downloads the missing files.
"""

import dataclasses
from typing import NamedTuple


class Entry(NamedTuple):
    """One file of a release: its path with forward slashes, size, and hexadecimal SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip archive with the files of the release, which may be in any folders.

    Attributes:
        name: the name of the server, for messages.
        url: the URL of the archive.
        bytes: the published size of the archive; None if it is not published.
        md5: the published MD5 of the archive; None if it is not published.
    """

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class LfsStore:
    """The Git LFS server of a repository, which finds each file by its SHA-256.

    Attributes:
        name: the name of the server, for messages.
        url: the URL of the server, which ends in ``.git/info/lfs``.
    """

    name: str
    url: str


@dataclasses.dataclass(frozen=True)
class KaggleDataset:
    """A copy of a release on Kaggle, by another user. It is only used if it is requested.

    Attributes:
        handle: the owner and the name of the dataset, such as ``ejlok1/cremad``.
        name: the name of the source, for messages.
    """

    handle: str
    name: str = "kaggle"


Source = Archive | LfsStore | KaggleDataset


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a release, such as the votes of raters. No audio depends on it.

    Attributes:
        entry: its path below the folder of the corpus, size and SHA-256.
        urls: where to download it, the first choice first.
    """

    entry: Entry
    urls: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Release:
    """The official release of a corpus.

    Attributes:
        files: the documented number of audio files. None if ser_hf has no list of the files; the
            list is ``manifests/NAME.tsv.xz`` beside the module of the corpus.
        sources: the sources to download from, official sources before mirrors. Their names differ.
        kaggle: a copy on Kaggle, which is only used if it is requested.
        registration: instructions for a release that is sent on request only.
        tables: tables that are downloaded with the audio.
    """

    files: int | None = None
    sources: tuple[Source, ...] = ()
    kaggle: KaggleDataset | None = None
    registration: str | None = None
    tables: tuple[Table, ...] = ()
