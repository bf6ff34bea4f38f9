"""TESS: the Toronto emotional speech set.

Two actresses (26 and 64 years, North American English) say "Say the word ..." with 200 words in
seven emotions. There are 2,800 clips, released as 24.4 kHz WAV. A model must be trained on one
actress and tested on the other: only this test is on an unseen speaker.

License: CC BY-NC-ND 4.0 (non-commercial, no derivatives).

File names: the fields of `OAF_back_fear.wav` are speaker (OAF is the older actress, YAF the
younger), word and emotion (`ps` is pleasant surprise). Upper and lower case are equal in file
names; ids always have the same case. The names of folders are ignored: they repeat speaker and
emotion in several spellings (`OAF_Fear`, `YAF_fear`, `OAF_Pleasant_surprise`,
`YAF_pleasant_surprised`). One file name of the release lacks a letter: `OA_bite_neutral.wav` is
read as `OAF_bite_neutral`, also for its id. Some mirrors contain all folders twice; equal copies
are left out (`ser_hf.corpora.files.parse_files`).
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from .files import parse_files
from .release import Archive, KaggleDataset, Release
from .schema import Clip, Listing
from .settings import CorpusSettings

LICENSE = "cc-by-nc-nd-4.0"
LANGUAGE = "en"
TITLE = "TESS"
URL = "https://doi.org/10.5683/SP2/E8H2MF"
CITATION = (
    "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis, "
    "doi:10.5683/SP2/E8H2MF."
)
ACTED = True
RELEASE = Release(
    files=2800,
    sources=(
        # The publisher, https://doi.org/10.5683/SP2/E8H2MF, serves the clips one by one.
        Archive(
            name="paddlespeech",
            url=(
                "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip"
            ),
            md5="1465311b24d1de704c4c63e4ccc470c7",
        ),
    ),
    kaggle=KaggleDataset("ejlok1/toronto-emotional-speech-set-tess"),
)

EMOTION_CODES = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
AGES = {"OAF": 64, "YAF": 26}
GRAMMAR = re.compile(
    rf"(?P<speaker>{'|'.join(AGES)})_(?P<word>[a-z]+)_(?P<emotion>{'|'.join(EMOTION_CODES)})",
    re.IGNORECASE | re.ASCII,
)
_MISSPELT = {"oa_bite_neutral": "OAF_bite_neutral"}


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not TESS's."""
    fields = GRAMMAR.fullmatch(_MISSPELT.get(path.stem.lower(), path.stem))
    if fields is None:
        return None
    speaker = fields["speaker"].upper()
    word = fields["word"].lower()
    code = fields["emotion"].lower()
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[code],
        original_label=code,
        speaker=f"tess:{speaker}",
        id=f"tess/{speaker}_{word}_{code}",
        sex="female",
        age=AGES[speaker],
        language=LANGUAGE,
        sentence=f"Say the word {word}",
    )


class TessSettings(CorpusSettings):
    """Settings of TESS, which has no options."""

    name: Annotated[Literal["tess"], Field(description="TESS")] = "tess"


def parse(settings: TessSettings) -> Listing:
    """Read the clips below the root, labelled by the emotion that the actress intended."""
    return parse_files(settings, TITLE, "OAF_back_fear.wav", read_name)
