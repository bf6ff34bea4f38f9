"""Columns of tables: their types and names, integers in cells, and words that name splits."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..utils.cells import is_empty, text
from .schema import RESERVED

# 007 does not match, because it is a name. Any number of 18 digits fits in 64 bits.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_INT64_LIMIT = 2**63

# Word -> the split that it means.
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


def integer(cell: Any) -> int | None:
    """The integer in a cell that contains 23, 23.0, "23" or "23.0"; None for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})(\.0+)?", text(cell) or "", re.ASCII)
    return int(match[1]) if match else None


def split_name(word: str) -> str | None:
    """The split (train, validation or test) that a word means; None if it means no split.

    Upper and lower case are equal.
    """
    return SPLIT_WORDS.get(word.strip().lower())


def extra_columns(
    cells: Sequence[Mapping[str, Any]], used: Iterable[str], guess: bool = True
) -> list[dict[str, Any]]:
    """Collect the further columns of a table: those that are not `used` and have a plain value.

    A column has one type for all rows: bool, int, float or str. The column `session` and integers
    beyond 64 bits become text. Lists, mappings and bytes are left out. A column with a reserved
    name is renamed to ``own_NAME``.

    Args:
        cells: for each row, column -> value.
        used: the columns that have another use.
        guess: whether text that looks like a number becomes a number, as in a CSV file.

    Returns:
        For each row, further column -> value.
    """
    kept: list[dict[str, Any]] = [{} for _ in cells]
    names = {name for row in cells for name in row}
    for name, values in _plain_columns(cells, set(used)).items():
        column_type = str if name == "session" else _common_type(values.values(), guess)
        new_name = _unreserved_name(name, names)
        for position, value in values.items():
            kept[position][new_name] = column_type(value)
    return kept


def _plain_columns(
    cells: Sequence[Mapping[str, Any]], used: Collection[str]
) -> dict[str, dict[int, Any]]:
    """For each column that is not used: position of the row -> plain value."""
    columns: dict[str, dict[int, Any]] = {}
    for position, row in enumerate(cells):
        for name, value in row.items():
            if name in used:
                continue
            plain = _plain(value)
            if plain is not None:
                columns.setdefault(name, {})[position] = plain
    return columns


def _unreserved_name(name: str, names: Collection[str]) -> str:
    """The new name of a column: a reserved name gets ``own_`` in front until it is unique."""
    if name not in RESERVED:
        return name
    new_name = f"own_{name}"
    while new_name in names:
        new_name = f"own_{new_name}"
    return new_name


def with_splits(
    splits: Sequence[str | None], extra: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Add the column `split` to the further columns of each row, if any row has a split.

    A column `split` that the table already has is renamed to ``own_split``.

    Args:
        splits: the split of each row, as its file or folder names it.
        extra: the further columns of each row.
    """
    if not any(splits):
        return [dict(row) for row in extra]
    rows = []
    for split, columns in zip(splits, extra, strict=True):
        row = {"split": split}
        for name, value in columns.items():
            row["own_split" if name == "split" else name] = value
        rows.append(row)
    return rows


def _plain(value: Any) -> bool | int | float | str | None:
    """Convert a cell to a bool, int, float or str.

    An empty cell, a list, a mapping and bytes become None. An integer beyond 64 bits becomes text.
    """
    if is_empty(value) or isinstance(value, list | tuple | dict | bytes):
        return None
    if isinstance(value, int) and not -_INT64_LIMIT <= value < _INT64_LIMIT:
        return str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _common_type(values: Collection[Any], guess: bool) -> type:
    """The type that fits all values of a column."""
    types = {type(value) for value in values}
    if types == {bool}:
        return bool
    if types <= {int, float}:
        return int if types == {int} else float
    if guess and types == {str}:
        if all(_INTEGER.fullmatch(value) for value in values):
            return int
        if all(_NUMBER.fullmatch(value) for value in values):
            return float
    return str
