"""SAVEE: the Surrey Audio-Visual Expressed Emotion database.

4 men (27 to 31 years, native speakers of British English) say TIMIT sentences in seven emotions.
There are 480 clips: each speaker has 30 neutral clips and 15 of each other emotion. They are
released as 44.1 kHz WAV.

License: free for research after registration with the authors; no redistribution. It is not a
standard license.

File names: the release has names such as `AudioData/DC/a01.wav`, and mirrors have `DC_a01.wav`.
Their fields are speaker (DC, JE, JK, KL), emotion (a anger, d disgust, f fear, h happiness, n
neutral, sa sadness, su surprise) and number of the sentence. Both names give the id `savee/DC_a01`,
in any case.

The column `sentence` is null. Each emotion has 15 sentences: 3 are common to all emotions, 2 are
specific to the emotion, and 10 are generic. (The 30 neutral clips are the 3 common and all 12
specific sentences, twice each.) But the release does not state which number is which sentence, so a
protocol cannot hold out a sentence by its number. The column `age` is null too, because only the
range of the ages is published.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from ..utils.errors import UserError
from .files import parse_files
from .release import KaggleDataset, Release
from .schema import Clip, Listing
from .settings import CorpusSettings

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "en"
TITLE = "SAVEE"
URL = "http://kahlan.eps.surrey.ac.uk/savee/"
CITATION = (
    "Haq S, Jackson PJB (2010). Multimodal Emotion Recognition. In: Wang W (ed.) Machine Audition: "
    "Principles, Algorithms and Systems. IGI Global, 398-423."
)
ACTED = True
RELEASE = Release(
    files=480,
    kaggle=KaggleDataset("ejlok1/surrey-audiovisual-expressed-emotion-savee"),
    registration=(
        "its authors send it after registration at http://kahlan.eps.surrey.ac.uk/savee/; "
        "unpack what they sent, then `ser-hf download savee DIR --verify` checks it"
    ),
)

EMOTION_CODES = {
    "a": "angry",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")
GRAMMAR = re.compile(
    rf"(?:(?P<speaker>{'|'.join(SPEAKERS)})_)?"
    rf"(?P<emotion>{'|'.join(EMOTION_CODES)})(?P<number>0[1-9]|1[0-5]|(?<=n)(?:1[6-9]|2[0-9]|30))",
    re.IGNORECASE | re.ASCII,
)


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not SAVEE's."""
    fields = GRAMMAR.fullmatch(path.stem)
    folder = path.parent.name.upper()
    if folder not in SPEAKERS:
        folder = None
    if fields is None or not (fields["speaker"] or folder):
        return None
    speaker = (fields["speaker"] or folder).upper()
    code = fields["emotion"].lower()
    if folder and folder != speaker:
        raise UserError(
            f"{path}: the file name says {speaker}, but the folder says {folder}; move or remove it"
        )
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[code],
        original_label=code,
        speaker=f"savee:{speaker}",
        id=f"savee/{speaker}_{code}{fields['number']}",
        sex="male",
        language=LANGUAGE,
    )


class SaveeSettings(CorpusSettings):
    """Settings of SAVEE, which has no options."""

    name: Annotated[Literal["savee"], Field(description="SAVEE")] = "savee"


def parse(settings: SaveeSettings) -> Listing:
    """Read the clips below the root, labelled by the emotion that the speaker intended."""
    return parse_files(settings, TITLE, "DC/a01.wav or DC_a01.wav", read_name)
