"""A user's table: one row per clip, in a CSV or TSV file (corpus name `csv`).

`corpus.root` is the file: UTF-8, a header line, separated by commas, semicolons or tabs. Three
columns are required, the path of the audio, its label and its speaker; `corpus.path`,
`corpus.label` and `corpus.speaker` name them. The columns sex, age, language, sentence, intensity
and take are known by name; `id` names the clip (by default its path does); every other column is
kept, as integers, numbers or text. A column with a reserved name (`duration`) is renamed to
``own_duration``. `corpus.speaker_pattern` can find the speaker in the path instead.

path,label,speaker,sex,session calls/0001.wav,anger,anna,female,monday

Labels are the canonical emotions, the common words of `SYNONYMS` (in any case), or the words of
`corpus.label_map`. License and citation are options, which cards and reports quote.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..utils.cells import is_empty, text
from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.recordings import is_lfs_pointer
from ..utils.yaml import read_text
from .schema import EMOTIONS, RESERVED, UNNAMED, Clip, Listing
from .settings import AnyPath, CorpusSettings, refuse

# Spellings of an unknown speaker, in lower case: EmoBox's words, and what pandas writes for an
# empty cell.
_UNKNOWN_SPEAKER = {"", "unknown", "none", "nan", "null", "<na>", "-1"}
# not 007, which is a name; 64 bits hold 18 digits
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_INT64_LIMIT = 2**63

# Usual spellings of the canonical emotions.
_SPELLINGS = {
    "angry": "anger ang",
    "disgust": "disgusted dis",
    "fear": "fearful fea",
    "happy": "happiness hap joy",
    "neutral": "neu",
    "sad": "sadness",
    "surprise": "surprised sur",
    "calm": "calmness",
    "boredom": "bored",
    "excited": "excitement exc",
    "frustrated": "frustration fru",
    "contempt": "contemptuous",
    "other": "oth",
}
SYNONYMS = {word: emotion for emotion, words in _SPELLINGS.items() for word in words.split()}
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
# Columns with a meaning, besides audio, label and speaker.
KNOWN = ("id", "sex", "age", "language", "sentence", "intensity", "take")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "devel": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
NoSpeaker = Literal["error", "skip", "one"]
NO_LABEL = "other"  # of tables that have ratings only


def integer(cell: Any) -> int | None:
    """The integer in a cell (23, 23.0 or text of these); None for anything else."""
    found = re.fullmatch(r"([0-9]{1,9})(\.0+)?", text(cell) or "", re.ASCII)
    return int(found[1]) if found else None


def split_name(word: str) -> str | None:
    """The split (train, validation, test) that a word means, in any case; None for another word."""
    return SPLIT_WORDS.get(word.strip().lower())


def extra_columns(
    cells: Sequence[Mapping[str, Any]], used: Iterable[str], guess: bool = True
) -> list[dict[str, Any]]:
    """Collect the columns that are not `used` and have a plain value in some row, as a mapping for
    each row.

    A column has one type for all rows: bool, int, float or str. `session` and integers beyond 64
    bits are text. Lists, mappings and bytes are left out; a column with a reserved name is renamed
    to ``own_NAME``.

    Args:
        guess: whether to read numbers from text, as in a CSV file.
    """
    kept: list[dict[str, Any]] = [{} for _ in cells]
    names = {name for row in cells for name in row}
    used = set(used)
    columns: dict[str, dict[int, Any]] = {}
    for number, row in enumerate(cells):
        for name, value in row.items():
            if name not in used and (plain := _plain(value)) is not None:
                columns.setdefault(name, {})[number] = plain
    for name, filled in columns.items():
        kind = str if name == "session" else _common_type(filled.values(), guess)
        new_name = f"own_{name}" if name in RESERVED else name
        while new_name != name and new_name in names:
            new_name = f"own_{new_name}"
        for number, value in filled.items():
            kept[number][new_name] = kind(value)
    return kept


def with_splits(
    splits: Sequence[str | None], extra: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Add the column `split`, if files or folders name splits; a `split` column of the table
    becomes ``own_split``.
    """
    if not any(splits):
        return [dict(row) for row in extra]
    renamed = (
        {"own_split" if name == "split" else name: value for name, value in row.items()}
        for row in extra
    )
    return [{"split": split} | row for split, row in zip(splits, renamed, strict=True)]


def _plain(value: Any) -> Any:
    if is_empty(value) or isinstance(value, list | tuple | dict | bytes):
        return None
    beyond = isinstance(value, int) and not -_INT64_LIMIT <= value < _INT64_LIMIT
    return str(value) if beyond or not isinstance(value, bool | int | float | str) else value


