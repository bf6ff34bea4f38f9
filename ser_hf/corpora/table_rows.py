"""From a table's row to a clip, whatever the table: label words, speakers, known columns, columns carried along.

Labels are the canonical emotions, the common words of `SYNONYMS` (in any capitals), or what the option `label_map`
says. Who speaks is told by a column or by a regular expression over the clip's path, and never guessed: a split that
claims new speakers is worth what the names of its speakers are worth.
"""

import dataclasses
import difflib
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from .cells import UNTOLD, text, whole
from .files import is_lfs_pointer
from .pieces import Piece, cut
from .schema import EMOTIONS, UNNAMED, Clip

logger = logging.getLogger(__name__)

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
# Of these the ones that are whole numbers.
_NUMBERS = ("age", "take")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table: `where` it stands, for messages; the audio's `path`; the clip's `name`, unique within the
    corpus; its `place`, the path that a speaker pattern is matched with, or None where its audio had no name; its
    label and its speaker as the table has them; all its `cells`. `absent` says why its audio cannot be had, with the
    remedy; `inside` that its audio is no file yet; `piece` is the part of the file that is meant, where it is not all
    of it."""

    where: str
    path: Path
    name: str
    place: str | None
    label: Any
    speaker: Any
    cells: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    absent: str | None = None
    inside: bool = False
    piece: Piece | None = None


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
            one speaker, `UNNAMED`. Anybody may be among them, so that a split with them in one part and clips of the
            same corpus in another is told to be speaker-dependent.

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
        if not self.corpus_name.strip() or not self.corpus_name.isprintable() or set(self.corpus_name) & set(":/|`<"):
            raise UserError(
                f"corpus.corpus_name: {self.corpus_name!r} cannot stand before ids and speakers (NAME/id, "
                "NAME:speaker) and in tables; give a name without colons, slashes, |, `, < and line breaks"
            )
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
        lower = (word or "").lower()
        for spelled in (word, lower) if lower in ("true", "false") else (word,):
            if spelled in (self.label_map or {}):
                return self.label_map[spelled]
        return lower if lower in EMOTIONS else SYNONYMS.get(lower)

    def speaker(self, row: Row) -> str | None:
        """Who speaks, without the corpus's prefix; None where the row is to be left out.

        Raises:
            UserError: where it is not told, and no option says what to do; for a list or mapping.
        """
        if self.speaker_pattern is not None:
            found = re.search(self.speaker_pattern, row.place) if row.place else None
            if found:
                named = found.groupdict().get("speaker") or (found.group(1) if found.re.groups else found.group())
                if named and named != UNNAMED:
                    return named
            searched = row.place or "audio without a file name"
            told = f"corpus.speaker_pattern ({self.speaker_pattern}) finds no speaker in {searched}"
        elif isinstance(row.speaker, list | tuple | dict):
            raise UserError(
                f"{row.where}: its speaker is {row.speaker}, where one name should be; name a column with one "
                "(corpus.speaker), or give a corpus.speaker_pattern"
            )
        else:
            named = text(row.speaker)
            if (named or "").lower() not in UNTOLD:
                return named
            said = f"{named!r} as its speaker says that nobody knows" if named else "it is not told"
            told = f"{said} who speaks, and a speaker-independent split needs to know"
        if self.no_speaker == "error":
            raise UserError(
                f"{row.where}: {told}; name the column (corpus.speaker), give a corpus.speaker_pattern that finds the "
                "speaker in the path, or set corpus.no_speaker: skip, or one (all as one speaker)"
            )
        return UNNAMED if self.no_speaker == "one" else None

    def clip(self, row: Row, emotion: str, speaker: str) -> Clip:
        cells = {name: row.cells.get(self.column(name)) for name in KNOWN}
        texts = {name: text(cell) for name, cell in cells.items()}
        return Clip(
            path=str(row.path),
            emotion=emotion,
            word=row.label,
            # What ser_hf has published of a corpus carries its name already.
            speaker=f"{self.corpus_name}:{speaker.removeprefix(f'{self.corpus_name}:')}",
            id=f"{self.corpus_name}/{(texts['id'] or row.name).removeprefix(f'{self.corpus_name}/')}",
            sex=SEXES.get((texts["sex"] or "").lower(), texts["sex"]),
            age=whole(cells["age"]),
            take=whole(cells["take"]),
            language=texts["language"] or self.language,
            sentence=texts["sentence"],
            intensity=texts["intensity"],
            extra=row.extra,
        )


def clips_of(
    rows: Iterable[Row], reading: Reading, on_unknown: Literal["error", "skip"]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """The clips, and what was left out with the reason. Parts of recordings are cut out when all labels are known.

    A column of ages or takes with a cell that is no whole number is carried along as ``own_age``, as the text that it
    is, and a warning tells it; the age itself is null in those rows.

    Raises:
        UserError: naming the row, for a label that is no emotion, audio that cannot be had (both may be skipped), a
            speaker that is not told (`Reading.no_speaker`), or a Git LFS pointer.
    """
    clips, skipped, pieces = [], [], {}
    for row in _with_own_numbers(list(rows), reading):
        row = dataclasses.replace(row, label=text(row.label))
        emotion = reading.emotion(row.label)
        if emotion is None or row.absent:
            if on_unknown == "error":
                raise _unknown_label(row) if emotion is None else UserError(f"{row.where}: {row.absent}")
            said = f"label {row.label!r} is not an emotion" if row.label else "no label"
            skipped.append((row.where, said if emotion is None else "no such file"))
            continue
        if not row.inside and is_lfs_pointer(row.path):
            raise UserError(
                f"{row.where}: {row.path} is a Git LFS pointer, not audio; run `git lfs pull` in that clone"
            )
        speaker = reading.speaker(row)
        if speaker is None:
            skipped.append((row.where, "its speaker is not told"))
            continue
        if row.piece is not None:
            pieces[len(clips)] = row.piece
        clips.append(reading.clip(row, emotion, speaker))
    for i, path in zip(pieces, cut(list(pieces.values())) if pieces else (), strict=True):
        clips[i] = dataclasses.replace(clips[i], path=str(path))
    return clips, skipped


def _with_own_numbers(rows: list[Row], reading: Reading) -> list[Row]:
    for name in _NUMBERS:
        column = reading.column(name)
        words = [text(row.cells.get(column)) for row in rows]
        odd = next((i for i, word in enumerate(words) if word is not None and whole(word) is None), None)
        if odd is not None:
            logger.warning(
                "%s: %s %r is no whole number; the column is kept as own_%s, and %s is empty there (corpus.columns "
                "says which column is meant)",
                *(rows[odd].where, column, words[odd], name, name),
            )
            rows = [
                dataclasses.replace(row, extra={f"own_{name}": word} | dict(row.extra))
                for row, word in zip(rows, words, strict=True)
            ]
    return rows


def _unknown_label(row: Row) -> UserError:
    if not row.label:
        return UserError(f"{row.where}: no label; fill it in, or set corpus.on_unknown: skip")
    nearest = difflib.get_close_matches(row.label.lower(), EMOTIONS, n=1, cutoff=0.0)[0]
    return UserError(
        f"{row.where}: {row.label!r} is not an emotion known here; say which it is with corpus.label_map, such "
        f"as {{{row.label}: {nearest}}}, or set corpus.on_unknown: skip"
    )
