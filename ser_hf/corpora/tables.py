"""Cells of tables, whatever the table: what is empty, words, names of speakers, numbers, columns carried along."""

import dataclasses
import difflib
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from ..utils.errors import UserError
from ..utils.files import require_utf8
from .files import is_lfs_pointer
from .schema import EMOTIONS, RESERVED, UNNAMED, Clip
from .segments import Piece, cut

# What tables have where nobody knows who speaks, in lower case: EmoBox's words, and what pandas makes of empty cells.
UNTOLD = {"", "unknown", "none", "nan", "null", "<na>", "-1"}
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)  # not 007, which names something; 64 bits hold 18 digits
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_KINDS = {int: _WHOLE, float: _NUMBER}
_MOST = 2**63  # what 64 bits hold


def is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def text(value: Any) -> str | None:
    """A cell as a word, without blanks around it; None where it is empty. Numbers that are whole are written so (1.0
    is what pandas makes of 1 in a column with an empty cell), truth values as in YAML."""
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def whole(cell: Any) -> int | None:
    """The whole number that a cell holds, as 23, 23.0 or text of these; None for anything else."""
    found = re.fullmatch(r"([0-9]{1,9})(\.0+)?", text(cell) or "", re.ASCII)
    return int(found[1]) if found else None


def carried(cells: Sequence[Mapping[str, Any]], used: Iterable[str], guess: bool = True) -> list[dict[str, Any]]:
    """Of each row the columns that are carried along: those not `used` that hold anything plain.

    A column is true and false, whole numbers, numbers, or text, whichever fits all its cells; `session` names
    something, so that it is text whatever stands in it, and so are whole numbers that 64 bits do not hold. Lists,
    mappings and bytes are left out. A column that has the name of one of ours (`duration`) is carried as
    ``own_duration``.

    Args:
        guess: whether text that reads like numbers is numbers, as in a CSV file.
    """
    kept: list[dict[str, Any]] = [{} for _ in cells]
    used = set(used)
    names = dict.fromkeys(name for row in cells for name in row)
    for name in names:
        if name in used:
            continue
        values = [_plain(row.get(name)) for row in cells]
        filled = [value for value in values if value is not None]
        if not filled:
            continue
        kind = str if name == "session" else _kind(filled, guess)
        called = f"own_{name}" if name in RESERVED else name
        while called != name and called in names:
            called = f"own_{called}"
        for row, value in zip(kept, values, strict=True):
            row[called] = None if value is None else kind(value)
    return kept


def _kind(values: Sequence[Any], guess: bool) -> type:
    types = {type(value) for value in values}
    if types == {bool}:
        return bool
    if types <= {int, float}:
        if all(type(value) is float or -_MOST <= value < _MOST for value in values):
            return int if types == {int} else float
        return str
    if guess and types == {str}:
        return next((kind for kind, grammar in _KINDS.items() if all(map(grammar.fullmatch, values))), str)
    return str


def _plain(value: Any) -> Any:
    if is_empty(value) or isinstance(value, list | tuple | dict | bytes):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def with_parts(parts: Sequence[str | None], extra: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns that rows carry with the part of each as `split`, where files or folders tell any; a column `split`
    of the table's own is ``own_split`` then."""
    if not any(parts):
        return [dict(own) for own in extra]
    return [
        {"split": part} | {"own_split" if name == "split" else name: value for name, value in own.items()}
        for part, own in zip(parts, extra, strict=True)
    ]


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


PART_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def part_of(word: str) -> str | None:
    """The part that a word means, in any capitals; None for another word."""
    return PART_WORDS.get(word.strip().lower())


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
    """The facts of such a data set; its module takes these for options beside those of its `parse` (the `others`).

    Args:
        title: what people call it; by default `corpus_name`.
        license: as the Hub spells licences, such as ``cc-by-4.0``.
        language: ISO 639, such as ``de``.
        url, citation: where it is from, and how to cite it.
        acted: whether its emotions are acted.
    """
    return {
        "title": title or corpus_name,
        "license": license,
        "language": language,
        "url": url,
        "citation": citation,
        "acted": acted,
    }


BATCH = 64


def opened(path: Path) -> pq.ParquetFile:
    """A parquet file.

    Raises:
        UserError: for a Git LFS pointer, for a file that is no parquet, and for a path that is not UTF-8.
    """
    require_utf8(path)
    try:
        if is_lfs_pointer(path):
            raise UserError(
                f"{path}: a Git LFS pointer, not a parquet file; run `git lfs pull` in that clone, or load the data "
                "set by its id (corpus.dataset)"
            )
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())}") from None


def rows_of(table: pq.ParquetFile, wanted: Collection[str]) -> Iterator[dict[str, Any]]:
    """The cells of each row, of the plain columns and of those that are wanted whatever they hold. Lists, mappings and
    bytes of other columns (features, second recordings) are not read. Class numbers become their names."""
    names = _class_names(table)
    fields = [field.name for field in table.schema_arrow if field.name in wanted or _parquet_table_plain(field.type)]
    for batch in table.iter_batches(BATCH, columns=fields):
        for row in batch.to_pylist() if fields else [{}] * batch.num_rows:
            yield {name: _named(value, names.get(name)) for name, value in row.items()}


def audio_of(table: pq.ParquetFile, column: str) -> Iterator[tuple[int | None, str | None]]:
    """Of each row how many bytes of audio are inside (None: none, it is elsewhere), and the name of its file.

    Raises:
        UserError: for a column that holds no audio.
    """
    for batch in table.iter_batches(BATCH, columns=[column]):
        cells = batch.column(0)
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            yield from ((None, path) for path in cells.to_pylist())
            continue
        if not pa.types.is_struct(cells.type) or not {"bytes", "path"} <= {field.name for field in cells.type}:
            raise UserError(
                f"corpus.audio: the column {column!r} holds {cells.type}, not audio (bytes and path, or a path); name "
                "the one that does"
            )
        content, paths = pc.struct_field(cells, "bytes"), pc.struct_field(cells, "path")  # null where the row is
        sizes = pc.binary_length(content) if not pa.types.is_null(content.type) else content
        yield from zip(sizes.to_pylist(), paths.to_pylist(), strict=True)


def contents_of(table: pq.ParquetFile, column: str) -> Iterator[tuple[int, str | None, bytes]]:
    """Row, name and bytes of the audio that is inside."""
    row = 0
    for batch in table.iter_batches(BATCH, columns=[column]):
        for clip in batch.column(0).to_pylist():
            if isinstance(clip, dict) and clip["bytes"]:
                yield row, clip["path"], clip["bytes"]
            row += 1


def bytes_of(table: pq.ParquetFile, column: str) -> int:
    """What a column takes, unpacked."""
    groups = (table.metadata.row_group(i) for i in range(table.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)


def _parquet_table_plain(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return not pa.types.is_nested(kind) and not any(is_binary(kind) for is_binary in binary)


def _class_names(table: pq.ParquetFile) -> dict[str, list[str]]:
    """Names of the classes, of the columns that hold their numbers."""
    try:
        features = Features.from_arrow_schema(table.schema_arrow)
    except ValueError:  # features of a later version of datasets
        return {}
    return {name: feature.names for name, feature in features.items() if isinstance(feature, ClassLabel)}


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None
