"""Bootstrap intervals: the vectorised metrics, who is drawn, and what the interval says."""

import numpy as np
import pytest

from ser_hf.evaluation.intervals import _clip_counts, _metrics, bootstrap_intervals
from ser_hf.evaluation.metrics import classification_metrics

NAMES = ("uar", "wa", "macro_f1", "weighted_f1")


def _part(clips=80, classes=4, seed=0, right=0.6):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    guesses = generator.integers(classes, size=clips)
    return labels, np.where(generator.random(clips) < right, labels, guesses)


def test_every_resample_is_measured_as_scikit_learn_measures_it():
    labels, predictions = _part(clips=12)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=50)
    values = _metrics(counts, labels, predictions, 4)
    lacking = 0
    for resample, measured in zip(counts, values.T, strict=True):
        drawn = np.repeat(np.arange(12), resample)
        lacking += len(set(labels[drawn])) < 4
        expected = classification_metrics(labels[drawn], predictions[drawn], 4)
        np.testing.assert_allclose(measured, [expected[name] for name in NAMES], rtol=1e-12)
    assert lacking, "some resample should lack a class, the case that needs care"


def test_a_speaker_drawn_twice_brings_twice_as_many_clips():
    speakers = np.array(["a", "b", "c"])[[0, 1, 1, 2, 2, 2, 2, 0]]
    counts = _clip_counts(8, speakers, 200, np.random.default_rng(0))
    drawn = np.stack([counts[:, speakers == name].sum(axis=1) / n for name, n in (("a", 2), ("b", 2), ("c", 4))])
    assert np.array_equal(drawn, drawn.round())
    assert np.array_equal(drawn.sum(axis=0), np.full(200, 3))
    assert drawn.max() == 3
    assert (counts[:, 0] != counts[:, 7]).any(), "the clips of a drawn speaker are drawn again"


def test_clips_alone_are_drawn_with_replacement():
    counts = _clip_counts(30, None, 300, np.random.default_rng(0))
    assert np.array_equal(counts.sum(axis=1), np.full(300, 30))
    # A clip is left out of (1 - 1/30)^30 of the resamples.
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.02)


def test_with_one_clip_a_speaker_both_bootstraps_are_one():
    labels, predictions = _part()
    speakers = [f"speaker-{i:03d}" for i in range(len(labels))]
    over_speakers = bootstrap_intervals(labels, predictions, 4, speakers, resamples=300)
    assert over_speakers == bootstrap_intervals(labels, predictions, 4, resamples=300)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_measured_value(seed):
    labels, predictions = _part(seed=seed)
    speakers = np.arange(len(labels)) % 10
    for drawn in (None, speakers):
        intervals = bootstrap_intervals(labels, predictions, 4, drawn, resamples=400)
        measured = classification_metrics(labels, predictions, 4)
        assert all(intervals[name][0] < measured[name] < intervals[name][1] for name in NAMES)


def test_the_interval_is_wider_over_speakers_where_they_differ():
    labels = np.tile(np.arange(4), 50)
    speakers = np.repeat(np.arange(10), 20)
    predictions = np.where(speakers % 2 == 0, labels, (labels + 1) % 4)
    (low, high), (clip_low, clip_high) = (
        bootstrap_intervals(labels, predictions, 4, drawn, resamples=500)["uar"] for drawn in (speakers, None)
    )
    assert high - low > 2 * (clip_high - clip_low)


def test_the_width_over_clips_is_the_binomials():
    labels, predictions = _part(clips=400)
    low, high = bootstrap_intervals(labels, predictions, 4)["wa"]
    share = (labels == predictions).mean()
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.1)


def test_several_runs_are_averaged_within_each_resample():
    labels, right = np.tile(np.arange(2), 20), np.tile(np.arange(2), 20)
    intervals = bootstrap_intervals(labels, np.stack([right, 1 - right]), 2, resamples=200)
    assert intervals["wa"] == pytest.approx([0.5, 0.5])
    assert intervals["uar"] == pytest.approx([0.5, 0.5])


def test_the_same_seed_gives_the_same_interval_and_less_confidence_a_narrower_one():
    labels, predictions = _part()
    wide = bootstrap_intervals(labels, predictions, 4, resamples=300)
    assert wide == bootstrap_intervals(labels, predictions, 4, resamples=300)
    assert wide != bootstrap_intervals(labels, predictions, 4, resamples=300, seed=1)
    narrow = bootstrap_intervals(labels, predictions, 4, resamples=300, confidence=0.5)
    assert wide["uar"][0] < narrow["uar"][0] < narrow["uar"][1] < wide["uar"][1]
