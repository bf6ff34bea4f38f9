"""Bootstrap intervals: the draws of speakers and clips, and the coverage of the intervals."""

import dataclasses

import numpy as np
import pytest
from support.intervals import bootstrap_intervals, metric_intervals, recall_intervals
from support.predictions import guesses, predictions_of

from ser_hf.evaluation import bootstrap as module
from ser_hf.evaluation.bootstrap import draws, fold_intervals
from ser_hf.evaluation.metrics import all_metrics, classification_metrics, mean_metrics

NAMES = ("uar", "wa", "macro_f1", "weighted_f1")


def _part(clips=80, classes=4, seed=0, right=0.6):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    guesses = generator.integers(classes, size=clips)
    return labels, np.where(generator.random(clips) < right, labels, guesses)


def test_a_speaker_drawn_twice_brings_twice_as_many_clips():
    speakers = np.array(["a", "b", "c"])[[0, 1, 1, 2, 2, 2, 2, 0]]
    (counts,) = draws(8, speakers, 200, np.random.default_rng(0))
    drawn = np.stack(
        [counts[:, speakers == name].sum(axis=1) / n for name, n in (("a", 2), ("b", 2), ("c", 4))]
    )
    assert np.array_equal(drawn, drawn.round())
    assert np.array_equal(drawn.sum(axis=0), np.full(200, 3))
    assert drawn.max() == 3
    assert (counts[:, 0] != counts[:, 7]).any(), "the clips of a drawn speaker are drawn again"


def test_clips_alone_are_drawn_with_replacement():
    (counts,) = draws(30, None, 300, np.random.default_rng(0))
    assert np.array_equal(counts.sum(axis=1), np.full(300, 30))
    # A clip is left out of (1 - 1/30)^30 of the resamples.
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.02)


def test_the_interval_is_wider_over_speakers_where_they_differ():
    labels = np.tile(np.arange(4), 50)
    speakers = np.repeat(np.arange(10), 20)
    predictions = np.where(speakers % 2 == 0, labels, (labels + 1) % 4)
    (low, high), (clip_low, clip_high) = (
        bootstrap_intervals(labels, predictions, 4, drawn, resamples=500)["uar"]
        for drawn in (speakers, None)
    )
    assert high - low > 2 * (clip_high - clip_low)


def _folds(count=5, speakers=1, clips=40, runs=1, seed=0):
    """Folds whose speakers are recognized more or less well."""
    generator = np.random.default_rng(seed)
    folds = []
    for i in range(count):
        labels = np.arange(clips) % 4
        right = generator.random((runs, clips)) < 0.4 + 0.1 * (i % 4)
        predictions = np.where(right, labels, generator.integers(4, size=(runs, clips)))
        folds.append(
            predictions_of(
                labels, predictions, 4, [f"s{i}-{j * speakers // clips}" for j in range(clips)]
            )
        )
    return _apart(folds)


def _apart(folds):
    """Folds without a common clip."""
    return [
        dataclasses.replace(fold, ids=[f"{i}/{clip}" for clip in fold.ids])
        for i, fold in enumerate(folds)
    ]


def _mean(folds):
    scores = [
        classification_metrics(fold.labels, run, 4) for fold in folds for run in fold.predicted
    ]
    return {name: np.mean([score[name] for score in scores]) for name in NAMES}


def _width(intervals, name="uar"):
    return intervals[name][1] - intervals[name][0]


@pytest.mark.parametrize("draw_folds", [False, True])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("speakers", [1, 4])
def test_the_interval_over_folds_contains_the_mean_of_the_folds(speakers, runs, draw_folds):
    folds = _folds(speakers=speakers, runs=runs)
    intervals = fold_intervals(folds, draw_folds, resamples=400)
    assert set(NAMES) < set(intervals)
    for name, value in _mean(folds).items():
        low, high = intervals[name]
        assert 0 <= low < value < high <= 1


def test_one_speaker_a_fold_is_drawn_as_a_speaker():
    """Leave-one-speaker-out: a fold has one speaker, so the folds are drawn instead."""
    labels = np.tile(np.arange(4), 10)
    folds = _apart(
        [predictions_of(labels, (labels + i % 2) % 4, 4, [f"s{i}"] * 40) for i in range(8)]
    )
    still, drawn = (
        fold_intervals(folds, draw_folds, resamples=400) for draw_folds in (False, True)
    )
    assert still["wa"] == pytest.approx([0.5, 0.5]), (
        "each speaker is all right or all wrong, however it is drawn"
    )
    # Half of eight speakers are right: the share of right ones has a deviation of 0.18, read at
    # steps of an eighth.
    assert _width(drawn, "wa") == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(8), abs=0.13)
    # The same speakers evaluated without folds.
    together = bootstrap_intervals(
        np.tile(labels, 8),
        np.concatenate([fold.predicted[0] for fold in folds]),
        4,
        np.repeat(np.arange(8), 40),
        400,
    )
    assert drawn["wa"] == pytest.approx(together["wa"], abs=0.13)


def test_speakers_of_several_folds_are_drawn_once_for_all():
    """Folds by sentence: each speaker is in each, so their variation must not average out over
    folds.
    """
    generator = np.random.default_rng(0)
    ability = generator.uniform(0.2, 0.9, 12)
    speakers = np.repeat([f"s{i}" for i in range(12)], 8)
    folds = []
    for _ in range(10):
        labels = generator.integers(0, 4, len(speakers))
        right = generator.random(len(speakers)) < np.repeat(ability, 8)
        folds.append(predictions_of(labels, np.where(right, labels, (labels + 1) % 4), 4, speakers))
    folds = _apart(folds)
    low, high = fold_intervals(folds, draw_folds=True, resamples=500)["uar"]
    renamed = [
        predictions_of(fold.labels, fold.predicted, 4, [f"{i}:{name}" for name in fold.speakers])
        for i, fold in enumerate(folds)
    ]
    narrow_low, narrow_high = fold_intervals(_apart(renamed), draw_folds=False, resamples=500)[
        "uar"
    ]
    # With other speakers in each fold the interval of the mean over ten folds is about a third as
    # wide.
    assert high - low > 2 * (narrow_high - narrow_low)
    assert low < _mean(folds)["uar"] < high


