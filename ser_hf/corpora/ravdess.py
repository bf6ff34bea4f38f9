"""RAVDESS: the Ryerson Audio-Visual Database of Emotional Speech and Song.

24 professional actors (12 female, 12 male, North American English) speak and sing two sentences in eight emotions at
two intensities (neutral has one), each twice: 1,440 spoken clips, 60 an actor. 48 kHz WAV as released.

Licence: CC BY-NC-SA 4.0 (non-commercial).
Source: https://zenodo.org/records/1188976
Citation: Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS).
PLoS ONE 13(5): e0196391.

File names are seven two-digit fields, `03-01-05-02-01-02-12.wav`: modality (03 audio only), vocal channel (01 speech,
02 song), emotion, intensity (01 normal, 02 strong), statement, repetition, actor (odd male, even female).
"""

import re
from pathlib import Path
from typing import Literal

from ..errors import UserError
from .files import audio_files
from .schema import Clip, Listing

LICENSE = "cc-by-nc-sa-4.0"
LANGUAGE = "en"
TITLE = "RAVDESS"
URL = "https://zenodo.org/records/1188976"
CITATION = (
    "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
    "PLoS ONE 13(5): e0196391."
)
ACTED = True

EMOTION_CODES = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
GRAMMAR = re.compile(
    r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])"
    r"-(?P<repetition>0[12])-(?P<actor>0[1-9]|1[0-9]|2[0-4])"
)


def parse_stem(stem: str) -> dict[str, str] | None:
    """The seven fields of a file name without its suffix, or None where it is not RAVDESS's."""
    match = GRAMMAR.fullmatch(stem)
    if match is None or (match["emotion"] == "01" and match["intensity"] == "02"):  # neutral is never strong
        return None
    return match.groupdict()


def parse(root: str | Path | None, on_unknown: Literal["error", "skip"] = "error", song: bool = False) -> Listing:
    """Reads the clips below `root`. Sung clips are left out, and listed, unless `song` is true."""
    clips, skipped = [], []
    for path in audio_files(root, TITLE):
        fields = parse_stem(path.stem)
        if fields is None:
            if on_unknown == "error":
                raise UserError(
                    f"{path}: not a RAVDESS file name (such as 03-01-05-02-01-02-12.wav); remove it, or set "
                    "corpus.on_unknown: skip"
                )
            skipped.append((str(path), "not a RAVDESS file name"))
        elif fields["channel"] == "02" and not song:
            skipped.append((str(path), "song (corpus.song is false)"))
        else:
            clips.append(_clip(path, fields))
    return Listing("ravdess", clips, skipped)


def _clip(path: Path, fields: dict[str, str]) -> Clip:
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[fields["emotion"]],
        speaker=f"ravdess:{fields['actor']}",
        id=f"ravdess/{path.stem}",
        sex="female" if int(fields["actor"]) % 2 == 0 else "male",
        language=LANGUAGE,
        sentence=STATEMENTS[fields["statement"]],
        intensity=INTENSITIES[fields["intensity"]],
        take=int(fields["repetition"]),
    )
