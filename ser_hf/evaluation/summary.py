"""All numbers of one evaluated split: metrics, intervals, classes, slices, calibration, hardest
clips, warnings.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import (
    FEW_SPEAKERS,
    Intervals,
    Measure,
    clip_draws,
    fold_intervals,
    is_unknown,
    measure,
    measure_dimensions,
    measure_recalls,
    percentile,
    percentiles,
    resample,
    speaker_keys,
)
from .calibration import calibration
from .classes import pooled_classes
from .label_sets import LabelSets, set_text
from .metrics import mean_metrics, values
from .predictions import Predictions
from .rating_scale import outside_scale
from .ratings import BY_DIMENSION, Ratings
from .sections import (
    ClassResults,
    ClassScores,
    DimensionResults,
    DimensionScores,
    HardClip,
    Interval,
    OverallResults,
    Pooled,
    Results,
    Scores,
)
from .slices import by_corpus, measure_slices, other_label, slices_and_gaps
from .tasks import DIMENSIONS, MULTI_LABEL

# A class with fewer clips is absent from too many resamples. With 5 clips it is absent from one of
# 150 resamples (exp(-5)).
FEW_CLIPS = 5
# Predictions of a dimension are called constant if their standard deviation is less than this share
# of the standard deviation of the targets.
_CONSTANT = 0.1


def evaluate_predictions(
    predictions: Predictions, *, bootstrap: int = 2000, confidence: float = 0.95
) -> Results:
    """Compute the results of one split.

    Over several runs, metrics are means and confusion matrices are sums. Intervals are intervals of
    these means: they cover other clips and speakers, but not other seeds.

    Args:
        predictions: predictions of one or several runs.
        bootstrap: number of resamples.
        confidence: confidence level of the intervals, between 0 and 1.
    """
    outputs = predictions.outputs
    of_task = _RESULTS[predictions.task.name]
    of_groups, of_speakers = measure_slices(predictions)

    # All measures share the resamples, because drawing takes as long as computing the metrics.
    by_speaker = resample(
        [measure(outputs), of_task.measure(outputs), of_groups],
        _draws(predictions, speaker_keys(predictions), bootstrap),
    )
    by_clip = resample([measure(outputs), of_speakers], _draws(predictions, None, bootstrap))
    metrics = mean_metrics([values(run) for run in outputs])
    slices, gaps = slices_and_gaps(predictions, by_speaker[2] | by_clip[1], confidence)
    speakers = {name for name in predictions.speakers if not is_unknown(name)}
    unknown = sum(map(is_unknown, predictions.speakers))
    overall = OverallResults(
        clips=len(predictions),
        speakers=len(speakers),
        metrics=metrics,
        intervals=known_intervals(percentiles(by_speaker[0], confidence), metrics),
        clip_intervals=known_intervals(percentiles(by_clip[0], confidence), metrics),
        confidence=confidence,
        slices=slices,
        gaps=gaps,
        hardest=hardest(predictions),
        warnings=few_speakers(len(speakers), unknown),
    )

    (drawn,) = by_speaker[1].values()
    intervals = [percentile(output, confidence) for output in drawn.T]
    by_output = of_task.evaluate(predictions, intervals)
    overall.warnings += of_task.warnings(by_output)
    results = Results(**overall.filled(), **by_output.filled())
    if predictions.ratings is None:
        return results
    ratings = evaluate_predictions(predictions.ratings, bootstrap=bootstrap, confidence=confidence)
    return _with_ratings(results, ratings)


def _with_ratings(results: Results, ratings: Results) -> Results:
    """Add the results of ratings to those of classes; slices and hardest clips are of classes."""
    warnings = list(results.warnings)
    warnings += [warning for warning in ratings.warnings if warning not in warnings]
    return results.model_copy(
        update={
            "metrics": results.metrics | ratings.metrics,
            "intervals": results.intervals | ratings.intervals,
            "clip_intervals": results.clip_intervals | ratings.clip_intervals,
            "per_dimension": ratings.per_dimension,
            "rated_clips": ratings.clips,
            "warnings": warnings,
        }
    )


def _draws(
    predictions: Predictions, speakers: Sequence[str] | None, resamples: int
) -> Iterator[np.ndarray]:
    return clip_draws(predictions.ids, speakers, resamples, np.random.default_rng(0))


def _evaluate_classes(
    predictions: Predictions, intervals: Sequence[Interval | None]
) -> ClassResults:
    """The results that only classes have; `intervals` are the intervals of their recalls."""
    runs = len(predictions.probabilities)
    classes, counts = pooled_classes(predictions)
    for scores, interval in zip(classes.values(), intervals, strict=True):
        scores.recall_interval = interval
    labels = np.tile(predictions.labels, runs)
    probabilities = predictions.probabilities.reshape(-1, len(predictions.names))
    return ClassResults(
        per_class=classes,
        confusion=counts,
        calibration=calibration(labels, probabilities, runs),
        perceived=other_label(predictions),
        corpora=by_corpus(predictions),
    )


def _evaluate_sets(predictions: Predictions, intervals: Sequence[Interval | None]) -> ClassResults:
    """The results of sets of classes; `intervals` are the intervals of the recalls of the classes.

    Over runs, precision, recall and F1 are means; a class that no clip has, or that is never
    predicted, has 0.
    """
    per_class = {}
    for i, (name, interval) in enumerate(zip(predictions.names, intervals, strict=True)):
        scores = mean_metrics([_set_scores(run, i) for run in predictions.outputs])
        support = int(predictions.labels[:, i].sum())
        per_class[name] = ClassScores(support=support, recall_interval=interval, **scores)
    return ClassResults(per_class=per_class)


def _set_scores(run: LabelSets, place: int) -> dict[str, float]:
    """Precision, recall and F1 of one class."""
    support = int(run.labels[:, place].sum())
    predicted = int(run.predictions[:, place].sum())
    recognized = int(run.recognized[:, place].sum())
    return {
        "precision": recognized / predicted if predicted else 0.0,
        "recall": recognized / support if support else 0.0,
        "f1": 2 * recognized / (support + predicted) if support + predicted else 0.0,
    }


def _warn_of_sets(results: ClassResults) -> list[str]:
    never = [
        name for name, scores in results.per_class.items() if scores.support and not scores.recall
    ]
    supports = {name: scores.support for name, scores in results.per_class.items()}
    warnings = few_clips(supports, "macro-F1 and AUROC")
    if never:
        warnings.append(
            f"Never recognized: {', '.join(never)}. Train longer, with "
            "training.loss.class_weights: balanced, or merge them with others."
        )
    return warnings


def _warn_of_classes(results: ClassResults) -> list[str]:
    return few_clips({name: scores.support for name, scores in results.per_class.items()})


def _evaluate_dimensions(
    predictions: Predictions, intervals: Sequence[Interval | None]
) -> DimensionResults:
    """The results that only dimensions have; `intervals` are the intervals of their CCC."""
    dimensions = {}
    for i, (name, interval) in enumerate(zip(predictions.names, intervals, strict=True)):
        targets = predictions.labels[:, i]
        predicted = predictions.probabilities[..., i]
        scores = mean_metrics([_scores_of(run, i) for run in predictions.outputs])
        dimensions[name] = DimensionScores(
            ccc_interval=interval,
            target_mean=float(targets.mean()),
            predicted_mean=float(predicted.mean()),
            target_deviation=float(targets.std()),
            predicted_deviation=float(predicted.std(axis=1).mean()),
            outside=float(outside_scale(predicted).mean()),
            **scores,
        )
    return DimensionResults(per_dimension=dimensions)


def _warn_of_dimensions(results: DimensionResults) -> list[str]:
    constant = [
        name
        for name, scores in results.per_dimension.items()
        if scores.predicted_deviation < _CONSTANT * scores.target_deviation
    ]
    if not constant:
        return []
    return [
        f"The predictions of {', '.join(constant)} hardly differ between clips: try another "
        "learning rate, more epochs or less regularization."
    ]


def _scores_of(run: Ratings, dimension: int) -> dict[str, float | None]:
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = run.weighted(np.ones((1, len(run.labels))))
        scores = {name: float(score(moments)[0, dimension]) for name, score in BY_DIMENSION.items()}
    return {name: value if np.isfinite(value) else None for name, value in scores.items()}


@dataclasses.dataclass(frozen=True)
class _OfTask:
    """The functions that evaluate each class of the task emotions, or each dimension.

    Args:
        measure: function from the outputs of the runs to a measure for the bootstrap.
        evaluate: function from the predictions, and the interval of each class or dimension, to
            the results.
        warnings: function from these results to warnings about them.
    """

    measure: Callable[[Any], Measure]
    evaluate: Callable[[Predictions, Sequence[Interval | None]], ClassResults | DimensionResults]
    warnings: Callable[[Any], list[str]]


_RESULTS = {
    "emotions": _OfTask(measure_recalls, _evaluate_classes, _warn_of_classes),
    "dimensions": _OfTask(measure_dimensions, _evaluate_dimensions, _warn_of_dimensions),
    "multi_label": _OfTask(measure_recalls, _evaluate_sets, _warn_of_sets),
}


def evaluate_folds(
    together: Results,
    folds: Sequence[Predictions],
    measured: Sequence[Scores],
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Results:
    """Results over folds: `metrics` are the means over folds, with the intervals of these means.

    Args:
        together: results of the predictions of all folds, which become `pooled`.
        folds: predictions of each fold.
        measured: metrics of each fold.
        bootstrap: number of resamples.
        confidence: confidence level of the intervals, between 0 and 1.
    """
    metrics = mean_metrics(measured)
    intervals: Intervals = {}
    clip_intervals: Intervals = {}
    for predictions in _targets_of_folds(folds):
        intervals |= fold_intervals(
            predictions, draw_folds=True, resamples=bootstrap, confidence=confidence
        )
        clip_intervals |= fold_intervals(
            predictions,
            draw_folds=False,
            by_speaker=False,
            resamples=bootstrap,
            confidence=confidence,
        )
    pooled = Pooled(
        metrics=together.metrics,
        intervals=together.intervals,
        clip_intervals=together.clip_intervals,
    )
    return together.model_copy(
        update={
            "metrics": metrics,
            "intervals": known_intervals(intervals, metrics),
            "clip_intervals": known_intervals(clip_intervals, metrics),
            "pooled": pooled,
        }
    )


def _targets_of_folds(folds: Sequence[Predictions]) -> list[list[Predictions]]:
    """The predictions of all folds, and the predicted ratings of all folds if there are any."""
    ratings = [fold.ratings for fold in folds if fold.ratings is not None]
    return [list(folds), ratings] if ratings else [list(folds)]


def few_speakers(speakers: int, unknown: int = 0) -> list[str]:
    """The warning about unknown or few test speakers, if there is one.

    Args:
        speakers: number of test speakers.
        unknown: number of clips with an unknown speaker.
    """
    if unknown:
        whose = (
            "The speaker of 1 clip is" if unknown == 1 else f"The speakers of {unknown:,} clips are"
        )
        return [
            f"{whose} not known. Each such clip is resampled as its own speaker, so intervals are "
            "too narrow if one speaker has many of them."
        ]
    if speakers >= FEW_SPEAKERS:
        return []
    return [
        f"Evaluated on {speakers} speaker{'' if speakers == 1 else 's'}: the interval over "
        "speakers is too narrow for so few, and the interval over clips does not cover other "
        "speakers."
    ]


def few_clips(supports: Mapping[str, int], metrics: str = "UAR, macro-F1 and AUROC") -> list[str]:
    """The warning about classes with fewer than `FEW_CLIPS` clips, if there are any.

    Args:
        supports: the number of clips of each class.
        metrics: the metrics that are means over classes.
    """
    few = [f"{name} ({clips})" for name, clips in supports.items() if 0 < clips < FEW_CLIPS]
    if not few:
        return []
    return [
        f"Fewer than {FEW_CLIPS} clips of {', '.join(few)}: a resample without a class leaves it "
        f"out of its mean, which biases the intervals of {metrics} upwards."
    ]


def known_intervals(intervals: Intervals, metrics: Mapping[str, float | None]) -> Intervals:
    """The intervals of the metrics that are defined on all clips."""
    return {name: interval for name, interval in intervals.items() if metrics.get(name) is not None}


def hardest(predictions: Predictions, most: int = 20) -> list[HardClip]:
    """The clips with the lowest probability of their label, or with the largest error.

    For sets of classes it is the mean probability of the right decisions. The probability, or the
    predicted value of each dimension, is the mean over runs.
    """
    mean = predictions.probabilities.mean(axis=0)
    names = predictions.names
    labels = predictions.labels
    if predictions.task is DIMENSIONS:
        key = "error"
        scores = np.sqrt(((mean - labels) ** 2).mean(axis=1))
        order = np.argsort(-scores, kind="stable")
        label_texts = _in_words(names, labels)
        predicted_texts = _in_words(names, mean)
    elif predictions.task is MULTI_LABEL:
        key = "probability"
        scores = np.where(labels, mean, 1 - mean).mean(axis=1)
        order = np.argsort(scores, kind="stable")
        decided = mean > predictions.all_thresholds.mean(axis=0)[:, None]
        label_texts = [set_text(names, chosen) for chosen in labels]
        predicted_texts = [set_text(names, chosen) for chosen in decided]
    else:
        key = "probability"
        scores = mean[np.arange(len(predictions)), labels]
        order = np.argsort(scores, kind="stable")
        label_texts = [names[label] for label in labels]
        predicted_texts = [names[label] for label in mean.argmax(axis=1)]
    return [
        HardClip(
            id=predictions.ids[i],
            speaker=predictions.speakers[i],
            label=label_texts[i],
            predicted=predicted_texts[i],
            path=predictions.paths[i] if predictions.paths else None,
            **{key: float(scores[i])},
        )
        for i in order[:most]
    ]


def _in_words(names: Sequence[str], values: np.ndarray) -> list[str]:
    """The values of each clip as text, such as "arousal 0.61, valence 0.40"."""
    texts = []
    for row in values.tolist():
        pairs = zip(names, row, strict=True)
        texts.append(", ".join(f"{name} {value:.2f}" for name, value in pairs))
    return texts
