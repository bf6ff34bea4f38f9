"""Evaluation over time: which emotion when, against the turns of a reference.

The emotion diarization error rate (EDER) is the share of a recording in which the predicted emotion
is wrong. An instant is wrong in one of four ways:

- false alarm: an emotion is predicted where the reference has none;
- missed: the reference has an emotion, and none is predicted;
- confusion: both have emotions, but no common one;
- overlap: besides the right emotion another one is predicted at the same time.

Neutral speech and time without a turn have no emotion. If several speakers of the reference have
different emotions at once, an instant at which only some of them are predicted is missed.

Source: Wang Y, Ravanelli M, Yacoubi A (2023). Speech Emotion Diarization: Which Emotion Appears
When? ASRU, arXiv:2306.12991, which defines the rate for recordings with one emotion at a time.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

NEUTRAL = "neutral"  # speech without emotion
NO_SPEECH = "no turn"  # the row or column of time without a turn in a confusion matrix


class TimedLabel(NamedTuple):
    """A label from `start` to `end`, in seconds."""

    start: float
    end: float
    label: str


@dataclasses.dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of errors in a recording, or in several.

    Attributes:
        false_alarm, missed, confusion, overlap: seconds of each kind of error.
        duration: seconds of the recordings.
        right: seconds of the reference's turns in which its label is predicted, neutral included.
        reference: seconds of the reference's turns.
    """

    false_alarm: float = 0.0
    missed: float = 0.0
    confusion: float = 0.0
    overlap: float = 0.0
    duration: float = 0.0
    right: float = 0.0
    reference: float = 0.0

    @property
    def eder(self) -> float:
        """The emotion diarization error rate, 0 to 1; nan without any duration."""
        wrong = self.false_alarm + self.missed + self.confusion + self.overlap
        return wrong / self.duration if self.duration else float("nan")

    @property
    def accuracy(self) -> float:
        """The share of the reference's turns, by time, with the right label; nan without any."""
        return self.right / self.reference if self.reference else float("nan")

    def __add__(self, other: "DiarizationErrors") -> "DiarizationErrors":
        sums = {}
        for field in dataclasses.fields(self):
            sums[field.name] = getattr(self, field.name) + getattr(other, field.name)
        return DiarizationErrors(**sums)


def diarization_errors(
    reference: Sequence[TimedLabel], predicted: Sequence[TimedLabel], duration: float
) -> DiarizationErrors:
    """Compare predicted turns with those of the reference.

    Args:
        reference, predicted: turns of one recording, in any order; they may overlap.
        duration: seconds of the recording. Turns are cut at its end.
    """
    seconds = dict.fromkeys(("false_alarm", "missed", "confusion", "overlap"), 0.0)
    right = 0.0
    in_turns = 0.0
    for start, end, reference_labels, predicted_labels in _intervals(
        reference, predicted, duration
    ):
        length = end - start
        kind = _error(reference_labels - {NEUTRAL}, predicted_labels - {NEUTRAL})
        if kind is not None:
            seconds[kind] += length
        if reference_labels:
            in_turns += length
            common = reference_labels & predicted_labels
            right += length * len(common) / len(reference_labels | predicted_labels)
    return DiarizationErrors(**seconds, duration=duration, right=right, reference=in_turns)


def _error(reference: set[str], predicted: set[str]) -> str | None:
    """The kind of error of an instant with these emotions; None if there is no error."""
    if reference == predicted:
        return None
    if not reference:
        return "false_alarm"
    if not predicted:
        return "missed"
    if not reference & predicted:
        return "confusion"
    return "overlap" if predicted - reference else "missed"


def confusion_seconds(
    reference: Sequence[TimedLabel],
    predicted: Sequence[TimedLabel],
    duration: float,
    labels: Sequence[str],
) -> np.ndarray:
    """Seconds of each pair of labels, float64 (labels + 1, labels + 1).

    Rows are labels of the reference, columns predicted ones; the last row and column are time
    without a turn (`NO_SPEECH`). An instant with several labels is divided among their pairs.
    """
    position = {label: i for i, label in enumerate([*labels, NO_SPEECH])}
    seconds = np.zeros((len(position), len(position)))
    for start, end, reference_labels, predicted_labels in _intervals(
        reference, predicted, duration
    ):
        rows = sorted(reference_labels) or [NO_SPEECH]
        columns = sorted(predicted_labels) or [NO_SPEECH]
        share = (end - start) / (len(rows) * len(columns))
        for row in rows:
            for column in columns:
                seconds[position[row], position[column]] += share
    return seconds


def _intervals(
    reference: Iterable[TimedLabel], predicted: Iterable[TimedLabel], duration: float
) -> Iterator[tuple[float, float, set[str], set[str]]]:
    """Divide a recording where any label begins or ends.

    Yields:
        The start and end of each interval, and the labels of the reference and of the prediction.
    """
    changes: dict[float, list[tuple[int, str, int]]] = {0.0: [], duration: []}
    for side, turns in enumerate((reference, predicted)):
        for turn in turns:
            start = min(max(turn.start, 0.0), duration)
            end = min(turn.end, duration)
            if end > start:
                changes.setdefault(start, []).append((side, turn.label, 1))
                changes.setdefault(end, []).append((side, turn.label, -1))

    counts: tuple[dict[str, int], dict[str, int]] = ({}, {})
    times = sorted(changes)
    for start, end in zip(times[:-1], times[1:], strict=True):
        for side, label, change in changes[start]:
            counts[side][label] = counts[side].get(label, 0) + change
        labels = [{label for label, count in side.items() if count} for side in counts]
        yield start, end, labels[0], labels[1]


def interval_of_rate(
    errors: Sequence[DiarizationErrors],
    rate: str = "eder",
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of a rate, by a bootstrap over recordings.

    Args:
        errors: those of each recording.
        rate: ``eder`` or ``accuracy``.

    Returns:
        The percentiles 2.5 and 97.5 of the rate of as many recordings drawn with replacement; nan
        for fewer than two recordings.
    """
    if len(errors) < 2:
        return float("nan"), float("nan")
    table = np.array([dataclasses.astuple(error) for error in errors])
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(table), size=(draws, len(table)))
    sums = table[drawn].sum(axis=1)
    rates = [getattr(DiarizationErrors(*row), rate) for row in sums.tolist()]
    low, high = np.nanpercentile(rates, [2.5, 97.5])
    return float(low), float(high)
