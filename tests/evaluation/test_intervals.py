"""Bootstrap intervals: the vectorised metrics, who is drawn, and what the interval says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.evaluation.intervals import _clip_counts, _metrics, bootstrap_intervals, fold_intervals
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


def _folds(count=5, speakers=1, clips=40, runs=1, seed=0):
    """Folds whose speakers are recognised more or less well: labels, (runs, clips) predictions, speakers."""
    generator = np.random.default_rng(seed)
    folds = []
    for i in range(count):
        labels = np.arange(clips) % 4
        right = generator.random((runs, clips)) < 0.4 + 0.1 * (i % 4)
        predictions = np.where(right, labels, generator.integers(4, size=(runs, clips)))
        folds.append((labels, predictions, np.array([f"s{i}-{j * speakers // clips}" for j in range(clips)])))
    return folds


def _mean(folds):
    scores = [classification_metrics(labels, run, 4) for labels, runs, _ in folds for run in runs]
    return {name: np.mean([score[name] for score in scores]) for name in NAMES}


def _width(intervals, name="uar"):
    return intervals[name][1] - intervals[name][0]


@pytest.mark.parametrize("draw_folds", [False, True])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("speakers", [1, 4])
def test_the_interval_over_folds_holds_the_folds_mean(speakers, runs, draw_folds):
    folds = _folds(speakers=speakers, runs=runs)
    intervals = fold_intervals(folds, 4, draw_folds, resamples=400)
    assert set(intervals) == set(NAMES)
    for name, value in _mean(folds).items():
        low, high = intervals[name]
        assert 0 <= low < value < high <= 1


def test_one_speaker_a_fold_is_drawn_as_a_speaker():
    """Leave-one-speaker-out: within a fold there is nobody else to draw, so that the folds must be."""
    labels = np.tile(np.arange(4), 10)
    folds = [(labels, (labels + i % 2) % 4, np.full(40, f"s{i}")) for i in range(8)]
    still, drawn = (fold_intervals(folds, 4, draw_folds, resamples=400) for draw_folds in (False, True))
    assert still["wa"] == pytest.approx([0.5, 0.5]), "each speaker is all right or all wrong, however it is drawn"
    # Half of eight speakers are right: the share of right ones has a deviation of 0.18, read at steps of an eighth.
    assert _width(drawn, "wa") == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(8), abs=0.13)
    # The same people judged without folds.
    together = bootstrap_intervals(
        np.tile(labels, 8), np.concatenate([own for _, own, _ in folds]), 4, np.repeat(np.arange(8), 40), 400
    )
    assert drawn["wa"] == pytest.approx(together["wa"], abs=0.13)


def test_drawing_the_folds_is_wider_where_they_differ():
    folds = _folds(count=8)
    assert _width(fold_intervals(folds, 4, True)) > 1.2 * _width(fold_intervals(folds, 4, False))


def test_one_fold_that_is_not_drawn_is_the_plain_bootstrap():
    (fold,) = _folds(count=1, speakers=5, runs=2)
    labels, runs, speakers = fold
    assert fold_intervals([fold], 4, False, resamples=300, seed=3) == bootstrap_intervals(
        labels, runs, 4, speakers, resamples=300, seed=3
    )


def test_a_fold_drawn_twice_is_not_the_same_twice():
    """Were it, two equal folds would be as uncertain as one; two resamples of it are less by the root of two."""
    (fold,) = _folds(count=1, clips=200)
    alone = _width(fold_intervals([fold], 4, True), "wa")
    twice = _width(fold_intervals([fold, fold], 4, True), "wa")
    assert twice == pytest.approx(alone / np.sqrt(2), rel=0.12)


def test_folds_are_drawn_alike_under_one_seed_and_narrower_with_less_confidence():
    folds = _folds(speakers=3)
    wide = fold_intervals(folds, 4, True, resamples=300)
    assert wide == fold_intervals(folds, 4, True, resamples=300)
    assert wide != fold_intervals(folds, 4, True, resamples=300, seed=1)
    narrow = fold_intervals(folds, 4, True, resamples=300, confidence=0.5)
    assert wide["uar"][0] < narrow["uar"][0] < narrow["uar"][1] < wide["uar"][1]


def test_a_class_that_a_fold_lacks_is_left_out_of_that_fold():
    labels = np.tile([0, 1], 20)
    folds = [(labels, labels, None), (labels, 1 - labels, None)]
    for draw_folds in (False, True):
        intervals = fold_intervals(folds, 4, draw_folds, resamples=100)
        assert np.isfinite(list(intervals.values())).all()
    assert fold_intervals(folds, 4, False, resamples=100)["uar"] == pytest.approx([0.5, 0.5])


@st.composite
def _any_folds(draw):
    folds, runs = [], draw(st.integers(1, 2))
    for _ in range(draw(st.integers(1, 4))):
        clips = draw(st.integers(1, 12))
        ids = st.lists(st.integers(0, 2), min_size=clips, max_size=clips)
        speakers = draw(st.none() | ids.map(lambda own: [f"s{i}" for i in own]))
        folds.append((np.array(draw(ids)), np.array([draw(ids) for _ in range(runs)]), speakers))
    return folds


@settings(max_examples=60)
@given(_any_folds(), st.booleans(), st.floats(0.05, 0.99))
def test_low_is_never_above_high_whatever_the_folds(folds, draw_folds, confidence):
    intervals = fold_intervals(folds, 3, draw_folds, resamples=30, confidence=confidence)
    assert tuple(intervals) == NAMES
    for low, high in intervals.values():
        assert 0 <= low <= high <= 1


def test_speakers_of_several_folds_are_drawn_once_for_all():
    """Folds by sentence: each speaker stands in each, so that their variation must not average out over folds."""
    generator = np.random.default_rng(0)
    ability = generator.uniform(0.2, 0.9, 12)
    speakers = np.repeat([f"s{i}" for i in range(12)], 8)
    folds = []
    for _ in range(10):
        labels = generator.integers(0, 4, len(speakers))
        right = generator.random(len(speakers)) < np.repeat(ability, 8)
        folds.append((labels, np.where(right, labels, (labels + 1) % 4)[None], speakers))
    low, high = fold_intervals(folds, 4, draw_folds=True, resamples=500)["uar"]
    renamed = [(labels, runs, [f"{i}:{name}" for name in own]) for i, (labels, runs, own) in enumerate(folds)]
    narrow_low, narrow_high = fold_intervals(renamed, 4, draw_folds=False, resamples=500)["uar"]
    # As if each fold had speakers of its own, the mean over ten folds would seem about three times as sure.
    assert high - low > 2 * (narrow_high - narrow_low)
    assert low < np.mean([classification_metrics(labels, runs[0], 4)["uar"] for labels, runs, _ in folds]) < high
