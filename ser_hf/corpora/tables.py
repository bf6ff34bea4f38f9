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
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.yaml import read_text
from .files import is_lfs_pointer
from .schema import EMOTIONS, RESERVED, UNNAMED, Clip, Listing

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
_INTEGER_COLUMNS = ("age", "take")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
NoSpeaker = Literal["error", "skip", "one"]
NO_LABEL = "other"  # of tables that have ratings only


def text(value: Any) -> str | None:
    """A cell as stripped text, None if empty; without the ``.0`` that pandas adds, and with
    booleans as in YAML.
    """
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


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


def is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


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
    """One row of a table."""

    where: str  # file and line, for messages
    path: Path  # of the audio
    name: str  # of the clip, unique in the corpus
    # the path that a speaker pattern is matched with; None if the audio has no name
    place: str | None
    label: Any  # as the table has it
    speaker: Any
    cells: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # all columns
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the columns to keep
    missing: str | None = None  # why there is no audio, with the remedy


@dataclasses.dataclass(frozen=True)
class RowParser:
    """Turns rows into clips. The fields are options of every corpus that is a table.

    Attributes:
        corpus_name: prefix of ids and speakers, and the rows' `corpus`.
        columns: a name of `KNOWN` -> the table's name for that column, such as ``{sex: gender}``.
        label_map: the table's words -> canonical emotions or custom labels.
        speaker_pattern: regular expression searched in a clip's path; the speaker is the group
            ``speaker``, or the match.
        no_speaker: for rows without a speaker: ``"error"``, ``"skip"``, or ``"one"``, one speaker
            `UNNAMED` for all. A split with some of them on one side and clips of the corpus on the
            other counts as speaker-dependent.
        language: of rows that name none (ISO 639).
        custom_labels: labels beside the canonical emotions, such as ``[satisfied]``.
    """

    corpus_name: str
    columns: dict[str, str] | None = None
    label_map: dict[str, str] | None = None
    speaker_pattern: str | None = None
    no_speaker: NoSpeaker = "error"
    language: str | None = None
    custom_labels: list[str] | None = None

    @classmethod
    def from_options(cls, corpus_name: str, options: Mapping[str, Any]) -> "RowParser":
        """A parser from a corpus's options; those that are no field of it (`facts`) are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(corpus_name, **{name: value for name, value in options.items() if name in names})

    def __post_init__(self):
        if (
            not self.corpus_name.strip()
            or not self.corpus_name.isprintable()
            or set(self.corpus_name) & set(":/|`<")
        ):
            raise UserError(
                f"corpus.corpus_name: {self.corpus_name!r} cannot be the prefix of ids and speakers; give a name "
                "without colons, slashes, |, `, < and line breaks"
            )
        for label in self.custom_labels or ():
            if (
                not label.isidentifier()
                or label != label.lower()
                or label in self.labels[: len(EMOTIONS)]
            ):
                raise UserError(
                    f"corpus.custom_labels: {label!r}: give words of lower-case letters, digits and _ that are no "
                    "canonical emotions"
                )
        for word, emotion in (self.label_map or {}).items():
            if emotion not in self.labels:
                raise UserError(
                    f"corpus.label_map.{word}: unknown emotion {emotion!r}; choose one of {', '.join(self.labels)}, "
                    "or list it in corpus.custom_labels"
                )
        for name in self.columns or {}:
            if name not in KNOWN:
                raise UserError(
                    f"corpus.columns.{name}: choose one of {', '.join(KNOWN)}; for labels, corpus.label"
                )
        try:
            re.compile(self.speaker_pattern or "")
        except re.error as error:
            raise UserError(f"corpus.speaker_pattern: not a regular expression: {error}") from None

    @property
    def labels(self) -> list[str]:
        """The canonical emotions and custom labels."""
        return [*EMOTIONS, *(self.custom_labels or ())]

    def column(self, name: str) -> str:
        """The table's name for one of `KNOWN`."""
        return (self.columns or {}).get(name, name)

    def emotion(self, word: str | None) -> str | None:
        """The canonical emotion or custom label of a table's word, or None."""
        if word in (self.label_map or {}):
            return self.label_map[word]
        lower = (word or "").lower()
        return lower if lower in self.labels else SYNONYMS.get(lower)

    def speaker(self, row: Row) -> str | None:
        """The speaker without the corpus's prefix; None to leave the row out.

        Raises:
            UserError: for an unknown speaker unless `no_speaker` allows it, and for a list or
                mapping.
        """
        if self.speaker_pattern is not None:
            found = re.search(self.speaker_pattern, row.place or "")
            if found:
                speaker = found.groupdict().get("speaker") or (
                    found.group(1) if found.re.groups else found.group()
                )
                if speaker and speaker != UNNAMED:
                    return speaker
            cause = f"corpus.speaker_pattern finds no speaker in {row.place or 'audio without a file name'}"
        elif isinstance(row.speaker, list | tuple | dict):
            raise UserError(
                f"{row.where}: expected one speaker name (corpus.speaker), got {row.speaker}"
            )
        else:
            speaker = text(row.speaker)
            if (speaker or "").lower() not in _UNKNOWN_SPEAKER:
                return speaker
            cause = "no speaker is given, and a speaker-independent split needs one"
        if self.no_speaker == "error":
            raise UserError(
                f"{row.where}: {cause}; name the column (corpus.speaker), give a corpus.speaker_pattern that finds "
                "the speaker in the path, or set corpus.no_speaker: skip, or one (all as one speaker)"
            )
        return UNNAMED if self.no_speaker == "one" else None

    def clip(self, row: Row, emotion: str, speaker: str) -> Clip:
        cells = {name: row.cells.get(self.column(name)) for name in KNOWN}
        texts = {name: text(cell) for name, cell in cells.items()}
        numbers = {name: integer(cells[name]) for name in _INTEGER_COLUMNS}
        own = {
            f"own_{name}": texts[name] for name in numbers if texts[name] and numbers[name] is None
        }
        return Clip(
            path=str(row.path),
            emotion=emotion,
            word=row.label,
            # Names that ser_hf has published already have the prefix.
            speaker=f"{self.corpus_name}:{speaker.removeprefix(f'{self.corpus_name}:')}",
            id=f"{self.corpus_name}/{(texts['id'] or row.name).removeprefix(f'{self.corpus_name}/')}",
            sex=SEXES.get((texts["sex"] or "").lower(), texts["sex"]),
            **numbers,
            language=texts["language"] or self.language,
            sentence=texts["sentence"],
            intensity=texts["intensity"],
            extra=own | dict(row.extra),
        )

    def clips(
        self, rows: Sequence[Row], on_unknown: Literal["error", "skip"]
    ) -> tuple[list[Clip], list[tuple[str, str]]]:
        """The clips, and what was left out with the reason.

        An age or take that is no integer is kept as text in ``own_age`` or ``own_take``.

        Raises:
            UserError: naming the row, for an unknown label or missing audio (both may be skipped)
                or speaker.
        """
        clips = []
        skipped = []
        for row in rows:
            row = dataclasses.replace(row, label=text(row.label))
            emotion = self.emotion(row.label)
            if emotion is None or row.missing:
                if on_unknown == "error":
                    raise UserError(
                        f"{row.where}: {_unknown_label(row.label) if emotion is None else row.missing}"
                    )
                reason = f"label {row.label!r} is not an emotion" if row.label else "no label"
                skipped.append((row.where, reason if emotion is None else "no such file"))
                continue
            speaker = self.speaker(row)
            if speaker is None:
                skipped.append((row.where, "unknown speaker"))
                continue
            clips.append(self.clip(row, emotion, speaker))
        return clips, skipped


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
    if not label:
        return "no label; fill it in, or set corpus.on_unknown: skip"
    label = label[:100]
    nearest = difflib.get_close_matches(label.lower(), EMOTIONS, n=1, cutoff=0.0)[0]
    example = f"map it with corpus.label_map, such as {{{label}: {nearest}}}, list it in corpus.custom_labels, or set "
    example += "corpus.on_unknown: skip"
    return f"{label!r} is not a known emotion; {example}"


