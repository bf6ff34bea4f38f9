"""Rows of tables, the settings of corpora that are tables, and the parser from rows to clips."""

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..utils.cells import text
from ..utils.errors import UserError
from ..utils.recordings import is_lfs_pointer
from .columns import integer
from .metadata import Metadata, excludes_commercial_use
from .schema import EMOTIONS, SYNONYMS, UNNAMED, Clip, Listing
from .settings import CorpusSettings, refuse

# Columns with a defined meaning, besides audio, label and speaker.
STANDARD_COLUMNS = ("id", "sex", "age", "language", "sentence", "intensity", "take")
NO_LABEL = "other"  # the label of every row of a table that has only ratings
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
NoSpeaker = Literal["error", "skip", "one"]
# Cells for an unknown speaker, in lower case: those of EmoBox, and the text that pandas writes for
# an empty cell.
_UNKNOWN_SPEAKER = {"", "unknown", "none", "nan", "null", "<na>", "-1"}


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


def _with_text_keys(value: Any) -> Any:
    """Convert the keys of a mapping to text, because YAML reads the labels 0 and true otherwise."""
    if not isinstance(value, Mapping):
        return value
    return {key if isinstance(key, str) else text(key): item for key, item in value.items()}


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
        str | None, Field(description="ISO 639 code for rows without a language")
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
        for label in labels or ():
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

    def emotion(self, label: str | None) -> str | None:
        """The canonical emotion or custom label for a label of the table; None if it is unknown."""
        label_map = self.settings.label_map or {}
        if label in label_map:
            return label_map[label]
        lower = (label or "").lower()
        return lower if lower in self.settings.valid_labels else SYNONYMS.get(lower)

    def speaker(self, row: Row) -> str | None:
        """The speaker of a row without the corpus's prefix; None to leave the row out.

        With `no_speaker: one` all rows without a speaker get the speaker `UNNAMED`. Any speaker of
        the corpus may be among them. A split that has them on one side, and other clips of the
        corpus on the other side, therefore counts as speaker-dependent.

        Raises:
            UserError: if the speaker is unknown and `no_speaker` is ``error``, or if the cell of
                the speaker is a list or mapping.
        """
        if self.settings.speaker_pattern is not None:
            speaker = self._speaker_in_path(row)
            where = row.searched_path or "audio without a file name"
            cause = f"corpus.speaker_pattern finds no speaker in {where}"
        else:
            speaker = _speaker_in_cell(row)
            cause = "no speaker is given, and a speaker-independent split needs one"
        if speaker is not None:
            return speaker
        if self.settings.no_speaker == "error":
            raise UserError(
                f"{row.where}: {cause}; name the column (corpus.speaker), give a "
                "corpus.speaker_pattern that finds the speaker in the path, or set "
                "corpus.no_speaker: skip, or one (all as one speaker)"
            )
        return UNNAMED if self.settings.no_speaker == "one" else None

    def _speaker_in_path(self, row: Row) -> str | None:
        """The speaker that the speaker pattern finds in the path of a row; None without a match."""
        match = re.search(self.settings.speaker_pattern, row.searched_path or "")
        if match is None:
            return None
        speaker = match.groupdict().get("speaker")
        if not speaker:
            speaker = match.group(1) if match.re.groups else match.group()
        return speaker if speaker and speaker != UNNAMED else None

    def clip(self, row: Row, emotion: str, speaker: str) -> Clip:
        """Make the clip of a row.

        If `age` or `take` is not an integer, its text is kept in ``own_age`` or ``own_take``.
        """
        cells = {name: row.cells.get(self.column(name)) for name in STANDARD_COLUMNS}
        texts = {name: text(cell) for name, cell in cells.items()}
        age = integer(cells["age"])
        take = integer(cells["take"])
        extra = {}
        if texts["age"] and age is None:
            extra["own_age"] = texts["age"]
        if texts["take"] and take is None:
            extra["own_take"] = texts["take"]

        # Tables that ser_hf has written already have the prefix.
        speaker = speaker.removeprefix(f"{self.corpus_name}:")
        clip_id = (texts["id"] or row.name).removeprefix(f"{self.corpus_name}/")
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
        )

    def listing(self, rows: Sequence[Row]) -> Listing:
        """Convert the rows to clips, and list the rows that are left out with the reason.

        Raises:
            UserError: for a row with an unknown label, missing audio or an unknown speaker, unless
                the settings skip such rows; the message names the row.
        """
        clips = []
        skipped = []
        for row in rows:
            row = dataclasses.replace(row, label=text(row.label))
            emotion = self.emotion(row.label)
            reason = self._reason_to_skip(row, emotion)
            if reason is None:
                speaker = self.speaker(row)
                reason = "unknown speaker" if speaker is None else None
            if reason is None:
                clips.append(self.clip(row, emotion, speaker))
            else:
                skipped.append((row.where, reason))
        return Listing(self.corpus_name, clips, skipped)

    def _reason_to_skip(self, row: Row, emotion: str | None) -> str | None:
        """The reason to leave a row out, or None to keep it.

        Raises:
            UserError: if there is a reason and the settings do not skip such rows.
        """
        if emotion is None:
            problem = _unknown_label(row.label)
            reason = f"label {row.label!r} is not an emotion" if row.label else "no label"
        elif row.missing:
            problem = row.missing
            reason = "no such file"
        else:
            return None
        if self.settings.on_unknown == "error":
            raise UserError(f"{row.where}: {problem}")
        return reason


def _speaker_in_cell(row: Row) -> str | None:
    """The speaker in the column of speakers; None if the cell is empty or means unknown."""
    if isinstance(row.speaker, list | tuple | dict):
        raise UserError(
            f"{row.where}: expected one speaker name (corpus.speaker), got {row.speaker}"
        )
    speaker = text(row.speaker)
    return None if (speaker or "").lower() in _UNKNOWN_SPEAKER else speaker


def absent(path: Path) -> str | None:
    """Why the audio at a path is missing, for `Row.missing`; None if it exists."""
    if not os.path.isfile(path):  # False also for a path that is too long, without an error
        return f"no file {path}; correct the path, or set corpus.on_unknown: skip"
    if is_lfs_pointer(path):
        return f"{path} is a Git LFS pointer, not audio; run `git lfs pull` in that clone"
    return None


def relative(path: Path, folder: Path) -> str:
    """The path relative to `folder` if it is below this folder, with forward slashes."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _unknown_label(label: str | None) -> str:
    """The message for a label that is not an emotion, with the remedies."""
    if not label:
        return "no label; fill it in, or set corpus.on_unknown: skip"
    label = label[:100]
    nearest = difflib.get_close_matches(label.lower(), EMOTIONS, n=1, cutoff=0.0)[0]
    return (
        f"{label!r} is not a known emotion; map it with corpus.label_map, such as "
        f"{{{label}: {nearest}}}, list it in corpus.custom_labels, "
        "or set corpus.on_unknown: skip"
    )
