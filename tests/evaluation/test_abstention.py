"""Risk and coverage by hand, and the choice of a threshold."""

import numpy as np
import pytest
import scipy.stats
from support.predictions import guesses, predictions_of

from ser_hf.evaluation.abstention import (
    Confidence,
    abstention_section,
    aggregated_abstention,
    aurc,
    choose_threshold,
    confidence_of,
    evaluated_threshold,
)


def confidence(*pairs):
    """Of (probability, wrong) pairs."""
    probability, wrong = zip(*pairs, strict=True)
    return Confidence(np.array(probability), np.array(wrong, dtype=bool))


def test_the_area_is_the_mean_error_over_coverages():
    # Errors of the 1, 2, 3 and 4 most confident clips: 0, 0, 1/3, 1/2.
    area = aurc(confidence((0.9, 0), (0.6, 1), (0.8, 0), (0.5, 1)))
    assert area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert aurc(confidence((0.9, 0), (0.8, 0))) == 0
    assert aurc(confidence((0.9, 1), (0.8, 1))) == 1


def test_equal_probabilities_are_predicted_together():
    tied = confidence((0.7, 1), (0.7, 0), (0.7, 0), (0.7, 0))
    assert aurc(tied) == pytest.approx(0.25)
    assert aurc(tied) == aurc(confidence((0.7, 0), (0.7, 0), (0.7, 0), (0.7, 1)))


def many(clips, errors):
    """Clips with falling probabilities; `errors` are the ranks of the wrong ones."""
    return confidence(*[(1 - rank / 1000, rank in errors) for rank in range(clips)])


def test_the_lowest_threshold_that_keeps_the_error_is_chosen():
    # With no error among n clips, the upper limit of the error is 1 - 0.2 ** (1 / n).
    clips = 15
    while 1 - 0.2 ** (1 / clips) > 0.1:
        clips += 1
    assert choose_threshold(many(clips - 1, set()), 0.1) is None
    assert choose_threshold(many(clips, set()), 0.1) == pytest.approx(1 - (clips - 1) / 1000)
    # 100 clips without an error, and then errors only.
    chosen = choose_threshold(many(200, set(range(100, 200))), 0.1)
    predicted = round(1000 * (1 - chosen)) + 1
    assert 100 < predicted < 111, "the observed error is below the stated one"
    assert scipy.stats.binom.cdf(predicted - 100, predicted, 0.1) <= 0.2
    assert scipy.stats.binom.cdf(predicted - 99, predicted + 1, 0.1) > 0.2


def test_no_threshold_is_chosen_if_none_keeps_the_error():
    assert choose_threshold(many(60, set(range(60))), 0.1) is None
    assert choose_threshold(many(60, set(range(0, 60, 5))), 0.1) is None


def test_a_section_has_the_threshold_of_validation_on_both_splits():
    labels, probabilities = guesses(400, 3, sharpness=2, seed=1)
    speakers = [f"s{i % 8}" for i in range(400)]
    held_out = predictions_of(labels, None, 3, speakers, probabilities)
    labels, probabilities = guesses(300, 3, sharpness=2, seed=2)
    tested = predictions_of(labels, None, 3, [f"t{i % 6}" for i in range(300)], probabilities)
    section = abstention_section(tested, held_out, 0.1, bootstrap=50)
    threshold = section.threshold
    assert threshold == choose_threshold(confidence_of(held_out), 0.1)
    assert section.validation.error <= 0.1
    highest = tested.probabilities[0].max(axis=1)
    predicted = highest >= threshold
    assert 0 < predicted.sum() < len(tested)
    assert section.evaluated.coverage == pytest.approx(predicted.mean())
    wrong = tested.probabilities[0].argmax(axis=1) != tested.labels
    assert section.evaluated.error == pytest.approx(wrong[predicted].mean())
    low, high = section.evaluated.error_interval
    assert low <= section.evaluated.error <= high
    assert section.curve[-1].coverage == 1
    assert section.curve[-1].error == pytest.approx(wrong.mean())


def test_without_a_threshold_the_section_has_the_curve_only():
    labels, probabilities = guesses(100, 3, sharpness=0)
    bad = predictions_of(labels, None, 3, None, probabilities)
    section = abstention_section(bad, bad, 0.01, bootstrap=10)
    assert section.threshold is None
    assert section.evaluated is None
    assert section.stated_error == 0.01
    assert evaluated_threshold(bad, None).curve == section.curve
    everything = evaluated_threshold(bad, 0.01, bootstrap=10).evaluated
    assert everything.coverage == 1
    nothing = evaluated_threshold(bad, 1.0, bootstrap=10).evaluated
    assert (nothing.coverage, nothing.error, nothing.error_interval) == (0, None, None)


def test_each_fold_has_its_threshold():
    labels, probabilities = guesses(100, 3, sharpness=2)
    predictions = predictions_of(labels, None, 3, None, probabilities)
    numbers = np.array([["1"] * 50 + ["2"] * 30 + ["3"] * 20])
    thresholds = {"1": 0.5, "2": 0.9, "3": None}
    section = aggregated_abstention(predictions, thresholds, numbers, 0.1, bootstrap=10)
    highest = probabilities[0].max(axis=1)
    predicted = (highest[:50] >= 0.5).sum() + (highest[50:80] >= 0.9).sum()
    assert section.evaluated.coverage == pytest.approx(predicted / 100)
    assert section.thresholds == thresholds
    without = aggregated_abstention(predictions, {"1": None}, numbers, 0.1)
    assert without.evaluated is None
    assert without.thresholds == {"1": None}
