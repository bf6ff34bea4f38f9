"""Cells of tables: words, numbers, and the columns that are carried along in the kind that fits all their cells."""

from pathlib import Path

import pytest

from ser_hf.corpora.schema import Clip, Listing, to_dataset
from ser_hf.corpora.tables import extra_columns, integer, split_name, text, with_splits


def test_columns_are_carried_in_the_kind_that_fits_all_cells():
    cells = [
        {"n": 1, "x": 1, "s": "1", "b": True, "mixed": 1, "session": 3, "list": [1], "bytes": b"", "day": Path("d")},
        {"n": 2, "x": 0.5, "s": "2", "b": False, "mixed": "a", "session": None, "list": [2], "none": None},
    ]
    typed = {"n": 1, "x": 1.0, "s": "1", "b": True, "mixed": "1", "session": "3", "day": "d"}
    assert extra_columns(cells, (), guess=False)[0] == typed
    assert extra_columns(cells, ("n", "x", "b", "mixed", "session"))[0] == {"s": 1, "day": "d"}
    assert extra_columns(cells, ("s",))[1] == {
        "n": 2,
        "x": 0.5,
        "b": False,
        "mixed": "a",
        "session": None,
        "day": None,
    }


def test_a_column_of_one_of_our_names_is_renamed():
    assert extra_columns([{"duration": 1.5, "corpus": "x"}], ()) == [{"own_duration": 1.5, "own_corpus": "x"}]
    both = {"duration": 1.5, "own_duration": "2 s", "label": 0}
    assert extra_columns([both], ("label",)) == [{"own_own_duration": 1.5, "own_duration": "2 s"}]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_numbers_beyond_64_bits_are_text(number):
    (kept,) = extra_columns([{"big": number, "least": -(2**63)}], ())
    assert kept == {"big": str(number), "least": -(2**63)}
    clip = Clip(path="a.wav", emotion="sad", speaker="x:1", id="x/a", extra=kept)
    assert to_dataset(Listing("x", [clip]), ["sad"], ["sad"], 16000)["big"][:] == [str(number)]


@pytest.mark.parametrize(
    ("cell", "word"),
    [(None, None), (float("nan"), None), (" ", None), (" a ", "a"), (2.0, "2"), (2.5, "2.5"), (True, "true")],
)
def test_a_cell_is_a_word(cell, word):
    assert text(cell) == word


@pytest.mark.parametrize(("cell", "number"), [("23.00", 23), (7, 7), ("2.5", None), (None, None), (True, None)])
def test_a_cell_is_a_whole_number_or_none(cell, number):
    assert integer(cell) == number


def test_parts_come_before_a_column_of_that_name():
    extra = [{"split": "Session1", "n": 1}, {"split": None, "n": 2}]
    assert with_splits([None, None], extra) == extra
    assert with_splits(["train", None], extra) == [
        {"split": "train", "own_split": "Session1", "n": 1},
        {"split": None, "own_split": None, "n": 2},
    ]


@pytest.mark.parametrize(
    ("word", "part"),
    [("Training", "train"), ("devel", "validation"), ("eval", "test"), (" Evaluation ", "test"), ("fold1", None)],
)
def test_words_for_parts(word, part):
    assert split_name(word) == part
