"""ESD: the Emotional Speech Database.

10 speakers of Mandarin (0001 to 0010) and 10 of English (0011 to 0020) say the same 350 sentences of their language
in five emotions, for emotional voice conversion: 35,000 clips, 350 a speaker and emotion. 16 kHz WAV as released.

License: research use only, on signing a form; no standard license. The code on the same page is MIT, the audio is not.

File names: `0011/Angry/0011_000351.wav` is speaker, emotion by folder, and number. Numbers run on over the emotions,
350 each: neutral from 1, angry from 351, happy from 701, sad from 1051, surprise from 1401. So the number gives the
emotion and the sentence. A folder of another emotion is an error. Folders train, evaluation and test of some copies
are not read: these splits share all speakers, as they were made for voice conversion.
"""

import re
from pathlib import Path, PurePath
from typing import Any, Literal

from .files import parse_files
from .schema import Clip, Listing

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
TITLE = "ESD"
URL = "https://github.com/HLTSingapore/Emotional-Speech-Data"
CITATION = (
    "Zhou K, Sisman B, Liu R, Li H (2022). Emotional voice conversion: Theory, databases and ESD. Speech "
    "Communication 137: 1-18."
)
ACTED = True

EMOTION_CODES = {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Surprise": "surprise"}
SENTENCES = 350
GRAMMAR = re.compile(r"(?P<speaker>00(?:0[1-9]|1[0-9]|20))_(?P<number>[0-9]{6})", re.ASCII)
_LANGUAGES = {"mandarin": "zh", "english": "en"}


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not ESD's or its folder is of another emotion."""
    fields = GRAMMAR.fullmatch(path.stem)
    number = int(fields["number"]) - 1 if fields else -1
    if not 0 <= number < SENTENCES * len(EMOTION_CODES):
        return None
    folders = [folder for folder in path.parts[:-1] if folder in EMOTION_CODES]
    word = list(EMOTION_CODES)[number // SENTENCES]
    if folders and folders[-1] != word:
        return None
    speaker, sentence = fields["speaker"], number % SENTENCES + 1
    language = "zh" if int(speaker) <= 10 else "en"
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[word],
        word=word,
        speaker=f"esd:{speaker}",
        id=f"esd/{path.stem}",
        language=language,
        sentence=f"{language} {sentence:03d}",
    )


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    part: Literal["both", "mandarin", "english"] = "both",
) -> Listing:
    """Read the clips below `root`, labelled by the emotion that the speaker intended.

    Args:
        on_unknown: also for clips in the folder of another emotion.
        part: the speakers of one language, or all.
    """

    def leave_out(clip: Clip) -> str | None:
        wanted = _LANGUAGES.get(part, clip.language)
        return None if clip.language == wanted else f"the other language (corpus.part is {part})"

    return parse_files(root, "esd", TITLE, "Angry/0011_000351.wav", read_name, on_unknown, leave_out)


def facts(part: str = "both", **others: Any) -> dict[str, Any]:
    """The language for cards and reports, a list for both languages."""
    return {"language": _LANGUAGES.get(part, sorted(_LANGUAGES.values()))}