def facts(
    corpus_name: str,
    title: str | None = None,
    license: str | None = None,
    language: str | None = None,
    url: str | None = None,
    citation: str | None = None,
    acted: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """Metadata of a table, from its options (language in ISO 639); the `others` are options of its
    `parse`.
    """
    return {
        "title": title or corpus_name,
        "license": license,
        "language": language,
        "url": url,
        "citation": citation,
        "acted": acted,
    }


ROW_OPTIONS = RowParser


def parse(
    root: str | Path | None,
    on_unknown: Literal["error", "skip"] = "error",
    path: str = "path",
    label: str | None = "label",
    speaker: str = "speaker",
    audio_root: str | None = None,
    corpus_name: str = "csv",
    **options: Any,
) -> Listing:
    """Read the rows of a table.

    Args:
        on_unknown: with ``"skip"``, rows without audio and rows whose label is not an emotion are
            left out.
        path, label, speaker: names of the columns; `speaker_pattern` or `no_speaker` may replace
            the last one. Without labels (null, for ratings) every clip is of the emotion other.
        audio_root: the folder of relative paths; by default the table's.
        corpus_name, options: see `RowParser` and `facts`. The speaker pattern is matched with the
            path as the table has it.
    """
    parser = RowParser.from_options(corpus_name, options)
    table = Path(root or "")
    if not table.is_file():
        raise UserError(
            f"corpus.root: {f'{root}: no such file' if root else 'missing'}; csv needs a table of clips"
        )
    columns, lines = read_table(table, read_text(table))
    needed = {"path": path, "label": label, "speaker": speaker}
    if parser.speaker_pattern is not None or parser.no_speaker != "error":
        needed.pop("speaker")
    if label is None:
        needed.pop("label")
    for key, column in needed.items():
        if column not in columns:
            known = ", ".join(columns) or "none"
            raise UserError(
                f"corpus.{key}: {table} has no column {column!r}; it has {known}; name the column"
            )
    folder = os.path.normpath(table.parent if audio_root is None else audio_root)
    extra = extra_columns(
        [cells for _, cells in lines], {path, label, speaker, *map(parser.column, KNOWN)}
    )
    rows = []
    first = {}
    for (line, cells), kept in zip(lines, extra, strict=True):
        where = f"{table}, line {line}"
        listed = cells.get(path, "")
        audio = os.path.normpath(os.path.join(folder, listed))
        if listed and first.setdefault(audio, line) != line:
            raise UserError(
                f"{where}: {listed} is also in line {first[audio]}; list each clip once"
            )
        rows.append(
            Row(
                where=where,
                path=Path(audio),
                name=relative(Path(audio), Path(folder)).removesuffix(Path(audio).suffix),
                place=listed,
                label=cells.get(label) if label else NO_LABEL,
                speaker=cells.get(speaker),
                cells=cells,
                extra=kept,
                missing=absent(Path(audio))
                if listed
                else f"the cell of {path!r} (corpus.path) is empty; fill it in",
            )
        )
    return Listing(corpus_name, *parser.clips(rows, on_unknown))
