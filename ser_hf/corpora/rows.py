"""Rows of tables, the settings of corpora that are tables, and the parser from rows to clips."""

import dataclasses
import functools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..utils.cells import means_missing, text
from ..utils.errors import UserError
from ..utils.find_file import FileFinder
from ..utils.names import compared, composed, shown
from ..utils.recordings import is_lfs_pointer
from ..utils.segments import Segment
from .columns import integer
from .languages import language_code
from .metadata import Metadata, excludes_commercial_use
from .row_labels import LabelReader, UnknownLabels
from .schema import EMOTIONS, NO_LABEL, UNNAMED, Clip, Listing, SkipKind
from .settings import CorpusSettings, refuse
from .speakers import one_spelling_each

# Columns with a defined meaning, besides audio, label and speaker.
STANDARD_COLUMNS = ("id", "sex", "age", "language", "sentence", "intensity", "take")
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
NoSpeaker = Literal["error", "skip", "one"]
_LONGEST_WORD = 40  # characters of a word in a message


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        where: the file and the line, for messages.
        path: the path of the audio.
        name: the name of the clip, which is unique in the corpus.
        searched_path: the path in which a speaker pattern is searched; None if the audio has no
            name.
        label: the label as the table has it.
        speaker: the speaker as the table has it.
        cells: column -> value, for all columns.
        extra: column -> value, for the further columns to keep.
        missing: why the audio is missing, with the remedy; None if the audio exists.
        label_of_folder: whether the label is the name of a folder.
        label_hint: a remedy for an unknown label of this row in place of the usual ones.
        segment: the part of the recording; None if the clip is the whole recording.
    """

    where: str
    path: Path
    name: str
    searched_path: str | None
    label: Any
    speaker: Any
    cells: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    missing: str | None = None
    label_of_folder: bool = False
    label_hint: str | None = None
    segment: Segment | None = None


def _with_text_keys(value: Any) -> Any:
    """Convert the keys of a mapping to text, because YAML reads the labels 0 and true otherwise.

    The values, which are emotions or custom labels, get their composed form.
    """
    if not isinstance(value, Mapping):
        return value
    converted = {}
    for key, item in value.items():
        name = key if isinstance(key, str) else text(key)
        converted[name] = composed(item) if isinstance(item, str) else item
    return converted


class DescribedSettings(CorpusSettings):
    """Settings of a corpus that the user describes: its labels, speakers and license."""

    label_map: Annotated[
        dict[str, str] | None,
        BeforeValidator(_with_text_keys),
        Field(description="label of the table: its canonical emotion or custom label"),
    ] = None
    speaker_pattern: Annotated[
        str | None,
        Field(
            description="regular expression searched in the path of a clip; the speaker is the "
            "group `speaker`, else the first group, else the match"
        ),
    ] = None
    no_speaker: Annotated[
        NoSpeaker,
        Field(description="rows without a speaker: an error, left out, or all of one speaker"),
    ] = "error"
    language: Annotated[
        str | None, Field(description="BCP 47 code or English name, for rows without a language")
    ] = None
    title: Annotated[str | None, Field(description="the name on cards and pages")] = None
    license: Annotated[str | None, Field(description="the license on the card")] = None
    citation: Annotated[str | None, Field(description="the citation on the card")] = None
    acted: Annotated[bool, Field(description="whether the emotions are acted")] = False

    @property
    def valid_labels(self) -> tuple[str, ...]:
        """The labels that a clip may have: the canonical emotions and the custom labels."""
        return EMOTIONS

    def metadata(self) -> Metadata:
        """The metadata of the corpus, as the user describes them."""
        return Metadata(
            name=self.name,
            title=self.title or self.name,
            license=self.license,
            language=self.language,
            url=None,
            citation=self.citation,
            acted=self.acted,
            non_commercial=excludes_commercial_use(self.license),
        )

    @field_validator("language")
    @classmethod
    def _check_language(cls, language: str | None) -> str | None:
        return None if language is None else language_code(language)

    @field_validator("speaker_pattern")
    @classmethod
    def _check_speaker_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _check_label_map(self) -> Self:
        for label, emotion in (self.label_map or {}).items():
            if emotion not in self.valid_labels:
                message = (
                    f"unknown emotion {emotion!r}; choose one of {', '.join(self.valid_labels)}, "
                    "or list it in corpus.custom_labels"
                )
                refuse(emotion, message, "label_map", label)
        return self


class TableSettings(DescribedSettings):
    """Settings that every corpus has that is a table or is read like a table."""

    label: Annotated[
        str | None,
        Field(
            description="the column of the labels; null if there are only ratings: all are other"
        ),
    ] = "label"
    speaker: Annotated[str, Field(description="the column of the speakers")] = "speaker"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")]
    columns: Annotated[
        dict[str, str] | None,
        Field(
            description="id, sex, age, language, sentence, intensity or take: the name of that "
            "column in the table"
        ),
    ] = None
    custom_labels: Annotated[
        list[str] | None, Field(description="valid labels besides the canonical emotions")
    ] = None
    url: Annotated[str | None, Field(description="the page of the corpus, for the card")] = None

    @property
    def valid_labels(self) -> tuple[str, ...]:
        return (*EMOTIONS, *(self.custom_labels or ()))

    def metadata(self) -> Metadata:
        title = self.title or self.corpus_name
        return dataclasses.replace(super().metadata(), title=title, url=self.url)

    @field_validator("corpus_name")
    @classmethod
    def _check_corpus_name(cls, name: str) -> str:
        return checked_prefix(name)

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        for name in columns or {}:
            if name not in STANDARD_COLUMNS:
                message = f"choose one of {', '.join(STANDARD_COLUMNS)}; for labels, corpus.label"
                refuse(name, message, name)
        return columns

    @field_validator("custom_labels")
    @classmethod
    def _check_custom_labels(cls, labels: list[str] | None) -> list[str] | None:
        labels = None if labels is None else [composed(label) for label in labels]
        for label in labels or ():
            if sum(compared(label) == compared(other) for other in labels) > 1:
                raise ValueError(f"{label!r} is there twice, in the same or another spelling")
            if not label.isidentifier() or label != label.lower() or label in EMOTIONS:
                raise ValueError(
                    f"{label!r}: give words of lower-case letters, digits and _ that are no "
                    "canonical emotions"
                )
        return labels


def checked_prefix(name: str) -> str:
    """Return the name if it can be the prefix of ids and speakers; otherwise raise a ValueError."""
    if not name.strip() or not name.isprintable() or set(name) & set(":/|`<"):
        raise ValueError(
            f"{name!r} cannot be the prefix of ids and speakers; give a name "
            "without colons, slashes, |, `, < and line breaks"
        )
    return name


@dataclasses.dataclass(frozen=True)
class RowParser:
    """Converts rows of a table to clips.

    Attributes:
        corpus_name: the name of the corpus, which is also the prefix of ids and speakers.
        settings: the labels, the speakers and the columns, as the user describes them.
    """

    corpus_name: str
    settings: DescribedSettings

    def column(self, name: str) -> str:
        """The name that one of `STANDARD_COLUMNS` has in the table."""
        if not isinstance(self.settings, TableSettings):
            return name
        return (self.settings.columns or {}).get(name, name)

    @functools.cached_property
    def labels(self) -> LabelReader:
        """The reader of the labels."""
        return LabelReader(self.settings.label_map or {}, self.settings.valid_labels)

    def emotion(self, label: str | None) -> str | None:
        """The canonical emotion or custom label for a label of the table; None if it is unknown."""
        return self.labels.emotion(label)

    def speaker(self, row: Row) -> str | None:
        """The speaker of a row as the table or the path has it, without the corpus's prefix.

        The result is None, an empty text or one of the words for a missing value
        (`ser_hf.utils.cells.MISSING_WORDS`) if the speaker is unknown.

        Raises:
            UserError: if the cell of the speaker is a list or mapping.
        """
        if self.settings.speaker_pattern is not None:
            return self._speaker_in_path(row)
        if isinstance(row.speaker, list | tuple | dict):
            raise UserError(
                f"{row.where}: expected one speaker name (corpus.speaker), got {row.speaker}"
            )
        speaker = text(row.speaker)
        # Tables that ser_hf has written already have the prefix.
        return None if speaker is None else speaker.removeprefix(f"{self.corpus_name}:")

    def _speaker_in_path(self, row: Row) -> str | None:
        """The speaker that the speaker pattern finds in the path of a row; None without a match."""
        match = re.search(self.settings.speaker_pattern, composed(row.searched_path or ""))
        if match is None:
            return None
        speaker = match.groupdict().get("speaker")
        if not speaker:
            speaker = match.group(1) if match.re.groups else match.group()
        return speaker

    def clip(self, row: Row, emotion: str, speaker: str, words: Counter[str]) -> Clip:
        """Make the clip of a row.

        If `age` or `take` is not an integer, its text is kept in ``own_age`` or ``own_take``.

        Args:
            words: the words that are read as missing are counted here.
        """
        texts = {}
        for name in STANDARD_COLUMNS:
            column = self.column(name)
            word = text(row.cells.get(column))
            if word is not None and means_missing(word):
                words[f"{column} {word[:_LONGEST_WORD]!r}"] += 1
                word = None
            texts[name] = word
        age = integer(texts["age"])
        take = integer(texts["take"])
        extra = {}
        if texts["age"] and age is None:
            extra["own_age"] = texts["age"]
        if texts["take"] and take is None:
            extra["own_take"] = texts["take"]

        name = row.name if row.segment is None else f"{row.name}@{row.segment.name}"
        clip_id = (texts["id"] or name).removeprefix(f"{self.corpus_name}/")
        return Clip(
            path=str(row.path),
            emotion=emotion,
            original_label=row.label,
            speaker=f"{self.corpus_name}:{speaker}",
            id=f"{self.corpus_name}/{clip_id}",
            sex=SEXES.get((texts["sex"] or "").lower(), texts["sex"]),
            age=age,
            take=take,
            language=texts["language"] or self.settings.language,
            sentence=texts["sentence"],
            intensity=texts["intensity"],
            extra=extra | dict(row.extra),
            start=None if row.segment is None else row.segment.start,
            end=None if row.segment is None else row.segment.end,
        )

    def listing(
        self, rows: Sequence[Row], notes: Sequence[str] = (), accounts: Sequence[str] = ()
    ) -> Listing:
        """Convert the rows to clips, and list the rows that are left out with the reason.

        Speakers whose names differ in their spelling only (`ser_hf.utils.names.compared`) are one
        speaker, with the usual spelling; a note names the others. With `no_speaker: one` all rows
        without a speaker get the speaker `UNNAMED`. Any speaker of the corpus may be among them. A
        split that has them on one side, and other clips of the corpus on the other side, therefore
        counts as speaker-dependent.

        Args:
            notes: sentences about the tables.
            accounts: the lines of the tables by their use.

        Raises:
            UserError: for a row with an unknown label, missing audio or an unknown speaker, unless
                the settings skip such rows; the message names the row.
        """
        read_rows = [self._read(row) for row in rows]
        self._refuse(read_rows)
        usual_speaker, speaker_notes = one_spelling_each(
            [read.speaker for read in read_rows if read.problem is None]
        )

        self._refuse_repeated_ids(read_rows)

        clips = []
        skipped = []
        kind_of_reason = {}
        words: Counter[str] = Counter()
        for read in read_rows:
            if read.is_left_out(self.settings.no_speaker):
                skipped.append((read.row.where, read.reason))
                kind_of_reason[read.reason] = read.problem
                continue
            speaker = UNNAMED
            if read.problem is None:
                speaker = usual_speaker.get(read.speaker, read.speaker)
            clips.append(self.clip(read.row, read.emotion, speaker, words))

        for word, count in Counter(unknown_words(read_rows)).items():
            words[f"speaker {word!r}"] += count
        if words:
            listed = ", ".join(f"{word} ({count})" for word, count in words.most_common())
            speaker_notes.append(f"{self.corpus_name}: read as missing: {listed}.")
        return Listing(
            corpus=self.corpus_name,
            clips=clips,
            skipped=skipped,
            kind_of_reason=kind_of_reason,
            notes=(*notes, *speaker_notes),
            accounts=accounts,
        )

    def _read(self, row: Row) -> "_ReadRow":
        """Read the label and the speaker of a row, and find what is wrong with it."""
        row = dataclasses.replace(row, label=text(row.label))
        emotion = self.emotion(row.label)
        if emotion is None and self.settings.partial and means_missing(row.label):
            row = dataclasses.replace(row, label=None)
            emotion = NO_LABEL
        if emotion is None:
            return _ReadRow(row, None, None, "unknown label")
        if row.missing:
            return _ReadRow(row, emotion, None, "absent")
        speaker = self.speaker(row)
        problem = "unknown speaker" if means_missing(speaker) else None
        return _ReadRow(row, emotion, speaker, problem)

    def _refuse(self, read_rows: Sequence["_ReadRow"]) -> None:
        """Raise a UserError for the first row with a problem that the settings do not skip."""
        refused = set()
        if self.settings.on_unknown == "error":
            refused |= {"absent", "unknown label"}
        if self.settings.no_speaker == "error":
            refused.add("unknown speaker")
        first = next((read for read in read_rows if read.problem in refused), None)
        if first is None:
            return
        alike = [read for read in read_rows if read.problem == first.problem]
        if first.problem == "unknown label":
            labels = [read.row.label for read in alike if not means_missing(read.row.label)]
            unknown = UnknownLabels.of(labels, first.row.label_of_folder)
            message = unknown.message(first.row.label, first.row.label_hint)
        elif first.problem == "absent":
            count = f" ({len(alike):,} rows have no audio)" if len(alike) > 1 else ""
            message = f"{first.row.missing}{count}"
        else:
            message = self._no_speaker(first.row, alike)
        raise UserError(f"{first.row.where}: {message}")

    def _refuse_repeated_ids(self, read_rows: Sequence["_ReadRow"]) -> None:
        """Raise a UserError if the column of ids has one value for several clips."""
        column = self.column("id")
        first_row: dict[str, Row] = {}
        repeated = []
        for read in read_rows:
            clip_id = text(read.row.cells.get(column))
            if means_missing(clip_id) or read.is_left_out(self.settings.no_speaker):
                continue
            if clip_id in first_row:
                repeated.append(read.row)
            first_row.setdefault(clip_id, read.row)
        if not repeated:
            return
        row = repeated[0]
        clip_id = text(row.cells[column])
        count = f" ({len(repeated):,} rows repeat one)" if len(repeated) > 1 else ""
        raise UserError(
            f"{row.where}: the column {column!r} has {shown(clip_id)}, as in "
            f"{first_row[clip_id].where}{count}; an id belongs to one clip: correct the column, "
            "or rename it; without ids, the path of a clip is its id"
        )

    def _no_speaker(self, row: Row, alike: Sequence["_ReadRow"]) -> str:
        """The message for a row without a speaker, with the remedies.

        Args:
            alike: all rows without a speaker.
        """
        if self.settings.speaker_pattern is not None:
            where = row.searched_path or "audio without a file name"
            cause = f"corpus.speaker_pattern finds no speaker in {where}"
        else:
            words = list(dict.fromkeys(unknown_words(alike)))
            cause = "no speaker is given, and a speaker-independent split needs one"
            if words:
                read = "is read" if len(words) == 1 else "are read"
                rows = "1 row" if len(alike) == 1 else f"{len(alike):,} rows"
                cause = f"no speaker in {rows}: {', '.join(map(repr, words))} {read} as missing"
        return (
            f"{cause}; name the column (corpus.speaker), give a "
            "corpus.speaker_pattern that finds the speaker in the path, or set "
            "corpus.no_speaker: skip, or one (all as one speaker)"
        )


@dataclasses.dataclass(frozen=True)
class _ReadRow:
    """A row with its emotion and its speaker, and what is wrong with it."""

    row: Row
    emotion: str | None
    speaker: str | None
    problem: SkipKind | None

    def is_left_out(self, no_speaker: NoSpeaker) -> bool:
        """Whether the row is no clip."""
        if self.problem == "unknown speaker":
            return no_speaker != "one"
        return self.problem is not None

    @property
    def reason(self) -> str:
        """The reason to leave the row out, for lists of such rows."""
        if self.problem == "unknown label":
            if means_missing(self.row.label):
                return "no label"
            return f"label {self.row.label!r} is not an emotion"
        return "no such file" if self.problem == "absent" else "unknown speaker"


def unknown_words(read_rows: Sequence[_ReadRow]) -> list[str]:
    """The words in the cells of speakers that are read as missing, without empty cells."""
    words = []
    for read in read_rows:
        if read.problem == "unknown speaker" and read.speaker:
            words.append(read.speaker[:_LONGEST_WORD])
    return words


def absent(path: Path, finder: FileFinder | None = None) -> str | None:
    """Why the audio at a path is missing, for `Row.missing`; None if it exists.

    Args:
        finder: finds a file in the folder that has the same name in another spelling.
    """
    if not os.path.isfile(path):  # False also for a path that is too long, without an error
        similar = None if finder is None else finder.similar(path)
        remedy = "correct the path"
        if similar is not None:
            remedy = f"there is {shown(similar)}; write the name in the same way"
        return f"no file {path}; {remedy}, or set corpus.on_unknown: skip"
    if is_lfs_pointer(path):
        return f"{path} is a Git LFS pointer, not audio; run `git lfs pull` in that clone"
    return None


def relative(path: Path, folder: Path) -> str:
    """The path relative to `folder` if it is below this folder, with forward slashes."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
