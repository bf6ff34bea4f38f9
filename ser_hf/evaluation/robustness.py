"""Robustness: evaluation of the test clips under the conditions of `conditions`."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import soundfile
from tqdm.auto import tqdm

from ..utils.order import in_order
from .bootstrap import draws, measure, percentile, resample, speaker_keys
from .conditions import CONDITIONS, KINDS, Condition
from .metrics import METRICS, AnyOutputs, values
from .predictions import Predictions
from .sections import (
    CleanScores,
    ConditionRecordings,
    ConditionScores,
    Robustness,
    RobustnessSettings,
)

# Clips are processed in chunks of about this number of samples, 67 MB.
_CHUNK_SAMPLES = 2**24


def robustness(
    classify: Callable[[list[np.ndarray]], np.ndarray],
    waveforms: Sequence[np.ndarray],
    predictions: Predictions,
    *,
    rate: int,
    conditions: Sequence[Condition] = CONDITIONS,
    recordings: Mapping[str, ConditionRecordings] | None = None,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Robustness:
    """Evaluate clean clips and the same clips under each condition, for the report.

    The memory holds a few minutes of audio at a time, however many clips there are. The clean clips
    and all conditions use the same bootstrap resamples. `drop_interval` is therefore an interval of
    paired differences, and is narrower than the interval of the metric.

    Args:
        classify: function from waveforms to probabilities, (clips, classes), or to predicted
            values, (clips, dimensions). It must include the model's preparation of clips (trimming,
            normalization), because conditions are changes of the recording.
        waveforms: one waveform for each clip, float32 (samples,), at `rate` Hz.
        predictions: predictions for the clean clips, in the order of the waveforms.
        recordings: descriptions of the user's recordings that conditions use, by the field of
            `RobustnessSettings`.
        bootstrap: number of resamples.

    Returns:
        The first three headline metrics of the task for the clean clips, for each condition and for
        each kind.
    """
    degraded = _evaluate_conditions(classify, waveforms, predictions, rate, conditions)
    outputs = [predictions.outputs[0], *(of_condition.outputs for of_condition in degraded)]
    scored = _score(predictions, outputs, bootstrap)

    condition_scores = []
    for i, condition in enumerate(conditions, 1):
        changed = degraded[i - 1].changed
        condition_scores.append(_condition_scores(condition, scored, i, changed, confidence))
    return Robustness(
        clips=len(predictions),
        clean=CleanScores(**scored.scores[0], interval=percentile(scored.resampled[0], confidence)),
        chance=_chance(predictions.labels),
        conditions=condition_scores,
        areas=_area_scores(conditions, scored, confidence),
        settings=RobustnessSettings(
            seed=0,
            of_clips=len(predictions),
            bootstrap=bootstrap,
            confidence=confidence,
            sampling_rate=rate,
            libsndfile=soundfile.__libsndfile_version__,
            **(recordings or {}),
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Degraded:
    """The outputs for all clips under a condition, and the number of clips that it changed."""

    outputs: AnyOutputs
    changed: int


def _evaluate_conditions(
    classify: Callable[[list[np.ndarray]], np.ndarray],
    waveforms: Sequence[np.ndarray],
    predictions: Predictions,
    rate: int,
    conditions: Sequence[Condition],
) -> list[_Degraded]:
    """Predict the clips under each condition, with a progress bar."""
    total = len(predictions) * len(conditions)
    degraded = []
    with tqdm(total=total, desc="robustness", unit="clip", disable=None) as bar:
        for condition in conditions:
            bar.set_postfix_str(condition.name)
            predicted = []
            changed = 0
            for chunk in _chunks(condition, waveforms, predictions.ids, rate):
                predicted.append(np.asarray(classify([waveform for waveform, _ in chunk])))
                changed += sum(different for _, different in chunk)
                bar.update(len(chunk))
            (outputs,) = predictions.with_probabilities(np.concatenate(predicted)).outputs
            degraded.append(_Degraded(outputs, changed))
    return degraded


@dataclasses.dataclass(frozen=True)
class _Scored:
    """Scores of the clean clips (first) and of the clips under each condition.

    Args:
        main: the main metric of the task.
        scores: {metric: value}, for the clean clips and for each condition.
        resampled: the main metric in each resample, (resamples,), for the same.
    """

    main: str
    scores: Sequence[Mapping[str, float | None]]
    resampled: Sequence[np.ndarray]


def _score(predictions: Predictions, outputs: Sequence[AnyOutputs], resamples: int) -> _Scored:
    """Score the outputs for the same clips, all on the same resamples."""
    main = predictions.task.main
    names = predictions.task.headline[:3]
    generator = np.random.default_rng(0)
    drawn = draws(len(predictions), speaker_keys(predictions), resamples, generator)
    measures = [measure([condition_outputs], [main]) for condition_outputs in outputs]
    return _Scored(
        main=main,
        scores=[values(condition_outputs, names) for condition_outputs in outputs],
        resampled=[resampled[main] for resampled in resample(measures, drawn)],
    )


def _chance(labels: np.ndarray) -> float:
    """The main metric of a model that gives the same output for all clips.

    UAR: a recall of 1 for one class, and of 0 for the other classes. CCC: 0. Macro-F1: the best
    such output is that every class is true.
    """
    if labels.ndim == 1:
        return 1 / len(np.unique(labels))
    if labels.dtype == bool:
        shares = labels.mean(axis=0)
        return float((2 * shares / (1 + shares))[shares > 0].mean())
    return 0.0


def _condition_scores(
    condition: Condition, scored: _Scored, i: int, changed: int, confidence: float
) -> ConditionScores:
    """The results under a condition, whose scores are at position `i`."""
    kind = KINDS[condition.kind]
    clean = scored.scores[0]
    scores = scored.scores[i]
    resampled = scored.resampled[i]
    return ConditionScores(
        name=condition.name,
        kind=condition.kind,
        severity=float(condition.severity),
        unit=kind.unit,
        description=kind.description.format(f"{condition.severity:g}"),
        changed=changed,
        **scores,
        interval=percentile(resampled, confidence),
        drop=clean[scored.main] - scores[scored.main],
        drop_interval=percentile(scored.resampled[0] - resampled, confidence),
    )


def _area_scores(
    conditions: Sequence[Condition], scored: _Scored, confidence: float
) -> dict[str, CleanScores]:
    """The mean scores over the severities of each kind, by kind."""
    names = list(scored.scores[0])
    # Each row has the value of each metric, then the main metric in each resample.
    rows = np.array(
        [
            [*scores.values(), *resampled]
            for scores, resampled in zip(scored.scores, scored.resampled, strict=True)
        ],
        dtype=float,
    )
    areas = {}
    for kind, area in _areas(conditions, rows).items():
        means = {
            name: float(value) if math.isfinite(value) else None
            for name, value in zip(names, area, strict=False)
        }
        areas[kind] = CleanScores(**means, interval=percentile(area[len(names) :], confidence))
    return areas


def _areas(conditions: Sequence[Condition], scores: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of each score over the severities of each kind.

    The mean is the area under the curve of the score over severity (trapezoidal rule), divided by
    the range of the severities. The clean clips are a point of the curve if they have a finite
    severity: a gain of 0 dB is finite, a signal-to-noise ratio without noise is not.

    Args:
        scores: (1 + conditions, scores); the first row is for the clean clips.

    Returns:
        {kind: (scores,)}, without kinds that have fewer than two severities.
    """
    areas = {}
    for name, kind in KINDS.items():
        # (severity, row)
        points = [(kind.clean, 0)]
        for row, condition in enumerate(conditions, 1):
            if condition.kind == name:
                points.append((condition.severity, row))
        points = sorted(point for point in points if math.isfinite(point[0]))
        severities = [severity for severity, _ in points]
        if len(set(severities)) < 2:
            continue

        curve = scores[[row for _, row in points]]
        area = np.trapezoid(curve, np.asarray(severities, dtype=float), axis=0)
        areas[name] = area / (severities[-1] - severities[0])
    return areas


