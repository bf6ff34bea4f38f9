"""EMO-DB: the Berlin Database of Emotional Speech.

10 actors (5 female, 5 male, 21 to 35 years) say ten German sentences of everyday content in seven
emotions. There are 535 clips, selected from 816 recordings in a perception test with 20 listeners:
at least 80 % of them recognized the emotion of most clips, and at least 60 % found the clips
natural. The clips are released as 16 kHz WAV.

License: free for research with citation; the release names no standard license.

File names: `03a01Fa.wav` is speaker (03), sentence (a01), emotion (F) and version (a). The emotion
is the initial of its German name: W Wut (anger), L Langeweile (boredom), E Ekel (disgust), A Angst
(fear, anxiety), F Freude (happiness), T Trauer (sadness), N neutral. Versions count all recorded
takes; their numbers have gaps, because not all takes were selected. Upper and lower case are equal
in file names, because each field has a place of its own; ids have the case of the release.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from .files import parse_files
from .release import Archive, KaggleDataset, Release
from .schema import Clip, Listing
from .settings import CorpusSettings

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "de"
TITLE = "EMO-DB"
URL = "http://emodb.bilderbar.info"
CITATION = (
    "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A Database of German "
    "Emotional Speech. Interspeech 2005: 1517-1520."
)
ACTED = True
RELEASE = Release(
    files=535,
    sources=(
        Archive(name="bilderbar", url="http://emodb.bilderbar.info/download/download.zip"),
        Archive(
            name="zenodo",
            url="https://zenodo.org/records/7447302/files/emodb.zip?download=1",
            bytes=39_981_818,
            md5="9d21362dbc5676ef3ab4745d83ced0db",
        ),
    ),
    kaggle=KaggleDataset("piyushagni5/berlin-database-of-emotional-speech-emodb"),
)

EMOTION_CODES = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
# Sex and age of the speakers, and the sentences, as the release's documentation lists them.
SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
VERSIONS = "abcdef"
GRAMMAR = re.compile(
    rf"(?P<speaker>{'|'.join(SPEAKERS)})"
    rf"(?P<sentence>{'|'.join(SENTENCES)})"
    rf"(?P<emotion>[{''.join(EMOTION_CODES)}])"
    rf"(?P<version>[{VERSIONS}])",
    re.IGNORECASE | re.ASCII,
)


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not EMO-DB's."""
    fields = GRAMMAR.fullmatch(path.stem)
    if fields is None:
        return None
    sex, age = SPEAKERS[fields["speaker"]]
    sentence = fields["sentence"].lower()
    code = fields["emotion"].upper()
    version = fields["version"].lower()
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[code],
        original_label=code,
        speaker=f"emodb:{fields['speaker']}",
        id=f"emodb/{fields['speaker']}{sentence}{code}{version}",
        sex=sex,
        age=age,
        language=LANGUAGE,
        sentence=SENTENCES[sentence],
        take=VERSIONS.index(version) + 1,
    )


class EmodbSettings(CorpusSettings):
    """Settings of EMO-DB, which has no options."""

    name: Annotated[Literal["emodb"], Field(description="EMO-DB")] = "emodb"


def parse(settings: EmodbSettings) -> Listing:
    """Read the clips below the root, labelled by the emotion that the actor intended."""
    return parse_files(settings, TITLE, "03a01Fa.wav", read_name)
