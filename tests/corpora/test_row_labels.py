"""Emotions of words in tables, and messages about words that mean none."""

import unicodedata

import pytest

from ser_hf.corpora.row_labels import LabelReader, UnknownLabels
from ser_hf.corpora.schema import EMOTIONS

CUSTOM = "fröhlich"


@pytest.mark.parametrize(
    ("label", "emotion"),
    [
        ("angry", "angry"),
        ("ANGER", "angry"),
        ("ａｎｇｒｙ", "angry"),
        ("sad\u200b", "sad"),
        (unicodedata.normalize("NFD", "Fröhlich"), CUSTOM),
        ("1", "fear"),
        ("1.0", "fear"),
        ("01", "fear"),
        ("wut", None),
        (None, None),
    ],
)
def test_labels_are_compared_as_names(label, emotion):
    assert LabelReader({"1": "fear"}, (*EMOTIONS, CUSTOM)).emotion(label) == emotion


def test_keys_that_differ_in_spelling_only_may_have_two_emotions():
    reader = LabelReader({"1": "fear", "01": "sad"}, EMOTIONS)
    assert [reader.emotion(label) for label in ("1", "01", "1.0")] == ["fear", "sad", None]


def test_an_example_has_an_emotion_only_if_the_word_is_nearly_one():
    assert "{surprize: surprise}" in UnknownLabels.of(["surprize"], False).message("surprize")
    assert "{test: EMOTION}" in UnknownLabels.of(["test"], False).message("test")


def test_other_unknown_labels_are_counted():
    labels = ["a1", "b1", "b1", *"vwxyz"]
    message = UnknownLabels.of(labels, True).message("a1")
    assert message.startswith("the folder 'a1' is not a known emotion (1 file), nor 'b1' (2 files)")
    assert "2 more" in message or "3 more" in message


def test_numbers_and_missing_words_have_messages_of_their_own():
    numbers = UnknownLabels.of(["0", "1", "1"], False)
    assert numbers.message("0").startswith("labels are numbers without names ('1' (2 rows), '0'")
    assert "('N/A' is read as missing)" in numbers.message("N/A")
    assert numbers.message(None).startswith("no label; fill it in")
