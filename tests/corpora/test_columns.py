"""Columns of tables: types that fit all cells, reserved names, and the split."""

from pathlib import Path

import pytest

from ser_hf.corpora.columns import extra_columns, with_splits
from ser_hf.corpora.schema import Clip, Listing, to_dataset


def test_columns_have_the_type_that_fits_all_cells():
    cells = [
        {
            "n": 1,
            "x": 1,
            "s": "1",
            "b": True,
            "mixed": 1,
            "session": 3,
            "list": [1],
            "bytes": b"",
            "day": Path("d"),
        },
        {
            "n": 2,
            "x": 0.5,
            "s": "2",
            "b": False,
            "mixed": "a",
            "session": None,
            "list": [2],
            "none": None,
        },
    ]
    typed = {"n": 1, "x": 1.0, "s": "1", "b": True, "mixed": "1", "session": "3", "day": "d"}
    assert extra_columns(cells, (), guess=False)[0] == typed
    assert extra_columns(cells, ("n", "x", "b", "mixed", "session"))[0] == {"s": 1, "day": "d"}
    second = {"n": 2, "x": 0.5, "b": False, "mixed": "a"}
    assert extra_columns(cells, ("s",))[1] == second


def test_a_column_with_a_reserved_name_is_renamed():
    assert extra_columns([{"duration": 1.5, "corpus": "x"}], ()) == [
        {"own_duration": 1.5, "own_corpus": "x"}
    ]
    both = {"duration": 1.5, "own_duration": "2 s", "label": 0}
    assert extra_columns([both], ("label",)) == [{"own_own_duration": 1.5, "own_duration": "2 s"}]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_numbers_beyond_64_bits_are_text(number):
    (kept,) = extra_columns([{"big": number, "least": -(2**63)}], ())
    assert kept == {"big": str(number), "least": -(2**63)}
    clip = Clip(path="a.wav", emotion="sad", speaker="x:1", id="x/a", extra=kept)
    assert to_dataset(Listing("x", [clip]), ["sad"], ["sad"], 16000)["big"][:] == [str(number)]


def test_parts_come_before_a_column_of_that_name():
    extra = [{"split": "Session1", "n": 1}, {"split": None, "n": 2}]
    assert with_splits([None, None], extra) == extra
    assert with_splits(["train", None], extra) == [
        {"split": "train", "own_split": "Session1", "n": 1},
        {"split": None, "own_split": None, "n": 2},
    ]
