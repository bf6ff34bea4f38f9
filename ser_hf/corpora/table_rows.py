"""From a table's row to a clip, whatever the table: label words, speakers, known columns, columns carried along.

Labels are the canonical emotions, the common words of `SYNONYMS` (in any capitals), or what the option `label_map`
says. Who speaks is told by a column or by a regular expression over the clip's path, and never guessed: a split that
claims new speakers is worth what the names of its speakers are worth.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from .files import is_lfs_pointer
from .schema import EMOTIONS, RESERVED, Clip

SYNONYMS = {
    "anger": "angry",
    "ang": "angry",
    "disgusted": "disgust",
    "dis": "disgust",
    "fearful": "fear",
    "fea": "fear",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    "sur": "surprise",
    "calmness": "calm",
    "bored": "boredom",
    "excitement": "excited",
    "exc": "excited",
    "frustration": "frustrated",
    "fru": "frustrated",
    "contemptuous": "contempt",
    "oth": "other",
}
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
# What a column may say of a clip beside its audio, label and speaker.
KNOWN = ("id", "sex", "age", "language", "sentence", "intensity", "take")
NoSpeaker = Literal["error", "skip", "one"]
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)  # not 007, which names something; 64 bits hold 18 digits
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_KINDS = {int: _WHOLE, float: _NUMBER}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: `where` it stands, for messages; the audio's `path`; the clip's `name`, unique within the
    corpus; its `place`, the path that a speaker pattern is matched with; its label and its speaker as the table has
    them; all its `cells`. `absent` says why its audio cannot be had, with the remedy."""

    where: str
    path: Path
    name: str
    place: str
    label: str | None
    speaker: str | None
    cells: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    absent: str | None = None


@dataclasses.dataclass(frozen=True)
class Reading:
    """How rows become clips, as a corpus's options say it.

    Attributes:
        corpus_name: prefix of ids and speakers, and the rows' `corpus`.
        label_map: the table's words -> canonical emotions.
        columns: a name of `KNOWN` -> what the table calls that column, where it has another name.
        language: of the rows that tell none.
        speaker_pattern: regular expression searched in a clip's place; its group ``speaker``, else its first group,
            else all of the match is the speaker.
        no_speaker: of rows that do not tell who speaks: ``"error"``, ``"skip"``, or ``"one"``, which counts them as
            one speaker, so that a split with them in two parts is told to be speaker-dependent.

    Raises:
        UserError: naming the option that cannot be.
    """

    corpus_name: str
    label_map: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None
    language: str | None = None
    speaker_pattern: str | None = None
    no_speaker: NoSpeaker = "error"

    def __post_init__(self):
        for word, emotion in (self.label_map or {}).items():
            if emotion not in EMOTIONS:
                raise UserError(f"corpus.label_map.{word}: {emotion!r} is none of {', '.join(EMOTIONS)}")
        for name in self.columns or {}:
            if name not in KNOWN:
                raise UserError(f"corpus.columns.{name}: none of {', '.join(KNOWN)}, which are what a column may be")
        try:
            re.compile(self.speaker_pattern or "")
        except re.error as error:
            raise UserError(f"corpus.speaker_pattern: not a regular expression: {error}") from None

    def column(self, name: str) -> str:
        """What the table calls one of `KNOWN`."""
        return (self.columns or {}).get(name, name)

    def emotion(self, word: str | None) -> str | None:
        """The canonical emotion of a table's word, or None."""
        if word in (self.label_map or {}):
            return self.label_map[word]
        lower = (word or "").lower()
        return lower if lower in EMOTIONS else SYNONYMS.get(lower)

    def speaker(self, row: Row) -> str | None:
        """Who speaks, without the corpus's prefix; None where the row is to be left out.

        Raises:
            UserError: where it is not told, and no option says what to do.
        """
        if self.speaker_pattern is not None:
            found = re.search(self.speaker_pattern, row.place)
            if found:
                named = found.groupdict().get("speaker") or (found.group(1) if found.re.groups else found.group())
                if named:
                    return named
            told = f"corpus.speaker_pattern ({self.speaker_pattern}) finds no speaker in {row.place}"
        elif row.speaker:
            return row.speaker
        else:
            told = "it is not told who speaks, and a speaker-independent split needs to know"
        if self.no_speaker == "error":
            raise UserError(
                f"{row.where}: {told}; name the column (corpus.speaker), give a corpus.speaker_pattern that finds the "
                "speaker in the path, or set corpus.no_speaker: skip, or one (all as one speaker)"
            )
        return "unknown" if self.no_speaker == "one" else None

    def clip(self, row: Row, emotion: str, speaker: str) -> Clip:
        cells = {name: row.cells.get(self.column(name)) for name in KNOWN}
        texts = {name: None if _empty(cell) else str(cell) for name, cell in cells.items()}
        return Clip(
            path=str(row.path),
            emotion=emotion,
            word=row.label,
            speaker=f"{self.corpus_name}:{speaker}",
            id=f"{self.corpus_name}/{texts['id'] or row.name}",
            sex=SEXES.get((texts["sex"] or "").lower(), texts["sex"]),
            age=_whole(cells["age"], self.column("age"), row.where),
            take=_whole(cells["take"], self.column("take"), row.where),
            language=texts["language"] or self.language,
            sentence=texts["sentence"],
            intensity=texts["intensity"],
            extra=row.extra,
        )


