"""MSP-Podcast: spontaneous speech from podcasts, rated by crowd workers.

Segments of 2.75 to 11 s of podcasts in American English; release 1.11 has 151,654 of more than
2,000 speakers. 16 kHz WAV as released. At least five workers name the emotion of a segment and rate
its arousal, valence and dominance.

License: for research, under an agreement with the laboratory of its authors; no redistribution.

Layout: `Audios/MSP-PODCAST_0001_0008.wav`, and two tables. `Labels/labels_consensus.csv` has a row
for each segment: FileName, EmoClass (a letter of `EMOTION_CODES`, or X where no class has a
majority), EmoAct, EmoVal and EmoDom (means from 1 to 7), SpkrID (a number, or Unknown), Gender, and
Split_Set (Train, Development, Test1, Test2, Test3). `Labels/labels_detailed.csv` has a row for each
rating: FileName, and in EmoClass_Major the worker's emotion in a word.

The official partitions are the column `partition`, which the protocol `column` takes. Test1 has
other speakers, Test2 segments of other podcasts, and Test3 no public labels.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd

from ..utils.errors import UserError
from .files import audio_files
from .schema import UNNAMED, Clip, Listing

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "en"
TITLE = "MSP-Podcast"
URL = "https://lab-msp.com/MSP/MSP-Podcast.html"
CITATION = (
    "Lotfian R, Busso C (2019). Building naturalistic emotionally balanced speech corpus by retrieving emotional "
    "speech from existing podcast recordings. IEEE Transactions on Affective Computing 10(4): 471-483."
)
ACTED = False

EMOTION_CODES = {
    **{
        "A": "angry",
        "S": "sad",
        "H": "happy",
        "U": "surprise",
        "F": "fear",
        "D": "disgust",
        "C": "contempt",
    },
    **{"N": "neutral", "O": "other"},
}
# The first letters of a worker's word, which releases spell in several ways ("Surprise",
# "Surprised").
VOTES = {emotion[:3]: emotion for emotion in EMOTION_CODES.values()}
RANGES = dict.fromkeys(("activation", "valence", "dominance"), (1, 7))
RATINGS = {"EmoAct": "activation", "EmoVal": "valence", "EmoDom": "dominance"}
_COLUMNS = ("FileName", "EmoClass", *RATINGS, "SpkrID", "Gender", "Split_Set")


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    test: Literal["Test1", "Test2"] = "Test1",
    soft: bool = False,
    classes: Literal["labeled", "all"] = "labeled",
) -> Listing:
    """Read the segments below `root`, labelled by the majority of the workers.

    Further columns are `partition` (train, validation or test), and `activation`, `valence` and
    `dominance` (1 to 7).

    Args:
        root: the folder that holds ``Audios`` and ``Labels``.
        test: the partition that is the test split; the other one is left out.
        soft: clips have the votes of the workers, {emotion: count}.
        classes: ``all`` also keeps the segments without a majority (for ratings), as other.
    """
    files = {path.name: path for path in audio_files(root, TITLE)}
    table = Path(root) / "Labels" / "labels_consensus.csv"
    rows = _read(table, _COLUMNS)
    votes = _votes(Path(root) / "Labels" / "labels_detailed.csv") if soft else {}
    partitions = {"Train": "train", "Development": "validation", test: "test"}
    clips = []
    skipped = []
    for row in rows.to_dict("records"):
        name = row["FileName"]
        emotion = EMOTION_CODES.get(row["EmoClass"])
        path = files.pop(name, None)
        if emotion is None and row["EmoClass"] != "X":
            raise UserError(
                f"{table}: {name} has the unknown class {row['EmoClass']!r}; restore the released table"
            )
        emotion = emotion or ("other" if classes == "all" else None)
        if path is None:
            skipped.append((name, "labeled, but without audio"))
        elif row["Split_Set"] not in partitions:
            skipped.append(
                (str(path), f"of the partition {row['Split_Set']} (corpus.test is {test})")
            )
        elif emotion is None:
            skipped.append((str(path), "no class with a majority"))
        elif soft and name not in votes:
            raise UserError(
                f"{path}: labels_detailed.csv has no vote for it; restore the released table"
            )
        else:
            clips.append(_clip(path, row, emotion, partitions[row["Split_Set"]], votes.get(name)))
    for name, path in files.items():  # without a row
        if on_unknown == "error" and not name.startswith("MSP-PODCAST_"):
            raise UserError(
                f"{path}: not a file of {TITLE}; remove it, or set corpus.on_unknown: skip"
            )
        skipped.append((str(path), "without labels"))
    return Listing("msp_podcast", clips, skipped)


def _clip(
    path: Path, row: dict[str, str], emotion: str, partition: str, votes: dict[str, int] | None
) -> Clip:
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
        word=row["EmoClass"],
        speaker=f"msp_podcast:{speaker}",
        id=f"msp_podcast/{path.stem}",
        sex=row["Gender"].lower() if row["Gender"] in ("Female", "Male") else None,
        language=LANGUAGE,
        votes=votes,
        extra={"partition": partition, **ratings},
    )


def _votes(table: Path) -> dict[str, dict[str, int]]:
    """Segment -> {emotion: votes}."""
    rows = _read(table, ("FileName", "EmoClass_Major"))
    # free text is other
    emotions = [VOTES.get(word[:3].lower(), "other") for word in rows["EmoClass_Major"]]
    counted: dict[str, Counter] = {}
    for name, emotion in zip(rows["FileName"], emotions, strict=True):
        counted.setdefault(name, Counter())[emotion] += 1
    return {name: dict(counts) for name, counts in counted.items()}


def _read(table: Path, columns: tuple[str, ...]) -> pd.DataFrame:
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
