"""One comparison of names: case, Unicode form, width, invisible characters, spaces, numbers."""

import unicodedata

import pytest

from ser_hf.utils.names import (
    compared,
    composed,
    matching,
    shown,
    spellings,
    trimmed,
    usual_spelling,
)

SAME = [
    ["anna", "ANNA", " Anna ", "ａｎｎａ", "an\u200bna", "\ufeffanna", "anna\u00a0"],
    ["jürgen", unicodedata.normalize("NFD", "Jürgen"), "JÜRGEN"],
    ["straße", "STRASSE"],
    ["a b", "a  b", "a\u00a0b", "a\tb"],
    ["1", "01", "1.0", "001.00", "+1", "１"],
    ["0.5", "00.50"],
    ["-1", "-1.0", "-01"],
    ["0", "-0", "0.0"],
]


@pytest.mark.parametrize("names", SAME)
def test_spellings_of_one_name_are_the_same(names):
    assert len({compared(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [("anna", "anne"), ("s1", "s01"), ("1", "10"), ("1.5", "15"), ("a b", "ab")],
)
def test_other_names_differ(first, second):
    assert compared(first) != compared(second)


def test_comparing_again_changes_nothing():
    for names in SAME:
        for name in names:
            assert compared(compared(name)) == compared(name)


def test_long_texts_of_digits_are_compared_in_time():
    assert compared("0" * 200_000) == "0" * 200_000


def test_spellings_and_the_usual_one():
    counted = spellings(["anna", "ANNA", "anna", "ben", "1", "1.0"])
    assert counted == {"anna": {"anna": 2, "ANNA": 1}, "1": {"1": 1, "1.0": 1}}
    assert usual_spelling(counted["anna"]) == "anna"
    assert usual_spelling({"b": 1, "a": 1}) == "a"


def test_matching_prefers_the_same_text():
    assert matching("a", ["A", "a"]) == ["a"]
    assert matching("a", ["A", " a", "b"]) == ["A", " a"]


def test_ends_of_a_text_are_trimmed():
    assert trimmed(" \u200b\ufeff ä \u00a0\u200b") == "ä"
    assert trimmed(" a ") == "a"
    assert trimmed("\u200b") == ""


def test_composed_and_shown():
    decomposed = unicodedata.normalize("NFD", "é")
    assert composed(decomposed) == "é"
    assert (shown("é"), shown(decomposed)) == ("'é'", "'e\\u0301'")
