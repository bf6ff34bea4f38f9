"""Paired comparison: examples by hand, scikit-learn and scipy, and error rates by simulation."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from ser_hf.evaluation.bootstrap import holm, paired_comparison, sign_p
from ser_hf.evaluation.outputs import Outputs


def _speech(generator, speakers, clips, gap=0.0, between=0.08, runs=1, classes=4):
    """Labels, both sides' predictions (runs, clips) and speakers. A side recognizes half of the
    clips; its rate differs by up to `between` by speaker, and side a has `gap` more than side b."""
    of = np.repeat(np.arange(speakers), clips)
    labels = np.tile(np.arange(clips) % classes, speakers)
    level = generator.normal(0, between, speakers)[of]
    sides = []
    for sign in (1, -1):
        own = level + generator.normal(0, between, speakers)[of] + sign * gap / 2
        right = generator.random((runs, len(of))) < np.clip(0.5 + own, 0.02, 0.98)
        wrong = (labels + generator.integers(1, classes, size=right.shape)) % classes
        sides.append(np.where(right, labels, wrong))
    return labels, *sides, [f"s{speaker}" for speaker in of]


def compared(labels, a, b, classes, speakers, **settings):
    labels = np.asarray(labels)
    sides = {
        name: [Outputs(labels, run, classes) for run in np.atleast_2d(own)]
        for name, own in (("a", a), ("b", b))
    }
    return paired_comparison(sides, speakers, **settings)["a", "b"]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_the_sign_p_value_counts_and_never_reaches_zero():
    assert sign_p(np.array([1.0] * 97 + [-1.0] * 2)) == pytest.approx(2 * 3 / 100)
    assert sign_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert sign_p(np.zeros(50)) == 1


def test_differences_are_those_of_scikit_learn():
    labels, a, b, speakers = _speech(np.random.default_rng(0), 12, 15, runs=3)
    found_by = compared(labels, a, b, 4, speakers, resamples=50)
    reference = {
        "uar": lambda run: recall_score(labels, run, average="macro"),
        "wa": lambda run: accuracy_score(labels, run),
        "macro_f1": lambda run: f1_score(labels, run, average="macro"),
    }
    for metric, score in reference.items():
        own, other = (np.mean([score(run) for run in runs]) for runs in (a, b))
        found = found_by[metric]
        assert (found.a, found.b, found.difference) == pytest.approx((own, other, own - other))


@pytest.mark.parametrize(("runs", "others"), [(1, 1), (3, 3), (3, 1), (3, 2)])
def test_exchanging_the_sides_only_changes_signs(runs, others):
    labels, a, b, speakers = _speech(np.random.default_rng(1), 11, 10, gap=0.1, runs=3)
    there = compared(labels, a[:runs], b[:others], 4, speakers, resamples=400)
    back = compared(labels, b[:others], a[:runs], 4, speakers, resamples=400)
    for metric, found in there.items():
        turned = back[metric]
        assert found.difference == pytest.approx(-turned.difference)
        assert found.p == turned.p
        for interval in ("interval", "clip_interval"):
            assert getattr(found, interval) == pytest.approx(
                [-end for end in reversed(getattr(turned, interval))]
            )


def test_the_same_predictions_do_not_differ():
    labels, a, _, speakers = _speech(np.random.default_rng(3), 10, 8)
    for found in compared(labels, a, a, 4, speakers, resamples=100).values():
        assert (found.difference, found.interval, found.p) == (0, [0, 0], 1)


def test_pairing_detects_what_unpaired_intervals_miss():
    """Speakers who are hard for both sides move both figures, and not their difference."""
    labels, a, b, speakers = _speech(np.random.default_rng(4), 20, 40, between=0.0)
    level = np.repeat(np.random.default_rng(5).uniform(0, 0.9, 20), 40)
    draw = np.random.default_rng(6).random(len(labels))
    wrong = (labels + 1) % 4
    a, b = (np.where(draw < level + gain, labels, wrong) for gain in (0.05, 0.0))
    found = compared(labels, a, b, 4, speakers, resamples=1000)["wa"]
    assert found.interval[0] > 0
    assert found.p < 0.01
    spread = np.ptp(
        compared(labels, a, np.zeros_like(a), 4, speakers, resamples=1000)["wa"].interval
    )
    assert spread > 5 * np.ptp(found.interval)


@pytest.mark.slow
def test_coverage_and_false_alarms_of_the_bootstrap():
    """80 comparisons without a difference and 80 with a difference of 0.08: the 95 % interval over
    speakers has its nominal coverage, and p < 0.05 is not too frequent."""
    covered = 0
    alarms = 0
    for i in range(80):
        labels, a, b, speakers = _speech(np.random.default_rng(i), 16, 16, classes=2)
        alarms += compared(labels, a, b, 2, speakers, resamples=200, seed=i)["wa"].p < 0.05
        labels, a, b, speakers = _speech(
            np.random.default_rng(1000 + i), 16, 16, gap=0.08, classes=2
        )
        low, high = compared(labels, a, b, 2, speakers, resamples=200, seed=i)["wa"].interval
        covered += low <= 0.08 <= high
    assert covered >= 0.9 * 80
    assert alarms <= 0.1 * 80
