"""CREMA-D: the Crowd-sourced Emotional Multimodal Actors Dataset.

91 actors (48 male, 43 female, 20 to 74 years, of several ethnic backgrounds, American English) say
twelve sentences in six emotions, and one of the sentences at three levels of intensity. There are
7,442 clips, released as 16 kHz WAV.

License: Open Database License 1.0 for the database, Database Contents License 1.0 for its contents.

File names: the fields of `1001_IEO_ANG_HI.wav` are actor, sentence, emotion (as the actor intended
it) and level (LO, MD, HI, or XX for an unspecified level). Upper and lower case are equal in file
names; ids are in upper case.

Raters often perceived another emotion than the intended one. Each clip was rated from the voice
alone, from the face alone, and from both, each time by four to twelve raters. The release's
`processedResults/tabulatedVotes.csv` has their votes: one row for each clip and mode, with counts
in the columns A, D, F, H, N and S. The first digit of the row's number is the mode (1 voice, 2
face, 3 multimodal). The majorities equal `VoiceVote`, `FaceVote` and `MultiModalVote` of the
release's `summaryTable.csv`; 644 clips have a tie by voice, 470 by face and 420 by both.

Quirks of the official files, left out:
- `1076_MTI_SAD_XX` is silent: every sample is zero.
- Three pairs of files are byte for byte the same audio under two emotions: 1006_TIE_HAP_XX and
  1006_TIE_NEU_XX, 1013_WSI_DIS_XX and 1013_WSI_SAD_XX, 1017_IWW_ANG_XX and 1017_IWW_FEA_XX. The
  right label is unknown, so neither file is used, for any target.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from ..utils.errors import UserError
from .files import parse_files
from .release import Entry, KaggleDataset, LfsStore, Release, Table
from .schema import Clip, Listing
from .settings import AnyPath, CorpusSettings, refuse

logger = logging.getLogger(__name__)

LICENSE = "odbl"
LANGUAGE = "en"
TITLE = "CREMA-D"
URL = "https://github.com/CheyneyComputerScience/CREMA-D"
CITATION = (
    "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced "
    "Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4): 377-390."
)
ACTED = True
RELEASE = Release(
    files=7442,
    sources=(
        # The authors' mirror comes first: GitHub's quota is used up.
        LfsStore(name="gitlab", url="https://gitlab.com/cs-cooper-lab/crema-d-mirror.git/info/lfs"),
        LfsStore(
            name="github",
            url="https://github.com/CheyneyComputerScience/CREMA-D.git/info/lfs",
        ),
    ),
    kaggle=KaggleDataset("ejlok1/cremad"),
    tables=(
        Table(
            entry=Entry(
                path="processedResults/tabulatedVotes.csv",
                bytes=4_057_953,
                sha256="774d9d759cb5caf2542758a39eca8c0f1d2777f9987ff5d5adf8066d192f377b",
            ),
            urls=(
                "https://gitlab.com/cs-cooper-lab/crema-d-mirror/-/raw/master/processedResults/"
                "tabulatedVotes.csv",
                "https://github.com/CheyneyComputerScience/CREMA-D/raw/master/processedResults/"
                "tabulatedVotes.csv",
            ),
        ),
    ),
)

EMOTION_CODES = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
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
    r"(?P<actor>10[0-8][0-9]|109[01])"
    rf"_(?P<sentence>{'|'.join(SENTENCES)})"
    rf"_(?P<emotion>{'|'.join(EMOTION_CODES)})"
    rf"_(?P<level>{'|'.join(LEVELS)})",
    re.IGNORECASE | re.ASCII,
)

# Column of the table of votes -> emotion, in canonical order.
VOTE_COLUMNS = {code[0]: emotion for code, emotion in EMOTION_CODES.items()}
# What raters were given -> the first digit of the row's number in the table of votes.
MODES = {"voice": "1", "face": "2", "multimodal": "3"}
VOTE_TABLE = "tabulatedVotes.csv"

IDENTICAL = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)
# Clip -> why it is left out.
KNOWN_BAD = {"1076_MTI_SAD_XX": "silent throughout"}
for _first, _second in IDENTICAL:
    KNOWN_BAD[_first] = f"the same audio as {_second}, under another emotion"
    KNOWN_BAD[_second] = f"the same audio as {_first}, under another emotion"

# Actors 1001 to 1091 in order, from VideoDemographics.csv of the release.
_SEXES = (
    "MFFFMFFFFFMFFMMMMFMFFMMFFMMFFFMMMMMMFMMMMMFMMFFMFMMFFFFFMFMFFMFMMMMMMMMFFFFFMFFMMFMFMMMMFMF"
)
# fmt: off
_AGES = (
    51, 21, 21, 42, 29, 58, 38, 46, 24, 27, 32, 23, 22, 24, 32, 61, 42, 25, 29, 61,
    30, 22, 22, 59, 48, 33, 44, 57, 33, 42, 31, 30, 31, 74, 48, 49, 45, 21, 51, 42,
    42, 37, 25, 40, 22, 22, 22, 38, 25, 62, 56, 33, 35, 36, 57, 52, 25, 36, 21, 28,
    51, 56, 33, 53, 38, 25, 66, 34, 27, 25, 41, 33, 24, 31, 40, 25, 20, 21, 21, 21,
    30, 20, 45, 46, 34, 33, 62, 23, 24, 50, 29,
)
# fmt: on


def read_name(path: PurePath) -> Clip | None:
    """The clip that a path describes, or None if its name is not CREMA-D's."""
    fields = GRAMMAR.fullmatch(path.stem)
    if fields is None or fields["actor"] == "1000":  # actors are 1001 to 1091
        return None
    position = int(fields["actor"]) - 1001
    code = fields["emotion"].upper()
    return Clip(
        path=str(path),
        emotion=EMOTION_CODES[code],
        original_label=code,
        speaker=f"cremad:{fields['actor']}",
        id=f"cremad/{path.stem.upper()}",
        sex="female" if _SEXES[position] == "F" else "male",
        age=_AGES[position],
        language=LANGUAGE,
        sentence=SENTENCES[fields["sentence"].upper()],
        intensity=LEVELS[fields["level"].upper()],
    )


