"""What the labels of any model mean, and how its answers are put into our classes."""

import numpy as np
import pytest

from ser_hf.experiment.evaluation_data import label_mapping
from ser_hf.utils.errors import UserError


def test_common_words_are_known_in_any_capitals_and_with_a_sex_before_them():
    meaning = label_mapping(["HAP", "female_angry", "male_angry", "Neutral", "fearful"])
    assert meaning.of == ["happy", "angry", "angry", "neutral", "fear"]
    assert meaning.classes == ["angry", "fear", "happy", "neutral"]


def test_words_of_one_meaning_add_up():
    meaning = label_mapping(["female_angry", "sad", "male_angry"])
    answers = meaning.to_classes(np.array([[0.3, 0.5, 0.2]]))
    np.testing.assert_allclose(answers, [[0.5, 0.5]])
    assert answers.dtype == np.float32


def test_a_word_that_means_nothing_stays_an_answer_and_is_told():
    meaning = label_mapping(["angry", "laughter", "sad"])
    assert meaning.classes == ["angry", "sad", "laughter"]
    np.testing.assert_allclose(meaning.to_classes(np.array([[0.2, 0.7, 0.1]])), [[0.2, 0.1, 0.7]])
    assert meaning.rows()[1] == {"word": "laughter", "emotion": None, "counted": True}


def test_a_map_says_what_words_mean_and_leaves_answers_out():
    meaning = label_mapping(["LABEL_0", "LABEL_1", "noise"], {"LABEL_0": "angry", "LABEL_1": "calm", "noise": "none"})
    assert meaning.classes == ["angry", "calm"]
    assert meaning.rows()[2] == {"word": "noise", "emotion": None, "counted": False}
    np.testing.assert_allclose(meaning.to_classes(np.array([[0.1, 0.3, 0.6], [0, 0, 1]])), [[0.25, 0.75], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("words", "label_map", "told"),
    [
        (["LABEL_0", "LABEL_1"], {}, "none is an emotion known here; say what they mean, as in LABEL_0=angry"),
        (["angry", "LABEL_1"], {}, "only angry is an emotion"),
        (["angry", "sad"], {"happy": "happy"}, "no label 'happy'; it answers angry, sad"),
        (["angry", "sad"], {"sad": "gloomy"}, "sad=gloomy: the emotions are angry"),
    ],
)
def test_what_cannot_be_judged_is_refused(words, label_map, told):
    with pytest.raises(UserError, match=told):
        label_mapping(words, label_map)
