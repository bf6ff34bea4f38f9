"""Names of a model's labels are read if they can mean one emotion only."""

import pytest

from ser_hf.corpora.emotion_words import emotions_of_labels
from ser_hf.corpora.schema import EMOTIONS, SYNONYMS


@pytest.mark.parametrize(
    ("labels", "emotions"),
    [
        (
            ["ang", "hap", "exc", "neu", "fru"],
            ["angry", "happy", "excited", "neutral", "frustrated"],
        ),
        (["ANG", "Happy ", "Sadness"], ["angry", "happy", "sad"]),
        (["A", "H", "N", "S"], ["angry", "happy", "neutral", "sad"]),
        (["female_happy", "male-angry"], ["happy", "angry"]),
        (["生气/angry", "中立/neutral", "<unk>"], ["angry", "neutral", None]),
        (["Wut", "Überraschung", "Trauer"], ["angry", "surprise", "sad"]),
        (["colère", "dégoût", "peur"], ["angry", "disgust", "fear"]),
        (["tristeza", "alegría", "asco"], ["sad", "happy", "disgust"]),
        (["гнев", "радость"], ["angry", "happy"]),
        (["喜び", "슬픔"], ["happy", "sad"]),
        (["pleasant_surprise", "pleasant surprise"], ["surprise", "surprise"]),
    ],
)
def test_names_of_emotions(labels, emotions):
    assert emotions_of_labels(labels) == emotions


@pytest.mark.parametrize(
    "labels",
    [
        # Letters of EMO-DB, where A is fear and F is happiness.
        ["W", "L", "E", "A", "F", "T", "N"],
        ["A"],
        ["LABEL_0", "LABEL_1"],
        ["angry/sad", "positive", "laughter"],
    ],
)
def test_names_that_may_mean_several_things_are_not_read(labels):
    assert emotions_of_labels(labels) == [None] * len(labels)


def test_every_name_of_a_corpus_s_label_is_a_name_of_a_model_s_label():
    assert emotions_of_labels(list(EMOTIONS)) == list(EMOTIONS)
    assert emotions_of_labels(list(SYNONYMS)) == list(SYNONYMS.values())