class CremadSettings(CorpusSettings):
    """Settings of CREMA-D.

    Majority, ties and agreement are computed over the six emotions of the release, before a recipe
    merges emotions.
    """

    name: Annotated[Literal["cremad"], Field(description="CREMA-D")] = "cremad"
    target: Annotated[
        Literal["intended", "voice", "face", "multimodal"],
        Field(
            description="the intended emotion, or the one with most votes from voice, face or both"
        ),
    ] = "intended"
    agreement: Annotated[
        float,
        Field(ge=0, le=1, description="the least share of votes for the emotion that wins"),
    ] = 0.0
    soft: Annotated[
        bool, Field(description="also load the votes, and keep clips whose votes tie")
    ] = False
    tables: Annotated[
        AnyPath | None,
        Field(description="the folder of tabulatedVotes.csv; null: processedResults near the root"),
    ] = None

    @model_validator(mode="after")
    def _check_votes(self) -> Self:
        message = f"needs votes; set corpus.target to one of {', '.join(MODES)}"
        if self.target == "intended" and self.agreement:
            refuse(self.agreement, message, "agreement")
        if self.target == "intended" and self.soft:
            refuse(self.soft, message, "soft")
        return self


def parse(settings: CremadSettings) -> Listing:
    """Read the clips below the root, labelled by the intended emotion or by the votes of raters.

    Clips labelled by votes have two further columns: `intended`, and `agreement`, the share of
    votes for the label. With `soft` each clip also has its votes, {emotion: count}. The label of a
    tie is then the intended emotion if it is one of the tied emotions, otherwise the first tied
    emotion in canonical order. Without `soft` clips with a tie are left out.
    """
    listing = parse_files(settings, TITLE, "1001_IEO_ANG_HI.wav", read_name, _reason_to_skip)
    if settings.target == "intended":
        return _add_perceived_column(listing, settings)
    return _label_by_votes(listing, settings)


def _reason_to_skip(clip: Clip) -> str | None:
    """The reason to leave a clip out, whatever the target; None to keep it."""
    return KNOWN_BAD.get(clip.name)


