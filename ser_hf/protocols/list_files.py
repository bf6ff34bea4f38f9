"""The protocol `file`: it reads a split from a user's list, in JSON or in a table (CSV, TSV)."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

from ..corpora.columns import split_name
from ..utils.errors import UserError
from ..utils.files import parse_json
from ..utils.tables import Table, read_table
from ..utils.yaml import read_text
from .listed import Rows, check_leak, one_or_all, split_of_rows
from .settings import FileSettings
from .split import PARTS, Split, read_column

# The columns of a table that may name the clips: the first of them that the table has is used.
_ENTRY_COLUMNS = ("id", "path", "speaker")
_TABLES = (".csv", ".tsv")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A clip or a speaker in a list, and its place in the file, for messages."""

    text: str
    place: str


@dataclasses.dataclass(frozen=True)
class ListedFold:
    """The entries that a file lists for each part, and the fold's name if it has one."""

    parts: dict[str, list[Entry]]
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class SplitList:
    """The folds of a file, and whether its entries are paths of audio files."""

    folds: list[ListedFold]
    by_path: bool = False


def from_file(dataset: Dataset, settings: FileSettings) -> Split | list[Split]:
    """Read the split, or one split for each fold, from a file.

    A JSON file has ``{"train": [...], "validation": [...], "test": [...]}``, or ``{"folds": ...}``
    with a list of such objects. Entries are ids or full speaker names. The split.json of a run is
    such a file.

    A table (CSV or TSV) has a line for each clip or speaker, with the columns ``split`` and ``id``,
    ``path`` or ``speaker``. With a column ``fold`` it has the lines of several folds. A path is
    that of the audio file, or its last components, such as ``AudioWAV/1001_DFA_ANG_XX.wav``.

    Raises:
        UserError: for a file that cannot be read, an unknown entry, a clip in two parts, or test
            speakers in train or validation without `shared_speakers`.
    """
    path = settings.path
    if path.lower().endswith(_TABLES):
        listed = _read_table(path)
    else:
        listed = SplitList(_read_folds(path, read_text(path)))
    rows_of_entry = _rows_by_path(dataset) if listed.by_path else _rows_by_name(dataset)

    splits = []
    for number, listed_fold in enumerate(listed.folds, start=1):
        fold = None
        if len(listed.folds) > 1:
            fold = listed_fold.name or f"{number} of {len(listed.folds)}"
        rows: Rows = {}
        for part, entries in listed_fold.parts.items():
            part_rows = {row for entry in entries for row in rows_of_entry(entry)}
            rows[part] = sorted(part_rows)
        _check_rows(dataset, rows, path, fold)
        split = split_of_rows(
            "file",
            dataset,
            rows,
            fold=fold,
            validation=settings.validation,
            seed=settings.seed,
        )
        check_leak(split, path, settings.shared_speakers)
        splits.append(split)
    return one_or_all(splits)


def _rows_by_name(dataset: Dataset) -> Callable[[Entry], list[int]]:
    """A function from an id or a speaker to its rows."""
    rows_by_name: dict[str, list[int]] = {}
    ids = read_column(dataset, "id")
    speakers = read_column(dataset, "speaker")
    for row, (clip_id, speaker) in enumerate(zip(ids, speakers, strict=True)):
        rows_by_name.setdefault(clip_id, []).append(row)
        rows_by_name.setdefault(speaker, []).append(row)

    def rows_of(entry: Entry) -> list[int]:
        if entry.text not in rows_by_name:
            raise UserError(
                f"{entry.place}: {entry.text!r} is neither an id nor a speaker of the corpus (such "
                f"as {ids[0]} and {speakers[0]}); clips that were dropped or excluded must not be "
                "listed"
            )
        return rows_by_name[entry.text]

    return rows_of


def _rows_by_path(dataset: Dataset) -> Callable[[Entry], list[int]]:
    """A function from the path of an audio file to its rows.

    A listed path matches a file if the shorter of the two is the end of the other. All segments of
    a file have its path.
    """
    # {file name: {components of the path: rows}}
    files: dict[str, dict[tuple[str, ...], list[int]]] = {}
    for row, path in enumerate(_audio_paths(dataset)):
        if path:
            components = _components(path)
            files.setdefault(components[-1], {}).setdefault(components, []).append(row)

    def rows_of(entry: Entry) -> list[int]:
        wanted = _components(entry.text)
        same_name = files.get(wanted[-1], {}) if wanted else {}
        matches = [components for components in same_name if _is_end(wanted, components)]
        if not matches:
            raise UserError(
                f"{entry.place}: no clip of the corpus has the path {entry.text!r}; write it below "
                "the folder of the corpus; clips that were dropped or excluded must not be listed"
            )
        if len(matches) > 1:
            first, second = ("/".join(components) for components in sorted(matches)[:2])
            raise UserError(
                f"{entry.place}: {entry.text!r} may be {first} or {second}; write more of its path"
            )
        return same_name[matches[0]]

    return rows_of


