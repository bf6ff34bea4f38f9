"""Dimensions: metrics equal to reference implementations, groups, the sections of a report, tables
and comparisons.
"""

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as sk
from support.predictions import predictions_of

from ser_hf.evaluation.bootstrap import paired_comparison
from ser_hf.evaluation.metrics import all_metrics, compute, definitions
from ser_hf.evaluation.predictions import Predictions, from_table, to_table
from ser_hf.evaluation.ratings import BY_DIMENSION, Ratings
from ser_hf.evaluation.summary import evaluate_predictions
from ser_hf.evaluation.tasks import DIMENSIONS

NAMES = ["arousal", "valence", "dominance"]


def rated(clips=60, speakers=6, runs=1, noise=0.1, seed=0):
    """Predictions of three dimensions: targets halved, moved, and with noise."""
    rng = np.random.default_rng(seed)
    targets = rng.uniform(size=(clips, 3)).astype(np.float32)
    values = 0.5 * targets + 0.2 + rng.normal(0, noise, size=(runs, clips, 3)).astype(np.float32)
    columns = predictions_of(
        [0] * clips, [0] * clips, 2, [f"toy:{i % speakers}" for i in range(clips)]
    ).columns
    return Predictions(NAMES, [f"clip {i}" for i in range(clips)], targets, values, columns)


def reference(targets, values):
    """The four metrics of one dimension: CCC by Lin's definition, the others by scipy and
    scikit-learn.
    """
    covariance = np.cov(targets, values, bias=True)
    gap = np.mean(targets) - np.mean(values)
    return {
        "ccc": 2 * covariance[0, 1] / (np.trace(covariance) + gap**2),
        "pearson": scipy.stats.pearsonr(targets, values).statistic,
        "mae": sk.mean_absolute_error(targets, values),
        "rmse": sk.root_mean_squared_error(targets, values),
    }


def test_metrics_are_the_means_of_reference_implementations():
    clips = rated()
    targets = clips.labels.astype(float)
    values = clips.probabilities[0].astype(float)
    each = [reference(targets[:, i], values[:, i]) for i in range(3)]
    measured = all_metrics(clips.labels, clips.probabilities[0])
    assert list(measured) == list(definitions(DIMENSIONS)) == list(DIMENSIONS.headline)
    assert measured == pytest.approx(
        {name: np.mean([own[name] for own in each]) for name in measured}, rel=1e-6
    )
    found = evaluate_predictions(clips, bootstrap=20).per_dimension
    for name, own in zip(NAMES, each, strict=True):
        assert {key: getattr(found[name], key) for key in BY_DIMENSION} == pytest.approx(
            own, rel=1e-6
        )
        low, high = found[name].ccc_interval
        assert low < own["ccc"] < high


def test_weights_are_repeated_clips():
    clips = rated(12)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=5)
    (run,) = clips.outputs
    weighted = compute(run, counts, DIMENSIONS.headline)
    for i, drawn in enumerate(counts):
        repeated = run.only(np.repeat(np.arange(12), drawn))
        expected = all_metrics(repeated.labels, repeated.values)
        assert {name: own[i] for name, own in weighted.items()} == pytest.approx(expected, rel=1e-6)


def test_the_score_of_a_group_is_that_of_its_clips():
    (run,) = rated(30).outputs
    group = np.arange(30) % 3 - 1  # a third is in no group
    scores = run.main_by_group(group, 2)(np.ones((1, 30)))
    expected = [
        compute(run.only(np.flatnonzero(group == i)), np.ones((1, 10)), ["ccc"])["ccc"]
        for i in (0, 1)
    ]
    assert scores[0] == pytest.approx(np.concatenate(expected), rel=1e-9)


def test_a_report_has_groups_hard_clips_and_no_sections_of_classes():
    found = evaluate_predictions(rated(runs=2), bootstrap=50)
    assert {"confusion", "per_class", "calibration", "perceived"}.isdisjoint(found.to_dict())
    assert list(found.slices["speaker"]) == [f"toy:{i}" for i in range(6)]
    assert found.gaps["speaker"].metric == "ccc"
    low, high = found.intervals["ccc"]
    assert low < found.metrics["ccc"] < high
    errors = [clip.error for clip in found.hardest]
    assert errors == sorted(errors, reverse=True)
    assert found.hardest[0].label.startswith("arousal 0.")


def test_equal_targets_leave_a_metric_undefined():
    equal = Ratings(np.full((4, 1), 0.5), np.linspace(0, 1, 4)[:, None])
    with np.errstate(invalid="ignore"):
        assert all_metrics(equal.labels, equal.values)["pearson"] is None


def test_predictions_that_hardly_differ_have_a_warning():
    clips = rated()
    clips.probabilities[..., 1] = 0.5
    (warning, *_) = [
        own for own in evaluate_predictions(clips, bootstrap=20).warnings if "hardly differ" in own
    ]
    assert "predictions of valence hardly" in warning


def test_a_table_gives_the_predictions_back():
    clips = rated(5)
    table = to_table("test", clips)
    assert {"true_arousal", "p_arousal"} <= set(table.column_names)
    assert {"label", "predicted"}.isdisjoint(table.column_names)
    back = from_table(table, "test", NAMES)
    np.testing.assert_array_equal(back.labels, clips.labels)
    np.testing.assert_array_equal(back.probabilities, clips.probabilities)


def test_the_better_of_two_is_found():
    good = rated(runs=2, noise=0.02)
    poor = rated(runs=2, noise=0.4)
    compared = paired_comparison(
        {"good": good.outputs, "poor": poor.outputs}, good.speakers, resamples=200
    )
    assert list(compared["good", "poor"]) == list(DIMENSIONS.compared)
    assert compared["good", "poor"]["ccc"].interval[0] > 0
    assert compared["good", "poor"]["rmse"].interval[1] < 0
