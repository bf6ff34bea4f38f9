"""All numbers of one evaluated split: metrics, intervals, classes, slices, calibration, hardest
clips, warnings.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import (
    FEW_SPEAKERS,
    Intervals,
    Measure,
    clip_draws,
    is_unknown,
    measure,
    measure_dimensions,
    measure_recalls,
    percentile,
    percentiles,
    resample,
    speaker_keys,
)
from .calibration import LOWEST, at_limit, reliability
from .metrics import BY_DIMENSION, Ratings, all_metrics, mean_metrics, values
from .predictions import Predictions
from .slices import by_corpus, measure_slices, other_label, pooled_classes, slices_and_gaps

# A class with fewer clips is missing in too many resamples; with 5 clips it is missing in one of
# 150 (exp(-5)).
FEW_CLIPS = 5
# Predictions of a dimension with less than this share of the targets' deviation are called
# constant.
_CONSTANT = 0.1


def evaluate_predictions(
    predictions: Predictions, *, bootstrap: int = 2000, confidence: float = 0.95
) -> dict[str, Any]:
    """Compute the sections of a report about one split.

    Over several runs, metrics are the mean and confusions the sum; intervals are those of the mean
    of these runs: they cover other clips and speakers, not other seeds.

    Args:
        predictions: of one or several runs.
        bootstrap: number of resamples.
        confidence: of the intervals, between 0 and 1.

    Returns:
        {section: value} with the keys of report.json, such as metrics, intervals, per_class,
        confusion and slices.
    """
    outputs = predictions.outputs
    by_output, sections = _SECTIONS[predictions.task.name]
    # Everything shares the resamples: drawing them takes as long as computing the metrics.
    groups, speakers = measure_slices(predictions)
    drawn, alone = (
        clip_draws(predictions.ids, keys, bootstrap, np.random.default_rng(0))
        for keys in (speaker_keys(predictions), None)
    )
    by_speaker, of_outputs, of_groups = resample(
        [measure(outputs), by_output(outputs), groups], drawn
    )
    by_clip, of_speakers = resample([measure(outputs), speakers], alone)
    slices, gaps = slices_and_gaps(predictions, of_groups | of_speakers, confidence)
    (resampled,) = of_outputs.values()
    metrics = mean_metrics([values(run) for run in outputs])
    known = {name for name in predictions.speakers if not is_unknown(name)}
    unknown = sum(map(is_unknown, predictions.speakers))
    found = {
        "clips": len(predictions),
        "speakers": len(known),
        "metrics": metrics,
        "intervals": known_intervals(percentiles(by_speaker, confidence), metrics),
        "clip_intervals": known_intervals(percentiles(by_clip, confidence), metrics),
        "confidence": confidence,
        "slices": slices,
        "gaps": gaps,
        "hardest": hardest(predictions),
        "warnings": few_speakers(len(known), unknown),
    }
    own = sections(predictions, [percentile(one, confidence) for one in resampled.T])
    return found | own | {"warnings": found["warnings"] + own["warnings"]}


def _of_classes(
    predictions: Predictions, intervals: Sequence[list[float] | None]
) -> dict[str, Any]:
    """The sections about classes, with the `intervals` of their recalls."""
    runs = len(predictions.probabilities)
    classes, counts = pooled_classes(predictions)
    for row, interval in zip(classes.values(), intervals, strict=True):
        row["recall_interval"] = interval
    pooled = (
        np.tile(predictions.labels, runs),
        predictions.probabilities.reshape(-1, len(predictions.names)),
    )
    # clips are counted once
    bins = [own | {"clips": own["clips"] / runs} for own in reliability(*pooled)]
    return {
        "per_class": classes,
        "confusion": counts,
        "calibration": {"bins": bins, "ece": all_metrics(*pooled, names=["ece"])["ece"]},
        "perceived": other_label(predictions),
        "corpora": by_corpus(predictions),
        "warnings": few_clips({name: row["support"] for name, row in classes.items()}),
    }


def _of_dimensions(
    predictions: Predictions, intervals: Sequence[list[float] | None]
) -> dict[str, Any]:
    """The sections about dimensions, with the `intervals` of their CCC, and a warning about
    constant predictions.
    """
    found = {}
    constant = []
    for i, (name, interval) in enumerate(zip(predictions.names, intervals, strict=True)):
        scores = [_scores_of(run, i) for run in predictions.outputs]
        targets = predictions.labels[:, i]
        guesses = predictions.probabilities[..., i]
        spread = {
            "target_deviation": float(targets.std()),
            "predicted_deviation": float(guesses.std(axis=1).mean()),
        }
        means = {"target_mean": float(targets.mean()), "predicted_mean": float(guesses.mean())}
        found[name] = mean_metrics(scores) | {"ccc_interval": interval} | means | spread
        if spread["predicted_deviation"] < _CONSTANT * spread["target_deviation"]:
            constant.append(name)
    warning = (
        f"The predictions of {', '.join(constant)} hardly differ between clips: try another learning rate, more "
        "epochs or less regularization."
    )
    return {"per_dimension": found, "warnings": [warning] * bool(constant)}


def _scores_of(run: Ratings, dimension: int) -> dict[str, float | None]:
    with np.errstate(divide="ignore", invalid="ignore"):
        own = run.weighted(np.ones((1, len(run.labels))))
        measured = {name: float(score(own)[0, dimension]) for name, score in BY_DIMENSION.items()}
    return {name: value if np.isfinite(value) else None for name, value in measured.items()}


# By task: the measure of each class or dimension, and the sections about them.
_SECTIONS: dict[str, tuple[Callable[[Any], Measure], Callable[..., dict[str, Any]]]] = {
    "emotions": (measure_recalls, _of_classes),
    "dimensions": (measure_dimensions, _of_dimensions),
}


def few_speakers(speakers: int, unknown: int = 0) -> list[str]:
    """Warnings about few test speakers and about `unknown`, the number of clips with an unknown
    speaker.
    """
    if unknown:
        whose = (
            "The speaker of 1 clip is" if unknown == 1 else f"The speakers of {unknown:,} clips are"
        )
        return [
            f"{whose} not known. Each such clip is resampled as its own speaker, so intervals are too narrow if one "
            "speaker has many of them."
        ]
    if speakers >= FEW_SPEAKERS:
        return []
    return [
        f"Evaluated on {speakers} speaker{'' if speakers == 1 else 's'}: the interval over speakers is too narrow for "
        "so few, and the interval over clips does not cover other speakers."
    ]


def few_clips(supports: Mapping[str, int]) -> list[str]:
    few = [f"{name} ({clips})" for name, clips in supports.items() if 0 < clips < FEW_CLIPS]
    if not few:
        return []
    return [
        f"Fewer than {FEW_CLIPS} clips of {', '.join(few)}: a resample without a class leaves it out of its mean, "
        "which biases the intervals of UAR, macro-F1 and AUROC upwards."
    ]


def known_intervals(intervals: Intervals, metrics: Mapping[str, float | None]) -> Intervals:
    return {name: own for name, own in intervals.items() if metrics.get(name) is not None}


def hardest(predictions: Predictions, most: int = 20) -> list[dict[str, Any]]:
    """The clips with the lowest probability of their label, or with the largest error, mean over
    runs.
    """
    mean = predictions.probabilities.mean(axis=0)
    names = predictions.names
    labels = predictions.labels
    if labels.ndim == 2:
        key = "error"
        scores = np.sqrt(((mean - labels) ** 2).mean(axis=1))
        order = np.argsort(-scores, kind="stable")
        texts = [_in_words(names, labels), _in_words(names, mean)]
    else:
        key = "probability"
        scores = mean[np.arange(len(predictions)), labels]
        order = np.argsort(scores, kind="stable")
        texts = [[names[i] for i in own] for own in (labels, mean.argmax(1))]
    paths = predictions.paths or [None] * len(predictions)
    return [
        {
            "id": predictions.ids[i],
            "speaker": predictions.speakers[i],
            "label": texts[0][i],
            "predicted": texts[1][i],
            key: float(scores[i]),
            "path": paths[i],
        }
        for i in order[:most]
    ]


def _in_words(names: Sequence[str], values: np.ndarray) -> list[str]:
    """ "arousal 0.61, valence 0.40" of each clip."""
    return [
        ", ".join(f"{name} {one:.2f}" for name, one in zip(names, row, strict=True))
        for row in values.tolist()
    ]


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What shows that a model is degenerate; None where it is unknown or does not apply.

    Args:
        names, confusion: classes, and counts of the evaluated clips (`metrics.confusion`); no
            counts of dimensions.
        train_score: UAR of the training clips, or CCC.
        selecting: the validation speakers that selected the model.
        temperature: from `fit_temperature`.
    """

    names: Sequence[str]
    confusion: Sequence[Sequence[int]] | None
    train_score: float | None = None
    selecting: Sequence[str] | None = None
    temperature: float | None = None

    def one_class(self) -> str | None:
        if self.confusion is None:
            return None
        labeled, predicted = (
            np.sum(self.confusion, axis=axis) / np.sum(self.confusion) for axis in (1, 0)
        )
        most = predicted.argmax()
        return self.names[most] if labeled[most] <= 0.95 < predicted[most] else None

    def never_predicted(self) -> str | None:
        if self.confusion is None:
            return None
        counts = zip(
            self.names, np.sum(self.confusion, axis=1), np.sum(self.confusion, axis=0), strict=True
        )
        missing = [name for name, labeled, predicted in counts if labeled and not predicted]
        return None if self.one_class() else ", ".join(missing)

    def near_chance(self) -> str | None:
        # Guessing has this UAR whatever class it prefers; less than a tenth of the way from there
        # to 1 is no training.
        chance = 0.0 if self.confusion is None else 1 / len(self.names)
        near = self.train_score is not None and self.train_score < chance + 0.1 * (1 - chance)
        return f"{self.train_score:.3f}, chance {chance:.3f}" if near else None

    def few_selecting(self) -> str | None:
        few = (
            self.selecting is not None
            and len(self.selecting) <= 2
            and not any(map(is_unknown, self.selecting))
        )
        return ", ".join(self.selecting) if few else None

    def no_temperature(self) -> str | None:
        better = (
            "the sharper the better" if self.temperature == LOWEST else "the flatter the better"
        )
        return (
            f"{self.temperature:g}, {better}"
            if self.temperature and at_limit(self.temperature)
            else None
        )