def _audio_paths(dataset: Dataset) -> Iterator[str | None]:
    """The path of each row's audio file; the bytes of the files stay on the disk."""
    batches = dataset.select_columns("audio").with_format("arrow").iter(1000)
    for batch in batches:
        yield from pc.struct_field(batch["audio"], "path").to_pylist()


def _components(path: str) -> tuple[str, ...]:
    """The folders and the name of a path, with / or \\ between them and without a leading `.`."""
    return PurePosixPath(path.replace("\\", "/")).parts


def _is_end(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the shorter of two paths is the end of the other."""
    length = min(len(first), len(second))
    return first[-length:] == second[-length:]


def _check_rows(dataset: Dataset, rows: Rows, path: str, fold: str | None) -> None:
    """Raise a `UserError` for an empty list, or a row in two parts."""
    part_of: dict[int, str] = {}
    for part, part_rows in rows.items():
        if not part_rows and part != "validation":
            where = f" in fold {fold}" if fold else ""
            raise UserError(f"{path}: nothing is listed for {part}{where}")
        for row in part_rows:
            if part_of.setdefault(row, part) != part:
                clip_id = read_column(dataset, "id")[row]
                raise UserError(f"{path}: {clip_id} is in {part_of[row]} and in {part}")


def _read_folds(path: str, content: str) -> list[ListedFold]:
    """The folds of a JSON file, in order."""
    listed = parse_json(content, path)
    folds = listed["folds"] if isinstance(listed, dict) and "folds" in listed else [listed]
    if not isinstance(folds, list) or not folds:
        raise UserError(f"{path}: expected a list of parts for each fold under the key folds")
    return [_read_fold(path, fold) for fold in folds]


def _read_fold(path: str, listed: Any) -> ListedFold:
    name = None
    if isinstance(listed, dict) and isinstance(listed.get("ids"), dict):  # a run's split.json
        name = listed.get("fold")
        listed = listed["ids"]
    if not isinstance(listed, dict):
        raise UserError(f"{path}: expected train, validation and test, each with a list")

    parts: dict[str, list[Entry]] = {part: [] for part in PARTS}
    for key, entries in listed.items():
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is not a list of ids or speakers")
        part = _part_of(key, path)
        parts[part] += [Entry(entry, f"{path}: {part}") for entry in entries]
    return ListedFold(parts, name if isinstance(name, str) else None)


def _read_table(path: str) -> SplitList:
    """The folds of a table, in the order in which it names them."""
    table = read_table(path).named(["split", "fold", *_ENTRY_COLUMNS])
    column = next((name for name in _ENTRY_COLUMNS if name in table.columns), None)
    if column is None or "split" not in table.columns:
        raise UserError(
            f"{path}: expected the columns split and id, path or speaker, got "
            f"{', '.join(table.columns):.300}; for a column of the corpus use protocol.name: column"
        )
    parts_of_fold: dict[str | None, dict[str, list[Entry]]] = {}
    for line, cells in table.rows:
        place = f"{path}, line {line}"
        fold = cells.get("fold")
        parts = parts_of_fold.setdefault(fold, {part: [] for part in PARTS})
        part = _part_of(_cell(table, line, cells, "split"), place)
        parts[part].append(Entry(_cell(table, line, cells, column), place))

    if not parts_of_fold:
        raise UserError(f"{path}: no line below the header")
    if None in parts_of_fold and len(parts_of_fold) > 1:
        raise UserError(f"{path}: some lines have no fold; name the fold in every line, or in none")
    folds = [ListedFold(parts, name) for name, parts in parts_of_fold.items()]
    return SplitList(folds, by_path=column == "path")


def _cell(table: Table, line: int, cells: dict[str, str], column: str) -> str:
    if column not in cells:
        raise UserError(f"{table.path}, line {line}: the cell of {column} is empty")
    return cells[column]


def _part_of(word: str, place: str) -> str:
    """The part that a word means, such as validation for ``dev``."""
    part = split_name(word)
    if part is None:
        raise UserError(
            f"{place}: unknown part {word!r}; choose one of train, validation (or dev) and test"
        )
    return part
