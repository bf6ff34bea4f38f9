"""Cells of tables, whatever the table: what is empty, words, names of speakers, numbers, columns carried along."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .schema import RESERVED

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
