"""Who serves which corpus: official sources first, mirrors after them, and where to register for the rest.

An archive's size and MD5 are those that its publisher states; what is stated nowhere is None here, and then the files
in it are what is checked. Whatever a source serves, a file is taken by its SHA-256 in `ser_hf.corpora.manifest` alone.

- RAVDESS: https://zenodo.org/records/1188976 (the record lists size and MD5 of its files).
- CREMA-D: the objects of its Git LFS stores are named by SHA-256, those of the manifest. Its makers point to the
  mirror on GitLab, as GitHub's allowance is used up (https://github.com/CheyneyComputerScience/CREMA-D/issues/15).
- TESS: Borealis, where its makers published it, is a Dataverse and serves the clips one by one. PaddleSpeech's data
  set of the same name downloads a zip of them, and states its MD5.
- EMO-DB: its makers' page; https://zenodo.org/records/7447302 is their later release in audformat.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip or tar of the release's files, in whatever folders; `bytes` and `md5` as published."""

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None


@dataclasses.dataclass(frozen=True)
class LfsStore:
    """The Git LFS server of a repository (`url` ends in ``.git/info/lfs``): content by its SHA-256."""

    name: str
    url: str


@dataclasses.dataclass(frozen=True)
class Dataverse:
    """A data set of a Dataverse (`url` its server), whose files are downloaded one by one."""

    name: str
    url: str
    persistent_id: str


@dataclasses.dataclass(frozen=True)
class Kaggle:
    """A Kaggle data set, through the package kagglehub; only taken when it is asked for by name."""

    name: str
    handle: str


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """An archive, or a folder, that somebody has already."""

    name: str


Source = Archive | LfsStore | Dataverse | Kaggle | OnDisk


@dataclasses.dataclass(frozen=True)
class Companion:
    """A file beside the audio, known as well by its bytes, that some options of a corpus need: `option` where it has
    one of `values`.

    It is found in archives by its size and hash, or else fetched from `url` (None: it is only in the archives).
    Without it a download is whole all the same.
    """

    path: str
    bytes: int
    sha256: str
    option: str
    values: tuple[Any, ...]
    url: str | None = None

    @property
    def why(self) -> str:
        """The settings that need it."""
        return f"corpus.{self.option}: {' or '.join(str(value).lower() for value in self.values)}"


SOURCES: Mapping[str, tuple[Source, ...]] = {
    "ravdess": (
        Archive(
            "zenodo",
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
            208_468_073,
            "bc696df654c87fed845eb13823edef8a",
        ),
        Kaggle("kaggle", "uwrfkaggler/ravdess-emotional-speech-audio"),
    ),
    "cremad": (
        LfsStore("gitlab", "https://gitlab.com/cs-cooper-lab/crema-d-mirror.git/info/lfs"),
        LfsStore("github", "https://github.com/CheyneyComputerScience/CREMA-D.git/info/lfs"),
        Kaggle("kaggle", "ejlok1/cremad"),
    ),
    "tess": (
        Dataverse("borealis", "https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF"),
        Archive(
            "paddlespeech",
            "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
            md5="1465311b24d1de704c4c63e4ccc470c7",
        ),
        Kaggle("kaggle", "ejlok1/toronto-emotional-speech-set-tess"),
    ),
    "emodb": (
        Archive("bilderbar", "http://emodb.bilderbar.info/download/download.zip"),
        Archive(
            "zenodo",
            "https://zenodo.org/records/7447302/files/emodb.zip?download=1",
            39_981_818,
            "9d21362dbc5676ef3ab4745d83ced0db",
        ),
        Kaggle("kaggle", "piyushagni5/berlin-database-of-emotional-speech-emodb"),
    ),
}

# For a corpus whose release asks for more than a download: what to do instead.
REGISTRATION: Mapping[str, str] = {
    "savee": "its makers send it after registration at http://kahlan.eps.surrey.ac.uk/savee/; then "
    "`ser-hf download savee DIR --source ARCHIVE` unpacks and checks what they sent",
    "iemocap": "USC sends it on request, under an agreement: https://sail.usc.edu/iemocap/; unpack it and name the "
    "folder that holds Session1 to Session5",
}

_VOTES = "processedResults/tabulatedVotes.csv"
COMPANIONS: Mapping[str, tuple[Companion, ...]] = {
    "cremad": (
        Companion(
            _VOTES,
            4_057_953,
            "774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
            "target",
            ("voice", "face", "multimodal"),
            f"https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master/{_VOTES}",
        ),
    ),
    "emodb": (
        Companion(
            "erkennung.txt",
            32_758,
            "9c317eb758cf111090fe697ef1cce68faf7da8109e7b7e80fc2d884791f47967",
            "perception",
            (True,),
        ),
    ),
}
