"""IEMOCAP: the Interactive Emotional Dyadic Motion Capture database.

10 actors (5 female, 5 male, American English) in five sessions of two, in scripted scenes and in
improvised ones: 10,039 utterances, each labelled by at least three raters. 16 kHz WAV as released.

License: for research, on request and under an agreement with USC; no redistribution. No standard
license.

Layout: `Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`, and for the whole dialogue
one file of labels, `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`. Its lines hold, with tabs
between, `[start - end]` in seconds, the utterance, its label, and `[valence, activation,
dominance]`, means of the raters on scales from 1 to 5. The F or M behind the session is the actor
who wore the motion-capture markers; **who speaks is the F or M of the last field**. Recordings of
whole dialogues (`dialog/wav`) are left out.

Labels are the raters' majority: ang 1103, hap 595, exc 1041, neu 1708, sad 1084, fru 1849, sur 107,
fea 40, dis 2, oth 3, and xxx 2507 where there was none. The field's conventions are four classes
with excitement counted as happiness (5,531 utterances, by far the most common), four classes
without it (4,490), and six (7,380).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ..utils.errors import UserError
from .files import audio_files
from .schema import Clip, Listing

LICENSE = "other"
NON_COMMERCIAL = True  # research use only
LANGUAGE = "en"
TITLE = "IEMOCAP"
URL = "https://sail.usc.edu/iemocap/"
CITATION = (
    "Busso C, Bulut M, Lee CC, Kazemzadeh A, Mower E, Kim S, Chang JN, Lee S, Narayanan SS (2008). IEMOCAP: "
    "interactive emotional dyadic motion capture database. Language Resources and Evaluation 42: 335-359."
)
ACTED = True

EMOTION_CODES = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "neu": "neutral",
    "sad": "sad",
    "fru": "frustrated",
}
# But for `classes: all`.
LEFT_OUT = {"xxx": "other", "sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other"}
RANGES = dict.fromkeys(("valence", "activation", "dominance"), (1, 5))
KINDS = {"impro": "improvised", "script": "scripted"}
_DIALOGUE = r"Ses0(?P<session>[1-5])[FM]_(?P<kind>impro|script)\d\d(?:_\d)?[a-z]?"
DIALOGUE = re.compile(_DIALOGUE, re.ASCII)
GRAMMAR = re.compile(rf"(?P<dialogue>{_DIALOGUE})_(?P<sex>[FM])(?:\d{{3}}|XX\d)", re.ASCII)
_NUMBER = r"\s*([0-9]+(?:\.[0-9]+)?)\s*"
_LINE = re.compile(
    rf"\[{_NUMBER}-{_NUMBER}\]\t(\S+)\t(\S+)\t\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*", re.ASCII
)


class Rating(NamedTuple):
    """The majority's label of an utterance, and the raters' means (1 to 5)."""

    label: str
    valence: float
    activation: float
    dominance: float


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    classes: Literal[4, 6, "all"] = 4,
    part: Literal["all", "improvised", "scripted"] = "all",
) -> Listing:
    """Read the utterances below `root`, labelled by the majority of the raters.

    Args:
        root: the folder that holds ``Session1`` to ``Session5``, or some of them, or one.
        classes: 4 keeps angry, happy, neutral and sad, and counts excited as happy; 6 adds excited
            and frustrated. Everything else is left out. ``all`` (for ratings) keeps every
            utterance, without a majority as other.
        part: improvised or scripted dialogues alone.
    """
    kept = EMOTION_CODES | (LEFT_OUT if classes == "all" else {})
    if classes == 4:
        kept = {code: emotion for code, emotion in kept.items() if code != "fru"} | {"exc": "happy"}
    files = audio_files(root, TITLE)
    ratings = _ratings(Path(root))
    clips = []
    skipped = []
    seen = set()
    for path in files:
        fields = GRAMMAR.fullmatch(path.stem)
        if fields is None:
            whole = DIALOGUE.fullmatch(path.stem)
            reason = (
                "the recording of a complete dialogue" if whole else f"not a file name of {TITLE}"
            )
            if not whole and on_unknown == "error":
                raise UserError(f"{path}: {reason}; remove it, or set corpus.on_unknown: skip")
            skipped.append((str(path), reason))
            continue
        dialogue = fields["dialogue"]
        if dialogue not in ratings:
            raise UserError(
                f"{path}: no file {dialogue}.txt in a folder EmoEvaluation below {root}; restore it"
            )
        seen.add(path.stem)
        rating = ratings[dialogue].get(path.stem)
        if part not in ("all", KINDS[fields["kind"]]):
            skipped.append((str(path), f"{KINDS[fields['kind']]} (corpus.part is {part})"))
        elif rating is None:
            skipped.append((str(path), "no line of labels"))
        elif rating.label not in kept:
            skipped.append((str(path), f"label {rating.label}: not among the classes"))
        else:
            clips.append(_clip(path, fields, rating, kept[rating.label]))
    unseen = (name for rated in ratings.values() for name in rated if name not in seen)
    skipped += [(utterance, "labeled, but without audio") for utterance in unseen]
    return Listing("iemocap", clips, skipped)


def _clip(path: Path, fields: Mapping[str, str], rating: Rating, emotion: str) -> Clip:
    return Clip(
        path=str(path),
        emotion=emotion,
        word=rating.label,
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
    """Dialogue -> utterance -> rating, from every file of labels below `root`."""
    ratings: dict[str, dict[str, Rating]] = {}
    # The release has macOS's `._Ses01F_impro01.txt` beside the files of labels.
    for table in sorted(root.rglob("EmoEvaluation/*.txt")):
        if not table.name.startswith("."):
            ratings.setdefault(table.stem, {}).update(read_ratings(table))
    return ratings


def read_ratings(table: Path) -> dict[str, Rating]:
    """Utterance -> rating, from one dialogue's file of labels; lines of single raters (``C-E1:``)
    are skipped.
    """
    ratings = {}
    for number, line in enumerate(
        table.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        if not line.startswith("["):
            continue
        fields = _LINE.fullmatch(line)
        if fields is None or fields[4] not in (*EMOTION_CODES, *LEFT_OUT):
            raise UserError(
                f"{table}, line {number}: expected [start - end], utterance, label, [valence, activation, dominance] "
                f"with tabs between; got {line!r}"
            )
        ratings[fields[3]] = Rating(fields[4], *(float(value) for value in fields.groups()[4:]))
    return ratings