def _add_perceived_column(listing: Listing, settings: CremadSettings) -> Listing:
    """Add the column `perceived` to the clips if the table of votes exists.

    The column contains the majority of the votes by voice alone, or None for a tie. Reports compare
    predictions also with this column.
    """
    try:
        votes = read_votes(_find_table(settings), "voice")
    except UserError as error:
        if settings.tables is not None:
            raise
        # The labels need no votes, and `ser-hf inspect` reports the missing table.
        logger.debug("no column of perceived emotions: %s", error)
        return listing
    clips = []
    for clip in listing.clips:
        winners = _winners(votes.get(clip.name, {}))
        perceived = winners[0] if len(winners) == 1 else None
        clips.append(dataclasses.replace(clip, extra={**clip.extra, "perceived": perceived}))
    return dataclasses.replace(listing, clips=clips)


def _winners(counts: Mapping[str, int]) -> list[str]:
    """The emotions that share the highest number of votes."""
    return [emotion for emotion, count in counts.items() if count == max(counts.values())]


def _label_by_votes(listing: Listing, settings: CremadSettings) -> Listing:
    """Label the clips by the votes of the mode that the settings name.

    Clips with a tie or too little agreement are added to the skipped files.
    """
    target = settings.target
    table = _find_table(settings)
    votes = read_votes(table, target)
    clips = []
    skipped = list(listing.skipped)
    for clip in listing.clips:
        counts = votes.get(clip.name)
        if counts is None:
            raise UserError(
                f"{clip.path}: {table} has no row of {target} votes for it; "
                f"take the table from {URL}"
            )
        winners = _winners(counts)
        share = max(counts.values()) / sum(counts.values())
        if len(winners) > 1 and not settings.soft:
            skipped.append((clip.path, f"no majority of {target} votes"))
        elif share < settings.agreement:
            reason = (
                f"less than {settings.agreement:g} of the {target} votes agree (corpus.agreement)"
            )
            skipped.append((clip.path, reason))
        else:
            labelled_clip = dataclasses.replace(
                clip,
                emotion=clip.emotion if clip.emotion in winners else winners[0],
                original_label=None,
                votes=counts if settings.soft else None,
                extra={"intended": clip.emotion, "agreement": share},
            )
            clips.append(labelled_clip)
    return dataclasses.replace(listing, clips=clips, skipped=skipped)


def read_votes(table: Path, target: str) -> dict[str, dict[str, int]]:
    """Read the votes of one mode from `tabulatedVotes.csv`.

    Args:
        target: voice, face or multimodal.

    Returns:
        {name of the clip: {emotion: count}}, with the emotions in canonical order.
    """
    try:
        # The first column, the row's number, has no name.
        frame = pd.read_csv(
            table, index_col=0, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
        frame = frame[frame.index.astype(str).str.startswith(MODES[target])].set_index("fileName")
        counts = frame[list(VOTE_COLUMNS)].astype(int)
        every_clip_has_votes = counts.any(axis=1).all() and (counts >= 0).all(axis=None)
        if not every_clip_has_votes or not counts.index.is_unique:
            raise ValueError("a row without votes, or two rows of one clip")
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{table}: not the release's table of votes ({error}); "
            f"take it from {URL}, folder processedResults"
        ) from None
    votes_of_clip = {}
    for name, votes in zip(counts.index, counts.to_numpy().tolist(), strict=True):
        votes_of_clip[name] = dict(zip(VOTE_COLUMNS.values(), votes, strict=True))
    return votes_of_clip


def _find_table(settings: CremadSettings) -> Path:
    """The path of the table of votes, in the folder `tables` or near the root."""
    if settings.tables is None:
        base = Path(settings.root).absolute()
        folders = [folder / "processedResults" for folder in (base, *base.parents[:2])]
    else:
        folders = [Path(settings.tables)]
    for folder in folders:
        if (folder / VOTE_TABLE).is_file():
            return folder / VOTE_TABLE
    raise UserError(
        f"corpus.tables: no {VOTE_TABLE} in {settings.tables or folders[0]}; `ser-hf download "
        f"cremad DIR` fetches it, or download it from "
        f"{URL}/raw/master/processedResults/{VOTE_TABLE}, and name its folder"
    )