def _chunks(
    condition: Condition, waveforms: Sequence[np.ndarray], ids: Sequence[str], rate: int
) -> Iterator[list[tuple[np.ndarray, bool]]]:
    """Apply a condition to the clips, in order and in chunks.

    Yields:
        Lists with a pair for each clip: the changed waveform, and whether it differs.
    """

    def change(place: int) -> tuple[np.ndarray, bool]:
        clean = np.asarray(waveforms[place], dtype=np.float32)
        degraded = condition.apply(clean, rate, ids[place])
        return degraded, not np.array_equal(degraded, clean)

    chunks = np.cumsum([len(waveforms[place]) for place in range(len(ids))]) // _CHUNK_SAMPLES
    for chunk in np.unique(chunks):
        yield list(in_order(change, np.flatnonzero(chunks == chunk).tolist()))


def mean_robustness(runs: Sequence[Robustness], clips: int) -> Robustness:
    """The mean results over runs with the same conditions, without intervals.

    Args:
        clips: the number of clips that all runs evaluated together.
    """
    first = runs[0]
    conditions = [
        _mean_condition([run.conditions[i] for run in runs]) for i in range(len(first.conditions))
    ]
    return Robustness(
        clips=clips,
        chance=_mean([run.chance for run in runs]),
        clean=CleanScores(**_mean_scores([run.clean for run in runs])),
        conditions=conditions,
        areas={
            kind: CleanScores(**_mean_scores([run.areas[kind] for run in runs]))
            for kind in first.areas
        },
        settings=first.settings,
    )


def _mean_condition(runs: Sequence[ConditionScores]) -> ConditionScores:
    first = runs[0]
    return ConditionScores(
        name=first.name,
        kind=first.kind,
        severity=first.severity,
        unit=first.unit,
        description=first.description,
        **_mean_scores(runs),
        drop=_mean([run.drop for run in runs]),
    )


def _mean_scores(runs: Sequence[CleanScores]) -> dict[str, float | None]:
    names = [name for name in runs[0].filled() if name in METRICS]
    return {name: _mean([getattr(run, name) for run in runs]) for name in names}


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of a score over runs; None if the score is undefined for a run."""
    if None in values:
        return None
    # The mean of equal numbers may differ from them in the last digit.
    return values[0] if len(set(values)) == 1 else float(np.mean(values))
