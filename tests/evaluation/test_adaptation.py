"""The section about an adaptation: results with it, and their difference from those without."""

import numpy as np
import pytest
from support.predictions import guesses, predictions_of

from ser_hf.evaluation.adaptation import adaptation_section, mean_adaptation
from ser_hf.evaluation.metrics import all_metrics


def section(seed=0):
    labels, probabilities = guesses(120, 3, sharpness=1, seed=seed)
    speakers = [f"s{i % 6}" for i in range(120)]
    predictions = predictions_of(labels, None, 3, speakers, probabilities)
    better = np.where(np.arange(120)[:, None] < 60, np.eye(3)[labels], probabilities[0])
    made = adaptation_section(
        predictions,
        better.astype(np.float32),
        grouping="speaker",
        adapted=np.arange(120) < 60,
        groups=6,
        adapted_groups=3,
        bootstrap=50,
    )
    return made, predictions, better


def test_results_with_adaptation_are_beside_those_without():
    made, predictions, better = section()
    expected = all_metrics(predictions.labels, better)
    assert made.metrics["uar"] == pytest.approx(expected["uar"])
    plain = all_metrics(predictions.labels, predictions.probabilities[0])
    assert made.difference == pytest.approx(expected["uar"] - plain["uar"])
    low, high = made.difference_interval
    assert 0 < low <= made.difference <= high
    assert (made.groups, made.adapted_groups, made.clips) == (6, 3, 60)


def test_over_folds_results_are_means():
    first, _, _ = section(0)
    second, _, _ = section(1)
    mean = mean_adaptation([first, second])
    assert mean.metrics["uar"] == pytest.approx((first.metrics["uar"] + second.metrics["uar"]) / 2)
    assert mean.difference == pytest.approx((first.difference + second.difference) / 2)
    assert (mean.groups, mean.clips, mean.difference_interval) == (12, 120, None)
