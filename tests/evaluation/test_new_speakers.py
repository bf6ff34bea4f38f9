"""The scores of speakers that a model was not trained on, and the warnings about them."""

import numpy as np
import pytest
from support.predictions import predictions_of

from ser_hf.evaluation.new_speakers import is_about_speakers, speaker_scores, speaker_warnings

NAMES = ["angry", "happy", "sad"]


def predictions(predicted_of_speaker):
    """Twelve clips of each speaker, four of each class, with these predictions."""
    labels = []
    predicted = []
    speakers = []
    for speaker, classes in predicted_of_speaker.items():
        labels += [0] * 4 + [1] * 4 + [2] * 4
        predicted += classes
        speakers += [speaker] * 12
    probabilities = np.eye(3)[predicted][np.newaxis]
    return predictions_of(np.asarray(labels), None, 3, speakers, probabilities, names=NAMES)


RIGHT = [0] * 4 + [1] * 4 + [2] * 4
ONLY_SAD = [2] * 11 + [1]
NEVER_HAPPY = [0] * 4 + [2] * 8


def test_speakers_are_sorted_by_their_score_with_the_classes_they_lack():
    scores = speaker_scores(
        predictions({"toy:a": RIGHT, "toy:b": ONLY_SAD, "toy:c": NEVER_HAPPY}), "test speakers"
    )
    assert list(scores.lowest) == ["toy:b", "toy:c", "toy:a"]
    assert scores.lowest["toy:b"].uar == pytest.approx(0.25)
    assert scores.lowest["toy:b"].rarely == ["angry", "happy"]
    assert scores.lowest["toy:c"].rarely == ["happy"]
    assert scores.lowest["toy:a"].rarely == []
    assert scores.quartiles[0] == pytest.approx(0.25)
    assert scores.quartiles[4] == 1
    assert scores.near_chance == ["toy:b"]
    assert scores.one_class == ["toy:b"]


def test_the_speakers_near_chance_or_with_one_class_are_named():
    scores = speaker_scores(predictions({"toy:a": RIGHT, "toy:b": ONLY_SAD}), "test speakers")
    near, one_class = speaker_warnings(scores)
    assert "some test speakers: toy:b (0.250, chance 0.333)." in near
    assert "one class: toy:b (92% sad)." in one_class
    assert all(map(is_about_speakers, (near, one_class)))
    assert not is_about_speakers("Differences on fewer than ten speakers.")


def test_a_good_model_has_no_warning():
    scores = speaker_scores(predictions({"toy:a": RIGHT, "toy:b": NEVER_HAPPY}), "test speakers")
    assert speaker_warnings(scores) == []
    assert speaker_warnings(None) == []


def test_one_known_speaker_has_no_distribution():
    assert speaker_scores(predictions({"toy:a": RIGHT, "toy:unknown": RIGHT}), "x") is None