def clips_of(
    rows: Iterable[Row], reading: Reading, on_unknown: Literal["error", "skip"]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """The clips, and what was left out with the reason.

    Raises:
        UserError: naming the row, for a label that is no emotion, audio that cannot be had (both may be skipped), a
            speaker that is not told (`Reading.no_speaker`), a Git LFS pointer, or a cell that is no number.
    """
    clips, skipped = [], []
    for row in rows:
        emotion = reading.emotion(row.label)
        if emotion is None or row.absent:
            if on_unknown == "error":
                raise _unknown_label(row) if emotion is None else UserError(f"{row.where}: {row.absent}")
            said = f"label {row.label!r} is not an emotion" if row.label else "no label"
            skipped.append((row.where, said if emotion is None else "no such file"))
            continue
        if is_lfs_pointer(row.path):
            raise UserError(
                f"{row.where}: {row.path} is a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
        speaker = reading.speaker(row)
        if speaker is None:
            skipped.append((row.where, "its speaker is not told"))
        else:
            clips.append(reading.clip(row, emotion, speaker))
    return clips, skipped


def carried(
    cells: Sequence[Mapping[str, Any]], used: Iterable[str], guess: bool = True, rename: bool = False
) -> list[dict[str, Any]]:
    """Of each row the columns that are carried along: those not `used` that hold anything plain.

    A column is true and false, whole numbers, numbers, or text, whichever fits all its cells; `session` names
    something, so that it is text whatever stands in it. Lists, mappings and bytes are left out.

    Args:
        guess: whether text that reads like numbers is numbers, as in a CSV file.
        rename: whether a column that has the name of one of ours (`duration`) is carried as ``own_duration``; else
            `ser_hf.corpora.schema.to_dataset` refuses it.
    """
    kept: list[dict[str, Any]] = [{} for _ in cells]
    used = set(used)
    for name in dict.fromkeys(name for row in cells for name in row):
        if name in used:
            continue
        values = [_plain(row.get(name)) for row in cells]
        filled = [value for value in values if value is not None]
        if not filled:
            continue
        kind = str if name == "session" else _kind(filled, guess)
        called = f"own_{name}" if rename and name in RESERVED else name
        for row, value in zip(kept, values, strict=True):
            row[called] = None if value is None else kind(value)
    return kept


def _kind(values: Sequence[Any], guess: bool) -> type:
    types = {type(value) for value in values}
    if types == {bool}:
        return bool
    if types <= {int, float}:
        return int if types == {int} else float
    if guess and types == {str}:
        return next((kind for kind, grammar in _KINDS.items() if all(map(grammar.fullmatch, values))), str)
    return str


def _plain(value: Any) -> Any:
    if _empty(value) or isinstance(value, list | tuple | dict | bytes):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _whole(cell: Any, column: str, where: str) -> int | None:
    if _empty(cell):
        return None
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise UserError(f"{where}: {column} should be a whole number or empty, got {cell!r}")
    return int(text)


def _unknown_label(row: Row) -> UserError:
    if not row.label:
        return UserError(f"{row.where}: no label; fill it in, or set corpus.on_unknown: skip")
    nearest = difflib.get_close_matches(row.label.lower(), EMOTIONS, n=1, cutoff=0.0)[0]
    return UserError(
        f"{row.where}: {row.label!r} is not an emotion known here; say which it is with corpus.label_map, such "
        f"as {{{row.label}: {nearest}}}, or set corpus.on_unknown: skip"
    )
