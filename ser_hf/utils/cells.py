"""Cells of tables and data sets as text."""

import math
from typing import Any


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: None, an empty text or nan."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


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
