"""CREMA-D: the Crowd-sourced Emotional Multimodal Actors Dataset.

91 actors (48 male, 43 female, 20 to 74 years, of several ethnic backgrounds, American English) say twelve sentences in
six emotions, one of the sentences at three levels of intensity: 7,442 clips. 16 kHz WAV as released.

Licence: Open Database License 1.0, its contents Database Contents License 1.0.
Source: https://github.com/CheyneyComputerScience/CREMA-D
Citation: Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional Multimodal
Actors Dataset. IEEE Transactions on Affective Computing 5(4): 377-390.

File names: `1001_IEO_ANG_HI.wav` is actor, sentence, emotion (as intended by the actor), level (LO, MD, HI, or XX
where the level was left open).
"""

import re
from pathlib import Path
from typing import Literal

from ..errors import UserError
from .files import audio_files
from .schema import Clip, Listing

LICENSE = "odbl"
LANGUAGE = "en"
TITLE = "CREMA-D"
URL = "https://github.com/CheyneyComputerScience/CREMA-D"
CITATION = (
    "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional Multimodal "
    "Actors Dataset. IEEE Transactions on Affective Computing 5(4): 377-390."
)
ACTED = True

EMOTION_CODES = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}
SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
GRAMMAR = re.compile(
    rf"(?P<actor>10[0-8][0-9]|109[01])_(?P<sentence>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(EMOTION_CODES)})"
    r"_(?P<level>LO|MD|HI|XX)"
)

# Actors 1001 to 1091 in order, from VideoDemographics.csv of the release.
_SEXES = "MFFFMFFFFFMFFMMMMFMFFMMFFMMFFFMMMMMMFMMMMMFMMFFMFMMFFFFFMFMFFMFMMMMMMMMFFFFFMFFMMFMFMMMMFMF"
# fmt: off
_AGES = (
    51, 21, 21, 42, 29, 58, 38, 46, 24, 27, 32, 23, 22, 24, 32, 61, 42, 25, 29, 61, 30, 22, 22, 59, 48, 33, 44,
    57, 33, 42, 31, 30, 31, 74, 48, 49, 45, 21, 51, 42, 42, 37, 25, 40, 22, 22, 22, 38, 25, 62, 56, 33, 35, 36,
    57, 52, 25, 36, 21, 28, 51, 56, 33, 53, 38, 25, 66, 34, 27, 25, 41, 33, 24, 31, 40, 25, 20, 21, 21, 21, 30,
    20, 45, 46, 34, 33, 62, 23, 24, 50, 29,
)
# fmt: on


def parse_stem(stem: str) -> dict[str, str] | None:
    """The four fields of a file name without its suffix, or None where it is not CREMA-D's."""
    match = GRAMMAR.fullmatch(stem)
    return None if match is None or match["actor"] == "1000" else match.groupdict()


def parse(root: str | Path | None, on_unknown: Literal["error", "skip"] = "error") -> Listing:
    """Reads the clips below `root`, labelled by the emotion that the actor intended."""
    clips, skipped = [], []
    for path in audio_files(root, TITLE):
        fields = parse_stem(path.stem)
        if fields is not None:
            clips.append(_clip(path, fields))
        elif on_unknown == "skip":
            skipped.append((str(path), "not a CREMA-D file name"))
        else:
            raise UserError(
                f"{path}: not a CREMA-D file name (such as 1001_IEO_ANG_HI.wav); remove it, or set "
                "corpus.on_unknown: skip"
            )
    return Listing("cremad", clips, skipped)


def _clip(path: Path, fields: dict[str, str]) -> Clip:
    position = int(fields["actor"]) - 1001
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[fields["emotion"]],
        speaker=f"cremad:{fields['actor']}",
        id=f"cremad/{path.stem}",
        sex="female" if _SEXES[position] == "F" else "male",
        age=_AGES[position],
        language=LANGUAGE,
        sentence=SENTENCES[fields["sentence"]],
        intensity=LEVELS[fields["level"]],
    )
