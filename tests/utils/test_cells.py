"""Cells of tables as text."""

import pytest

from ser_hf.utils.cells import MISSING_WORDS, is_empty, means_missing, text
from ser_hf.utils.names import compared


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


@pytest.mark.parametrize(
    "word", [None, "", " ", "N/A", "n/a", "NA", "?", "-", "–", "UNK", "nan", "-1", "-1.0", "\\N"]
)
def test_words_for_a_missing_value(word):
    assert means_missing(word)


@pytest.mark.parametrize(
    "word", ["anna", "0", "1", "nancy", "no", "x" * 10_000, "-2", "none at all"]
)
def test_other_words_are_values(word):
    assert not means_missing(word)


def test_the_words_are_written_as_they_are_compared():
    for word in MISSING_WORDS:
        assert compared(word) == word
