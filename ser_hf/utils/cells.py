"""Cells of tables and data sets: as text, and the words that stand for an empty cell."""

import math
from typing import Any

from .names import compared

# What people, spreadsheets and libraries write into a cell without a value, in lower case. The
# number -1 stands for an unknown speaker in EmoBox and for a hidden label on the Hub.
MISSING_WORDS = frozenset(
    {
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        ".",
        "..",
        "...",
        "?",
        "??",
        "???",
        "-1",
        "\\n",
        "#n/a",
        "#na",
        "#n/a n/a",
        "#null!",
        "#ref!",
        "#value!",
        "#name?",
        "#num!",
        "#div/0!",
        "<na>",
        "<none>",
        "<null>",
        "<unknown>",
        "<unk>",
        "(blank)",
        "(empty)",
        "(none)",
        "(null)",
        "(unknown)",
        "[unknown]",
        "anonymous",
        "blank",
        "empty",
        "missing",
        "n.a",
        "n.a.",
        "n/a",
        "n/k",
        "na",
        "nan",
        "-nan",
        "nil",
        "none",
        "not applicable",
        "not available",
        "not known",
        "not specified",
        "not stated",
        "null",
        "undefined",
        "unk",
        "unk.",
        "unknown",
        "unspecified",
    }
)
_LONGEST = max(map(len, MISSING_WORDS))


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: None, an empty text or nan."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def means_missing(word: str | None) -> bool:
    """Whether the text of a cell is empty, or one of the words for a missing value."""
    if word is None:
        return True
    # Most cells are longer than every word, and need no comparison.
    return len(word) <= 2 * _LONGEST and compared(word) in MISSING_WORDS


def text(value: Any) -> str | None:
    """Convert a cell to stripped text; None if the cell is empty.

    The ``.0`` that pandas adds to integers is removed, and booleans are written as in YAML.
    """
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None
