"""MSP-Podcast: spontaneous speech from podcasts, rated by crowd workers.

The clips are segments of 2.75 to 11 s of podcasts in American English. Release 1.11 has 151,654
segments of more than 2,000 speakers, as 16 kHz WAV. At least five workers name the emotion of each
segment and rate its arousal, valence and dominance.

License: for research, under an agreement with the laboratory of the authors; no redistribution.

Layout: `Audios/MSP-PODCAST_0001_0008.wav`, and two tables. `Labels/labels_consensus.csv` has a row
for each segment: FileName, EmoClass (a letter of `EMOTION_CODES`, or X where no class has a
majority), EmoAct, EmoVal and EmoDom (means from 1 to 7), SpkrID (a number, or Unknown), Gender, and
Split_Set (Train, Development, Test1, Test2, Test3). `Labels/labels_detailed.csv` has a row for each
rating. Its columns are FileName and EmoClass_Major, the emotion that the worker chose.

The column `partition` contains the official partitions, and the protocol `column` can use it. Test1
has other speakers than the training partition, Test2 has segments of other podcasts, and Test3 has
no public labels.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from ..utils.errors import UserError
from .files import audio_files
from .release import Release
from .schema import UNNAMED, Clip, Listing
from .settings import CorpusSettings

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "en"
TITLE = "MSP-Podcast"
URL = "https://lab-msp.com/MSP/MSP-Podcast.html"
CITATION = (
    "Lotfian R, Busso C (2019). Building naturalistic emotionally balanced speech corpus by "
    "retrieving emotional speech from existing podcast recordings. IEEE Transactions on Affective "
    "Computing 10(4): 471-483."
)
ACTED = False
RELEASE = Release(
    registration=(
        "the laboratory sends it to institutions that sign its agreement: "
        "https://lab-msp.com/MSP/MSP-Podcast.html; "
        "unpack it and name the folder that holds Audios and Labels"
    )
)

EMOTION_CODES = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
}
# The first three letters of a worker's label -> the emotion. Only these letters are compared,
# because releases spell labels in several ways ("Surprise", "Surprised").
VOTES = {emotion[:3]: emotion for emotion in EMOTION_CODES.values()}
RANGES = {"activation": (1, 7), "valence": (1, 7), "dominance": (1, 7)}
RATINGS = {"EmoAct": "activation", "EmoVal": "valence", "EmoDom": "dominance"}
_COLUMNS = ("FileName", "EmoClass", *RATINGS, "SpkrID", "Gender", "Split_Set")


class MspPodcastSettings(CorpusSettings):
    """Settings of MSP-Podcast."""

    name: Annotated[Literal["msp_podcast"], Field(description="MSP-Podcast")] = "msp_podcast"
    test: Annotated[
        Literal["Test1", "Test2"],
        Field(description="the partition that is the test split; the other one is left out"),
    ] = "Test1"
    soft: Annotated[bool, Field(description="also load the votes of the workers")] = False
    classes: Annotated[
        Literal["labeled", "all"],
        Field(description="all: also keep segments without a majority, as other, for ratings"),
    ] = "labeled"


def parse(settings: MspPodcastSettings) -> Listing:
    """Read the segments below the root, labelled by the majority of the workers.

    The root contains the folders ``Audios`` and ``Labels``. Further columns are `partition` (train,
    validation or test), and `activation`, `valence` and `dominance` (1 to 7). With `soft` each clip
    also has the votes of the workers, {emotion: count}.
    """
    path_of_name = {path.name: path for path in audio_files(settings.root, TITLE)}
    labels = Path(settings.root) / "Labels"
    table = labels / "labels_consensus.csv"
    rows = _read(table, _COLUMNS).to_dict("records")
    votes = _votes(labels / "labels_detailed.csv") if settings.soft else {}
    split_of_partition = {"Train": "train", "Development": "validation", settings.test: "test"}
    clips = []
    skipped = []
    for row in rows:
        name = row["FileName"]
        emotion = _emotion(row, table, settings)
        path = path_of_name.pop(name, None)
        if path is None:
            skipped.append((name, "labeled, but without audio"))
        elif row["Split_Set"] not in split_of_partition:
            reason = f"of the partition {row['Split_Set']} (corpus.test is {settings.test})"
            skipped.append((str(path), reason))
        elif emotion is None:
            skipped.append((str(path), "no class with a majority"))
        elif settings.soft and name not in votes:
            raise UserError(
                f"{path}: labels_detailed.csv has no vote for it; restore the released table"
            )
        else:
            split = split_of_partition[row["Split_Set"]]
            clips.append(_clip(path, row, emotion, split, votes.get(name)))

    paths_without_row = path_of_name.values()
    for path in paths_without_row:
        if settings.on_unknown == "error" and not path.name.startswith("MSP-PODCAST_"):
            raise UserError(
                f"{path}: not a file of {TITLE}; remove it, or set corpus.on_unknown: skip"
            )
        skipped.append((str(path), "without labels"))
    return Listing("msp_podcast", clips, skipped)


def _emotion(row: Mapping[str, str], table: Path, settings: MspPodcastSettings) -> str | None:
    """The emotion of a row of the table; None if there is no majority and the row is left out."""
    letter = row["EmoClass"]
    if letter in EMOTION_CODES:
        return EMOTION_CODES[letter]
    if letter != "X":
        raise UserError(
            f"{table}: {row['FileName']} has the unknown class {letter!r}; "
            "restore the released table"
        )
    return "other" if settings.classes == "all" else None


def _clip(
    path: Path,
    row: Mapping[str, str],
    emotion: str,
    split: str,
    votes: Mapping[str, int] | None,
) -> Clip:
    """Make the clip of a segment from its row in the table of labels."""
    speaker = UNNAMED if row["SpkrID"] in ("Unknown", "") else row["SpkrID"]
    try:
        ratings = {name: float(row[column]) for column, name in RATINGS.items()}
    except ValueError:
        raise UserError(
            f"{path}: its EmoAct, EmoVal or EmoDom in labels_consensus.csv is no number"
        ) from None
    return Clip(
        path=str(path),
        emotion=emotion,
        original_label=row["EmoClass"],
        speaker=f"msp_podcast:{speaker}",
        id=f"msp_podcast/{path.stem}",
        sex=row["Gender"].lower() if row["Gender"] in ("Female", "Male") else None,
        language=LANGUAGE,
        votes=votes,
        extra={"partition": split, **ratings},
    )


def _votes(table: Path) -> dict[str, dict[str, int]]:
    """Count the votes in the detailed table: segment -> {emotion: votes}.

    A label that is not an emotion of the corpus is counted as other.
    """
    rows = _read(table, ("FileName", "EmoClass_Major"))
    votes: dict[str, Counter] = {}
    for name, label in zip(rows["FileName"], rows["EmoClass_Major"], strict=True):
        emotion = VOTES.get(label[:3].lower(), "other")
        votes.setdefault(name, Counter())[emotion] += 1
    return {name: dict(counts) for name, counts in votes.items()}


def _read(table: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of the release with every cell as text; a UserError for a missing column."""
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{table}: cannot be read ({error}); name the folder of Audios and Labels"
        ) from None
    for column in columns:
        if column not in rows:
            raise UserError(f"{table}: no column {column}; take the table from the release")
    return rows