# A new warning is one entry: a sentence with what to try, and the details in its brackets, none
# without a fault.
DEGENERATE: dict[str, Callable[[ModelFacts], str | None]] = {
    "More than 95 % of the evaluated clips get one class{}: check that their level is that of the training clips "
    "(audio.level), or train with class weights or another learning rate.": ModelFacts.one_class,
    "Some classes of the evaluated clips are never predicted{}: train with class weights or more clips of them, or "
    "merge them with others.": ModelFacts.never_predicted,
    "The score of the training clips is near chance{}, so the model is hardly trained: try another learning rate, "
    "more epochs or less regularization.": ModelFacts.near_chance,
    "One or two validation speakers selected the model{}, which may not suit others: use more validation speakers, "
    "training.refit or a protocol with folds.": ModelFacts.few_selecting,
    "The validation clips determine no temperature{}: use more of them.": ModelFacts.no_temperature,
}


def degenerate(facts: ModelFacts) -> list[str]:
    """Warnings about a model that is not worth its figures."""
    return [
        sentence.format(f" ({found})")
        for sentence, detail in DEGENERATE.items()
        if (found := detail(facts))
    ]


def without_details(warning: str) -> str:
    """A warning of `degenerate` as it is of several runs; others unchanged."""
    return next(
        (one.format("") for one in DEGENERATE if one.partition("{}")[0] in warning), warning
    )