def _common_type(values: Collection[Any], guess: bool) -> type:
    types = {type(value) for value in values}
    if types == {bool}:
        return bool
    if types <= {int, float}:
        return int if types == {int} else float
    if guess and types == {str}:
        grammars = {int: _INTEGER, float: _NUMBER}
        return next(
            (kind for kind, grammar in grammars.items() if all(map(grammar.fullmatch, values))), str
        )
    return str


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        where: file and line, for messages.
        path: of the audio.
        name: of the clip, unique in the corpus.
        searched_path: the path that a speaker pattern is matched with; None if the audio has no
            name.
        label: as the table has it.
        speaker: as the table has it.
        cells: all columns.
        extra: the columns to keep besides those with a meaning.
        missing: why there is no audio, with the remedy; None if there is some.
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
    """A mapping with its keys as text: YAML reads the labels 0 and true as number and boolean."""
    if not isinstance(value, Mapping):
        return value
    return {key if isinstance(key, str) else text(key): item for key, item in value.items()}


class DescribedSettings(CorpusSettings):
    """Keys of a corpus that the user describes: words of its labels, speakers, and license."""

    label_map: Annotated[
        dict[str, str] | None,
        BeforeValidator(_with_text_keys),
        Field(description="words of the table: canonical emotions or custom labels"),
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
        str | None, Field(description="ISO 639 code, of rows that name no language")
    ] = None
    title: Annotated[str | None, Field(description="the name on cards and pages")] = None
    license: Annotated[str | None, Field(description="the license on the card")] = None
    citation: Annotated[str | None, Field(description="the citation on the card")] = None
    acted: Annotated[bool, Field(description="whether the emotions are acted")] = False

    @property
    def words(self) -> tuple[str, ...]:
        """The canonical emotions and custom labels."""
        return EMOTIONS

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
        for word, emotion in (self.label_map or {}).items():
            if emotion not in self.words:
                message = (
                    f"unknown emotion {emotion!r}; choose one of {', '.join(self.words)}, "
                    "or list it in corpus.custom_labels"
                )
                refuse(emotion, message, "label_map", word)
        return self


class TableSettings(DescribedSettings):
    """Keys of every corpus that is a table, or read like one."""

    label: Annotated[
        str | None,
        Field(description="the column of the labels; null, for ratings: every clip is of other"),
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
        list[str] | None, Field(description="labels beside the canonical emotions")
    ] = None
    url: Annotated[str | None, Field(description="the page of the corpus, for the card")] = None

    @property
    def words(self) -> tuple[str, ...]:
        return (*EMOTIONS, *(self.custom_labels or ()))

    @field_validator("corpus_name")
    @classmethod
    def _check_corpus_name(cls, name: str) -> str:
        return checked_prefix(name)

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        for name in columns or {}:
            if name not in KNOWN:
                message = f"choose one of {', '.join(KNOWN)}; for labels, corpus.label"
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
    """The name, if it can be the prefix of ids and speakers; a ValueError otherwise."""
    if not name.strip() or not name.isprintable() or set(name) & set(":/|`<"):
        raise ValueError(
            f"{name!r} cannot be the prefix of ids and speakers; give a name "
            "without colons, slashes, |, `, < and line breaks"
        )
    return name


@dataclasses.dataclass(frozen=True)
class RowParser:
    """Turns rows into clips.

    Attributes:
        corpus_name: prefix of ids and speakers, and the rows' `corpus`.
        settings: the labels, the speakers and the columns, as the user describes them.
    """

    corpus_name: str
    settings: DescribedSettings

    def column(self, name: str) -> str:
        """The table's name for one of `KNOWN`."""
        if not isinstance(self.settings, TableSettings):
            return name
        return (self.settings.columns or {}).get(name, name)

    def emotion(self, word: str | None) -> str | None:
        """The canonical emotion or custom label of a table's word, or None."""
        label_map = self.settings.label_map or {}
        if word in label_map:
            return label_map[word]
        lower = (word or "").lower()
        return lower if lower in self.settings.words else SYNONYMS.get(lower)

    def speaker(self, row: Row) -> str | None:
        """The speaker without the corpus's prefix; None to leave the row out.

        With `no_speaker: one` the speaker of all rows without a speaker is `UNNAMED`. A split with
        some of them on one side and clips of the corpus on the other is speaker-dependent.

        Raises:
            UserError: for an unknown speaker unless `no_speaker` allows it, and for a list or
                mapping.
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
        match = re.search(self.settings.speaker_pattern, row.searched_path or "")
        if match is None:
            return None
        speaker = match.groupdict().get("speaker")
        if not speaker:
            speaker = match.group(1) if match.re.groups else match.group()
        return speaker if speaker and speaker != UNNAMED else None

    def clip(self, row: Row, emotion: str, speaker: str) -> Clip:
        """The clip of a row. A text in the columns age and take is kept in ``own_age`` and
        ``own_take``.
        """
        cells = {name: row.cells.get(self.column(name)) for name in KNOWN}
        texts = {name: text(cell) for name, cell in cells.items()}
        age = integer(cells["age"])
        take = integer(cells["take"])
        extra = {}
        if texts["age"] and age is None:
            extra["own_age"] = texts["age"]
        if texts["take"] and take is None:
            extra["own_take"] = texts["take"]

        # Names that ser_hf has published have the prefix.
        speaker = speaker.removeprefix(f"{self.corpus_name}:")
        clip_id = (texts["id"] or row.name).removeprefix(f"{self.corpus_name}/")
        return Clip(
            path=str(row.path),
            emotion=emotion,
            word=row.label,
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
        """The clips, and the rows that were left out with the reason.

        Raises:
            UserError: naming the row, for an unknown label or missing audio (both may be skipped)
                or speaker.
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
        """Why a row has no clip, or None; a UserError unless the settings skip such rows."""
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
    """The speaker in the column of speakers; None for an empty cell and words such as unknown."""
    if isinstance(row.speaker, list | tuple | dict):
        raise UserError(
            f"{row.where}: expected one speaker name (corpus.speaker), got {row.speaker}"
        )
    speaker = text(row.speaker)
    return None if (speaker or "").lower() in _UNKNOWN_SPEAKER else speaker


