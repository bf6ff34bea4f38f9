"""IEMOCAP: the Interactive Emotional Dyadic Motion Capture database.

10 actors (5 female, 5 male, American English) play scripted scenes and improvise in five sessions
of two actors. There are 10,039 utterances, each labelled by at least three raters. They are
released as 16 kHz WAV.

License: for research, on request and under an agreement with USC; no redistribution. It is not a
standard license.

Layout: an utterance is a file such as `Session1/sentences/wav/Ses01F_impro01/
Ses01F_impro01_F000.wav`. Each dialogue has one file of labels, such as
`Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`. A line has four fields, separated by tabs:
`[start - end]` in seconds, the utterance, its label, and `[valence, activation, dominance]`, which
are means of the raters on scales from 1 to 5. In a file name, the F or M after the session is the
actor who wore the motion-capture markers; **the F or M in the last field is the actor who speaks**.
Recordings of whole dialogues (`dialog/wav`) are left out.

The label is the majority of the raters. The release has ang 1103, hap 595, exc 1041, neu 1708, sad
1084, fru 1849, sur 107, fea 40, dis 2 and oth 3 utterances, and 2507 with xxx, which means that
there is no majority. Three sets of classes are usual: four classes with excited merged into happy
(5,531 utterances, by far the most common), four classes without excited (4,490), and six classes
(7,380).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ..utils.errors import UserError
from .files import audio_files
from .release import Release
from .schema import Clip, Listing
from .settings import CorpusSettings

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "en"
TITLE = "IEMOCAP"
URL = "https://sail.usc.edu/iemocap/"
CITATION = (
    "Busso C, Bulut M, Lee CC, Kazemzadeh A, Mower E, Kim S, Chang JN, Lee S, Narayanan SS (2008). "
    "IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and "
    "Evaluation 42: 335-359."
)
ACTED = True
RELEASE = Release(
    registration=(
        "USC sends it on request, under an agreement: https://sail.usc.edu/iemocap/; "
        "unpack it and name the folder that holds Session1 to Session5"
    )
)

EMOTION_CODES = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
}
# Labels that are only read with `classes: all`.
LEFT_OUT = {"xxx": "other", "sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other"}
RANGES = {"valence": (1, 5), "activation": (1, 5), "dominance": (1, 5)}
KINDS = {"impro": "improvised", "script": "scripted"}
_DIALOGUE = r"Ses0(?P<session>[1-5])[FM]_(?P<kind>impro|script)\d\d(?:_\d)?[a-z]?"
DIALOGUE = re.compile(_DIALOGUE, re.ASCII)
GRAMMAR = re.compile(rf"(?P<dialogue>{_DIALOGUE})_(?P<sex>[FM])(?:\d{{3}}|XX\d)", re.ASCII)
_NUMBER = r"\s*([0-9]+(?:\.[0-9]+)?)\s*"
_LINE = re.compile(
    rf"\[{_NUMBER}-{_NUMBER}\]\t(\S+)\t(\S+)\t\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*", re.ASCII
)


class Rating(NamedTuple):
    """The label of an utterance by majority, and its mean ratings (1 to 5)."""

    label: str
    valence: float
    activation: float
    dominance: float


class IemocapSettings(CorpusSettings):
    """Settings of IEMOCAP."""

    name: Annotated[Literal["iemocap"], Field(description="IEMOCAP")] = "iemocap"
    classes: Annotated[
        Literal[4, 6, "all"],
        Field(
            description="4: angry, happy, neutral and sad, with excited as happy; "
            "6: also excited and frustrated; all: every utterance, for ratings"
        ),
    ] = 4
    part: Annotated[
        Literal["all", "improvised", "scripted"], Field(description="the kind of dialogues to read")
    ] = "all"


def parse(settings: IemocapSettings) -> Listing:
    """Read the utterances below the root, labelled by the majority of the raters.

    The root contains some or all of the folders ``Session1`` to ``Session5``, or it is one of these
    folders. Utterances outside the classes are left out. With ``classes: all`` no utterance is left
    out, and those without a majority have the emotion other.
    """
    files = audio_files(settings.root, TITLE)
    ratings = _ratings(Path(settings.root))
    emotion_of_label = _emotion_of_label(settings.classes)
    clips = []
    skipped = []
    utterances_with_audio = set()
    for path in files:
        fields = GRAMMAR.fullmatch(path.stem)
        if fields is None:
            skipped.append((str(path), _reason_without_utterance(path, settings)))
            continue

        utterances_with_audio.add(path.stem)
        rating = _rating(path, fields["dialogue"], ratings, settings)
        reason = _reason_to_skip(fields, rating, emotion_of_label, settings)
        if reason is None:
            clips.append(_clip(path, fields, rating, emotion_of_label[rating.label]))
        else:
            skipped.append((str(path), reason))

    for rated_utterances in ratings.values():
        for utterance in rated_utterances:
            if utterance not in utterances_with_audio:
                skipped.append((utterance, "labeled, but without audio"))
    return Listing("iemocap", clips, skipped)


def _emotion_of_label(classes: Literal[4, 6, "all"]) -> dict[str, str]:
    """Map each label of the release to its emotion, for the labels of the requested classes."""
    if classes == "all":
        return EMOTION_CODES | LEFT_OUT
    if classes == 6:
        return EMOTION_CODES
    four_classes = EMOTION_CODES | {"exc": "happy"}
    del four_classes["fru"]
    return four_classes


def _reason_without_utterance(path: Path, settings: IemocapSettings) -> str:
    """The reason to skip a file that is not an utterance.

    Raises:
        UserError: if the name is not in the grammar of IEMOCAP, unless the settings skip such
            files.
    """
    if DIALOGUE.fullmatch(path.stem):
        return "the recording of a complete dialogue"
    reason = f"not a file name of {TITLE}"
    if settings.on_unknown == "error":
        raise UserError(f"{path}: {reason}; remove it, or set corpus.on_unknown: skip")
    return reason


def _rating(
    path: Path,
    dialogue: str,
    ratings: Mapping[str, Mapping[str, Rating]],
    settings: IemocapSettings,
) -> Rating | None:
    """The rating of the utterance at `path`; None if the labels of its dialogue do not list it.

    Raises:
        UserError: if the file of labels of the dialogue is missing.
    """
    if dialogue not in ratings:
        raise UserError(
            f"{path}: no file {dialogue}.txt in a folder EmoEvaluation below {settings.root}; "
            "restore it"
        )
    return ratings[dialogue].get(path.stem)


def _reason_to_skip(
    fields: Mapping[str, str],
    rating: Rating | None,
    emotion_of_label: Mapping[str, str],
    settings: IemocapSettings,
) -> str | None:
    """The reason to leave an utterance out; None to keep it."""
    kind = KINDS[fields["kind"]]
    if settings.part not in ("all", kind):
        return f"{kind} (corpus.part is {settings.part})"
    if rating is None:
        return "no line of labels"
    if rating.label not in emotion_of_label:
        return f"label {rating.label}: not among the classes"
    return None


def _clip(path: Path, fields: Mapping[str, str], rating: Rating, emotion: str) -> Clip:
    """Make the clip of an utterance; `fields` are the groups of `GRAMMAR` in its file name."""
    return Clip(
        path=str(path),
        emotion=emotion,
        original_label=rating.label,
        speaker=f"iemocap:Ses0{fields['session']}{fields['sex']}",
        id=f"iemocap/{path.stem}",
        sex="female" if fields["sex"] == "F" else "male",
        language=LANGUAGE,
        extra={
            "session": f"Session{fields['session']}",
            "kind": KINDS[fields["kind"]],
            "valence": rating.valence,
            "activation": rating.activation,
            "dominance": rating.dominance,
        },
    )


def _ratings(root: Path) -> dict[str, dict[str, Rating]]:
    """Read all files of labels below `root`: dialogue -> utterance -> rating."""
    ratings: dict[str, dict[str, Rating]] = {}
    # The release also contains hidden files of macOS, such as `._Ses01F_impro01.txt`.
    for table in sorted(root.rglob("EmoEvaluation/*.txt")):
        if not table.name.startswith("."):
            ratings.setdefault(table.stem, {}).update(read_ratings(table))
    return ratings


def read_ratings(table: Path) -> dict[str, Rating]:
    """Read the file of labels of one dialogue: utterance -> rating.

    Lines with the label of a single rater (``C-E1:``) are skipped.
    """
    ratings = {}
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("["):
            continue
        fields = _LINE.fullmatch(line)
        if fields is None or not (fields[4] in EMOTION_CODES or fields[4] in LEFT_OUT):
            raise UserError(
                f"{table}, line {number}: expected [start - end], utterance, label, "
                f"[valence, activation, dominance] with tabs between; got {line!r}"
            )
        ratings[fields[3]] = Rating(
            label=fields[4],
            valence=float(fields[5]),
            activation=float(fields[6]),
            dominance=float(fields[7]),
        )
    return ratings
