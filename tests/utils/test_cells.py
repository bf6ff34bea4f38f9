"""Cells of tables as text."""

import pytest

from ser_hf.utils.cells import is_empty, text


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        (None, None),
        (float("nan"), None),
        (" ", None),
        (" a ", "a"),
        (2.0, "2"),
        (2.5, "2.5"),
        (True, "true"),
    ],
)
def test_a_cell_is_a_word(cell, word):
    assert text(cell) == word


@pytest.mark.parametrize("cell", [None, "", float("nan")])
def test_cells_without_content_are_empty(cell):
    assert is_empty(cell)


@pytest.mark.parametrize("cell", [0, False, " ", 0.0, []])
def test_cells_with_a_value_are_not_empty(cell):
    assert not is_empty(cell)