def absent(path: Path) -> str | None:
    """Why there is no audio at a path, for `Row.missing`; None if there is some."""
    if not os.path.isfile(path):  # also of a path that is too long
        return f"no file {path}; correct the path, or set corpus.on_unknown: skip"
    if is_lfs_pointer(path):
        return f"{path} is a Git LFS pointer, not audio; run `git lfs pull` in that clone"
    return None


def relative(path: Path, folder: Path) -> str:
    """The path from `folder` if it is below it, with forward slashes."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _unknown_label(label: str | None) -> str:
    """What to do about a label that is no emotion."""
    if not label:
        return "no label; fill it in, or set corpus.on_unknown: skip"
    label = label[:100]
    nearest = difflib.get_close_matches(label.lower(), EMOTIONS, n=1, cutoff=0.0)[0]
    return (
        f"{label!r} is not a known emotion; map it with corpus.label_map, such as "
        f"{{{label}: {nearest}}}, list it in corpus.custom_labels, "
        "or set corpus.on_unknown: skip"
    )


def metadata(settings: TableSettings) -> dict[str, Any]:
    """Metadata of a table, from its settings."""
    return {
        "title": settings.title or settings.corpus_name,
        "license": settings.license,
        "language": settings.language,
        "url": settings.url,
        "citation": settings.citation,
        "acted": settings.acted,
    }


class CsvSettings(TableSettings):
    """Keys of a table in a file; the root is the table."""

    name: Literal["csv"] = "csv"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "csv"
    path: Annotated[str, Field(description="the column of the audio files")] = "path"
    audio_root: Annotated[
        AnyPath | None, Field(description="the folder of relative paths; null: the table's")
    ] = None


def parse(settings: CsvSettings) -> Listing:
    """Read the rows of a table. A speaker pattern is matched with the path as the table has it."""
    table = Path(settings.root or "")
    if not table.is_file():
        problem = f"{settings.root}: no such file" if settings.root else "missing"
        raise UserError(f"corpus.root: {problem}; csv needs a table of clips")
    columns, lines = read_table(table, read_text(table))
    _require_columns(table, columns, settings)

    parser = RowParser(settings.corpus_name, settings)
    base = table.parent if settings.audio_root is None else settings.audio_root
    folder = Path(os.path.normpath(base))
    used = {settings.path, settings.label, settings.speaker, *map(parser.column, KNOWN)}
    extra = extra_columns([cells for _, cells in lines], used)
    rows = []
    line_of_audio: dict[str, int] = {}
    for (line, cells), kept in zip(lines, extra, strict=True):
        row = _row(f"{table}, line {line}", cells, kept, folder, settings)
        audio = str(row.path)
        if row.searched_path and line_of_audio.setdefault(audio, line) != line:
            raise UserError(
                f"{row.where}: {row.searched_path} is also in line {line_of_audio[audio]}; "
                "list each clip once"
            )
        rows.append(row)
    return parser.listing(rows)


def _require_columns(table: Path, columns: Sequence[str], settings: CsvSettings) -> None:
    """Raise a UserError for a column that the settings name and the table lacks."""
    required = {"path": settings.path}
    if settings.label is not None:
        required["label"] = settings.label
    if settings.speaker_pattern is None and settings.no_speaker == "error":
        required["speaker"] = settings.speaker
    for key, column in required.items():
        if column not in columns:
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; "
                f"it has {', '.join(columns) or 'none'}; name the column"
            )


def _row(
    where: str,
    cells: Mapping[str, Any],
    extra: Mapping[str, Any],
    folder: Path,
    settings: CsvSettings,
) -> Row:
    """The row of one line; relative paths of audio start from the folder."""
    listed = cells.get(settings.path, "")
    audio = Path(os.path.normpath(os.path.join(folder, listed)))
    if listed:
        missing = absent(audio)
    else:
        missing = f"the cell of {settings.path!r} (corpus.path) is empty; fill it in"
    return Row(
        where=where,
        path=audio,
        name=relative(audio, folder).removesuffix(audio.suffix),
        searched_path=listed,
        label=cells.get(settings.label) if settings.label else NO_LABEL,
        speaker=cells.get(settings.speaker),
        cells=cells,
        extra=extra,
        missing=missing,
    )
