"""The emotion diarization error rate equals a hand-computed example and a count of frames."""

import numpy as np
import pytest

from ser_hf.evaluation.emotion_diarization import (
    NO_SPEECH,
    DiarizationErrors,
    TimedLabel,
    confusion_seconds,
    diarization_errors,
    interval_of_rate,
)

LABELS = ("angry", "happy", "neutral", "sad")


def test_an_example_by_hand():
    reference = [
        TimedLabel(0.0, 2.0, "angry"),
        TimedLabel(2.0, 4.0, "neutral"),
        TimedLabel(5.0, 8.0, "sad"),
    ]
    predicted = [
        TimedLabel(0.0, 1.0, "angry"),  # right
        TimedLabel(1.0, 3.0, "neutral"),  # 1 s missed, 1 s right
        TimedLabel(3.0, 4.5, "happy"),  # 1.5 s of false alarm, 1 s of them in a neutral turn
        TimedLabel(5.0, 7.0, "angry"),  # 2 s of confusion
        TimedLabel(7.0, 9.0, "sad"),  # 1 s right, 1 s of false alarm
        TimedLabel(7.5, 8.0, "happy"),  # 0.5 s of overlap
    ]
    errors = diarization_errors(reference, predicted, duration=10.0)
    assert errors.false_alarm == pytest.approx(2.5)
    assert errors.missed == pytest.approx(1.0)
    assert errors.confusion == pytest.approx(2.0)
    assert errors.overlap == pytest.approx(0.5)
    assert errors.eder == pytest.approx(0.6)
    # 1 s of angry, 1 s of neutral, 0.5 s of sad, and half of 0.5 s with two labels, of 7 s.
    assert errors.accuracy == pytest.approx(2.75 / 7)


def test_the_example_of_the_paper_s_recipe():
    """One emotion in neutral speech: the rate is the share of time with another label."""
    reference = [TimedLabel(0.39, 1.10, "angry")]
    predicted = [TimedLabel(0.0, 0.6, "neutral"), TimedLabel(0.6, 1.2, "angry")]
    errors = diarization_errors(reference, predicted, duration=1.22)
    right = 0.39 + 0.50 + 0.02
    assert errors.eder == pytest.approx(1 - right / 1.22)


@pytest.mark.parametrize("seed", range(100))
def test_a_count_of_frames_gives_the_same(seed):
    generator = np.random.default_rng(seed)
    frames = 500  # of 10 ms
    turns = []
    for _ in range(2):
        side = []
        for _ in range(int(generator.integers(0, 8))):
            start = int(generator.integers(0, frames))
            end = int(generator.integers(start, frames + 50))
            side.append(TimedLabel(start / 100, end / 100, str(generator.choice(LABELS))))
        turns.append(side)
    reference, predicted = turns

    def labels_of(side, frame):
        middle = (frame + 0.5) / 100
        return {turn.label for turn in side if turn.start < middle < turn.end}

    counts = {"false_alarm": 0, "missed": 0, "confusion": 0, "overlap": 0}
    matrix = np.zeros((5, 5))
    names = [*LABELS, NO_SPEECH]
    for frame in range(frames):
        truth = labels_of(reference, frame)
        guess = labels_of(predicted, frame)
        for row in truth or {NO_SPEECH}:
            for column in guess or {NO_SPEECH}:
                pairs = max(len(truth), 1) * max(len(guess), 1)
                matrix[names.index(row), names.index(column)] += 0.01 / pairs
        truth -= {"neutral"}
        guess -= {"neutral"}
        if truth == guess:
            continue
        if not truth:
            counts["false_alarm"] += 1
        elif not guess:
            counts["missed"] += 1
        elif truth.isdisjoint(guess):
            counts["confusion"] += 1
        elif guess <= truth:
            counts["missed"] += 1
        else:
            counts["overlap"] += 1

    errors = diarization_errors(reference, predicted, duration=frames / 100)
    for kind, count in counts.items():
        assert getattr(errors, kind) == pytest.approx(count / 100)
    seconds = confusion_seconds(reference, predicted, frames / 100, LABELS)
    np.testing.assert_allclose(seconds, matrix, atol=1e-9)
    assert seconds.sum() == pytest.approx(frames / 100)


def test_errors_of_recordings_are_summed():
    first = DiarizationErrors(missed=1.0, duration=2.0)
    second = DiarizationErrors(false_alarm=1.0, duration=6.0)
    assert (first + second).eder == pytest.approx(0.25)


def test_the_interval_is_over_recordings():
    errors = [DiarizationErrors(missed=float(i), duration=10.0) for i in range(10)]
    low, high = interval_of_rate(errors)
    assert 0 < low < 0.45 < high < 0.9
    assert np.isnan(interval_of_rate(errors[:1])).all()
    same = [DiarizationErrors(missed=1.0, duration=10.0)] * 5
    assert interval_of_rate(same) == pytest.approx((0.1, 0.1))
