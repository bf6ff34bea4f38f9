"""Metrics of many resamples at once, against scikit-learn's of each resample by itself."""

import numpy as np
import pytest
from support.predictions import guesses

from ser_hf.evaluation.bootstrap import measure
from ser_hf.evaluation.metrics import HEADLINE, all_metrics, classification_metrics


def _counts(clips, resamples, seed=1):
    return np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=resamples)


@pytest.mark.parametrize(("clips", "classes"), [(12, 4), (60, 3), (30, 2)])
def test_every_resample_is_measured_as_scikit_learn_measures_it(clips, classes):
    labels, (answers,) = guesses(clips, classes)
    answers = answers.round(1).clip(0.05)  # so that there are ties
    answers /= answers.sum(axis=1, keepdims=True)
    votes = np.random.default_rng(2).dirichlet([1.0] * classes, size=clips).astype(np.float32)
    votes[::3] = np.nan
    counts = _counts(clips, 40 if clips == 12 else 15)
    values = measure(labels, answers.argmax(axis=1), classes, answers, votes)(counts)
    lacking = 0
    for i, resample in enumerate(counts):
        drawn = np.repeat(np.arange(clips), resample)
        lacking += len(set(labels[drawn])) < classes
        expected = all_metrics(labels[drawn], answers[drawn], votes[drawn])
        left_out = {"ece"} | ({"top2_accuracy"} if classes == 2 else set())
        assert set(values) == set(expected) - left_out
        for name, own in values.items():
            assert own[i] == pytest.approx(np.nan if expected[name] is None else expected[name], nan_ok=True), name
    assert lacking or clips > 12, "some resample should lack a class, the case that needs care"


def test_answers_without_probabilities_have_the_headline():
    labels = np.array([0, 1, 2, 2])
    predictions = np.array([0, 2, 2, 2])
    values = measure(labels, predictions, 3)(np.ones((1, 4)))
    expected = classification_metrics(labels, predictions, 3)
    assert {name: own.item() for name, own in values.items()} == pytest.approx(expected)
    assert tuple(values) == HEADLINE


def test_a_resample_of_nothing_is_undefined_and_silent(recwarn):
    labels, (answers,) = guesses(6, 3)
    values = measure(labels, answers.argmax(axis=1), 3, answers)(np.zeros((1, 6)))
    assert all(np.isnan(own).all() for own in values.values())
    assert not recwarn.list