@pytest.mark.parametrize("by_speaker", [True, False])
def test_a_clip_of_several_folds_is_drawn_once(by_speaker):
    """If copies of a validation clip in several folds were drawn independently, the interval would
    be too narrow.
    """
    (fold,) = _folds(count=1, speakers=5)
    alone = metric_intervals(fold, by_speaker, resamples=300)
    expected = {name: pytest.approx(own) for name, own in alone.items()}
    assert fold_intervals([fold] * 4, True, by_speaker, resamples=300) == expected
    everything = dataclasses.replace(
        fold,
        ids=fold.ids * 4,
        labels=np.tile(fold.labels, 4),
        probabilities=np.tile(fold.probabilities, (1, 4, 1)),
        columns={name: values * 4 for name, values in fold.columns.items()},
    )
    pooled = metric_intervals(everything, by_speaker, resamples=300)
    assert pooled == expected


def test_clips_with_unknown_speakers_are_drawn_alone():
    labels, predictions = _part()
    names = None, "mer:unknown", "mer:a"
    nobody, unnamed, one = (predictions_of(labels, predictions, 4, [name] * 80) for name in names)
    alone = metric_intervals(nobody, False, resamples=200)
    for part in (nobody, unnamed):
        found = metric_intervals(part, True, resamples=200)
        assert found == {name: pytest.approx(own, abs=0.06) for name, own in alone.items()}
        assert _width(found, "wa") == pytest.approx(
            _width(metric_intervals(one, True, resamples=200), "wa"), rel=0.25
        )
    some = predictions_of(labels, predictions, 4, ["mer:a", None] * 40)
    assert _width(metric_intervals(some, True, resamples=400), "wa") > 0, (
        "one speaker of forty clips, and forty more"
    )


def test_very_many_classes_fit_into_memory_and_every_class_counts():
    """An identity matrix of 527 classes squared would take 575 GiB."""
    labels = np.arange(30) % 3 * 263
    predictions = np.arange(30) % 2 * 263
    part = predictions_of(labels, predictions, 527)
    few = predictions_of(labels // 263, predictions // 263, 3)
    for by_speaker in (True, False):
        found, expected = (metric_intervals(own, by_speaker, resamples=50) for own in (part, few))
        for name in set(expected) - {"log_loss"}:  # which clips probabilities, of many more
            assert found[name] == pytest.approx(expected[name]), name
    assert [own for own in recall_intervals(part, 50) if own] == recall_intervals(few, 50)


def test_every_metric_has_an_interval_that_contains_it():
    labels, probabilities = guesses(90, 4, runs=2)
    part = predictions_of(
        labels, probabilities.argmax(axis=2), 4, np.arange(90) % 12, probabilities
    )
    measured = mean_metrics([all_metrics(labels, run) for run in probabilities])
    for by_speaker in (True, False):
        found = metric_intervals(part, by_speaker, resamples=300)
        # The clips of a resample repeat, which biases ECE.
        assert set(found) == set(measured) - {"ece"}
        assert all(low < measured[name] < high for name, (low, high) in found.items())


def test_memory_stays_flat_and_the_draws_do_not_change(monkeypatch):
    labels, probabilities = guesses(40, 3)
    part = predictions_of(labels, probabilities.argmax(axis=2), 3, np.arange(40) % 5, probabilities)
    whole = metric_intervals(part, True, resamples=400)
    monkeypatch.setattr(module, "_DRAWN_AT_ONCE", 40 * 37)
    assert [len(block) for block in draws(40, None, 100, np.random.default_rng(0))] == [37, 37, 26]
    for name, ends in metric_intervals(part, True, resamples=400).items():
        assert ends == pytest.approx(whole[name], abs=0.1), (
            "other draws, the same intervals but for chance"
        )


def test_the_recall_of_each_class_has_its_interval():
    labels = np.repeat([0, 1], 200)
    predictions = np.where(np.arange(400) % 4 == 0, 1 - labels, labels)
    part = predictions_of(labels, predictions, 3)
    first, second, absent = recall_intervals(part)
    assert absent is None
    for low, high in (first, second):
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 200), rel=0.12)


@pytest.mark.slow
def test_coverage():
    """The coverage of nominal 95 % intervals if speakers differ: close to 95 % with many speakers,
    less with four, and far less if only clips are resampled."""
    covered = {}
    for speakers, clips, by_speaker in ((30, 10, True), (4, 60, True), (30, 10, False)):
        generator = np.random.default_rng(0)
        held = 0
        for _ in range(200):
            ability = np.clip(generator.normal(0.6, 0.15, speakers), 0, 1)
            labels = np.tile(np.arange(2), speakers * clips // 2)
            right = generator.random(len(labels)) < np.repeat(ability, clips)
            own = np.repeat(np.arange(speakers), clips) if by_speaker else None
            low, high = bootstrap_intervals(
                labels, np.where(right, labels, 1 - labels), 2, own, resamples=200
            )["uar"]
            held += low <= 0.6 <= high
        covered[speakers, by_speaker] = held / 200
    assert covered[30, True] == pytest.approx(0.95, abs=0.035)
    assert 0.7 < covered[4, True] < 0.93
    assert covered[30, False] < covered[30, True] - 0.05
