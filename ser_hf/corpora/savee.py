"""SAVEE: the Surrey Audio-Visual Expressed Emotion database.

4 men (27 to 31 years, native speakers of British English) say TIMIT sentences in seven emotions:
480 clips, 30 neutral and 15 of each other emotion a speaker. 44.1 kHz WAV as released.

License: free for research after registration with the authors; no redistribution. No standard
license.

File names: `AudioData/DC/a01.wav` in the release and `DC_a01.wav` in mirrors are speaker (DC, JE,
JK, KL), emotion (a anger, d disgust, f fear, h happiness, n neutral, sa sadness, su surprise) and
sentence. Both give the id `savee/DC_a01`.

`sentence` is null: of each emotion's 15 sentences, 3 are common to all emotions, 2 specific to it
and 10 generic (the neutral 30 are the 3 common and all 12 specific ones, twice 15), but the release
does not map numbers to sentences, so a protocol cannot hold out a sentence by its number. Ages are
published as a range only, and are null as well.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from ..utils.errors import UserError
from .files import parse_files
from .release import Release
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
    rf"(?P<emotion>{'|'.join(EMOTION_CODES)})(?P<number>0[1-9]|1[0-5]|(?<=n)(?:1[6-9]|2[0-9]|30))"
)


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not SAVEE's."""
    fields = GRAMMAR.fullmatch(path.stem)
    folder = path.parent.name if path.parent.name in SPEAKERS else None
    if fields is None or not (fields["speaker"] or folder):
        return None
    speaker = fields["speaker"] or folder
    if folder and folder != speaker:
        raise UserError(
            f"{path}: the file name says {speaker}, but the folder says {folder}; move or remove it"
        )
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[fields["emotion"]],
        word=fields["emotion"],
        speaker=f"savee:{speaker}",
        id=f"savee/{speaker}_{fields['emotion']}{fields['number']}",
        sex="male",
        language=LANGUAGE,
    )


class SaveeSettings(CorpusSettings):
    """Keys of SAVEE, which has no options."""

    name: Annotated[Literal["savee"], Field(description="SAVEE")] = "savee"


def parse(settings: SaveeSettings) -> Listing:
    """Read the clips below the root, labelled by the emotion that the speaker intended."""
    return parse_files(settings, TITLE, "DC/a01.wav or DC_a01.wav", read_name)
