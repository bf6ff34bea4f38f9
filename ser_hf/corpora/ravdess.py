"""RAVDESS: the Ryerson Audio-Visual Database of Emotional Speech and Song.

24 professional actors (12 female, 12 male, North American English) speak and sing two sentences in
eight emotions at two intensities (neutral has one intensity), each twice. There are 1,440 spoken
clips, 60 for each actor, released as 48 kHz WAV.

License: CC BY-NC-SA 4.0 (non-commercial).

File names: `03-01-05-02-01-02-12.wav` has seven fields of two digits. They are modality (03 is
audio only), vocal channel (01 speech, 02 song), emotion, intensity (01 normal, 02 strong),
statement, repetition and actor (odd numbers are male, even numbers female).

The sung part is a separate release with the same grammar of names. It has 1,012 clips, 44 of each
actor except Actor_18, who did not sing, in the same emotions without disgust and surprise.

Quirks of the official files:
- `03-01-03-01-02-02-07` is byte for byte the file `03-01-03-01-02-01-07`; the former is left out.
- Five spoken clips are stereo: 03-01-02-01-01-02-01, 03-01-08-01-02-02-01, 03-01-02-01-02-02-05,
  03-01-03-01-02-01-20 and 03-01-06-01-01-02-20. Decoding mixes them to mono.
- The WAV files have a chunk `FLLR` of 4,044 bytes before the samples, and metadata after them. A
  reader that assumes a header of 44 bytes returns the filler as samples. The decoding here parses
  the chunks.
- Mirrors often contain the release twice: `Actor_01` to `Actor_24`, and again in
  `audio_speech_actors_01-24`. Equal copies are left out (`ser_hf.corpora.files.parse_files`).
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field

from ..utils.errors import UserError
from .files import parse_files
from .release import Archive, KaggleDataset, Release
from .schema import Clip, Listing
from .settings import CorpusSettings

LICENSE = "cc-by-nc-sa-4.0"
LANGUAGE = "en"
TITLE = "RAVDESS"
URL = "https://zenodo.org/records/1188976"
CITATION = (
    "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and "
    "Song (RAVDESS). PLoS ONE 13(5): e0196391."
)
ACTED = True
RELEASE = Release(
    files=1440,  # the spoken part only
    sources=(
        Archive(
            name="zenodo",
            url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
            bytes=208_468_073,
            md5="bc696df654c87fed845eb13823edef8a",
        ),
    ),
    kaggle=KaggleDataset("uwrfkaggler/ravdess-emotional-speech-audio"),
)

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
    r"(?P<modality>0[123])"
    r"-(?P<channel>0[12])"
    r"-(?P<emotion>0[1-8])"
    r"-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])"
    r"-(?P<repetition>0[12])"
    r"-(?P<actor>0[1-9]|1[0-9]|2[0-4])"
)
KNOWN_BAD = {"03-01-03-01-02-02-07": "the same audio as 03-01-03-01-02-01-07"}


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not RAVDESS's."""
    fields = GRAMMAR.fullmatch(path.stem)
    if fields is None or not _is_released(fields):
        return None
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[fields["emotion"]],
        original_label=fields["emotion"],
        speaker=f"ravdess:{fields['actor']}",
        id=f"ravdess/{path.stem}",
        sex="female" if int(fields["actor"]) % 2 == 0 else "male",
        language=LANGUAGE,
        sentence=STATEMENTS[fields["statement"]],
        intensity=INTENSITIES[fields["intensity"]],
        take=int(fields["repetition"]),
    )


def is_sung(clip: Clip) -> bool:
    """Whether a clip is sung. The packaged list of official files has no sung clips."""
    return GRAMMAR.fullmatch(clip.name)["channel"] == "02"


def _is_released(fields: re.Match) -> bool:
    """Whether the release can have a clip with these fields of its name.

    There is no strong neutral, no sung disgust or surprise, and no song by actor 18.
    """
    if EMOTION_CODES[fields["emotion"]] == "neutral" and fields["intensity"] == "02":
        return False
    sung = fields["channel"] == "02"
    emotion_is_not_sung = EMOTION_CODES[fields["emotion"]] in ("disgust", "surprise")
    return not sung or not (emotion_is_not_sung or fields["actor"] == "18")


class RavdessSettings(CorpusSettings):
    """Settings of RAVDESS."""

    name: Annotated[Literal["ravdess"], Field(description="RAVDESS")] = "ravdess"
    song: Annotated[bool, Field(description="also read the sung clips")] = False


def parse(settings: RavdessSettings) -> Listing:
    """Read the clips below the root, labelled by the emotion that the actor intended.

    Raises:
        UserError: if a file is wrong, or if sung clips are requested and there is none.
    """

    def reason_to_skip(clip: Clip) -> str | None:
        reason = KNOWN_BAD.get(clip.name)
        if reason is None and is_sung(clip) and not settings.song:
            return "song (corpus.song is false)"
        return reason

    listing = parse_files(settings, TITLE, "03-01-05-02-01-02-12.wav", read_name, reason_to_skip)
    if settings.song and not any(is_sung(clip) for clip in listing.clips):
        raise UserError(
            f"corpus.song: no sung clip in {settings.root}; "
            f"unpack Audio_Song_Actors_01-24.zip of {URL} into it"
        )
    return listing
