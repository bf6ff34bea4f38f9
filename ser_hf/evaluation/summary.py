"""All numbers of one evaluated split: metrics, intervals, classes, slices, calibration, hardest clips, warnings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import (
    FEW_SPEAKERS,
    Intervals,
    clip_draws,
    is_unknown,
    measure,
    measure_recalls,
    percentile,
    percentiles,
    resample,
    speaker_keys,
)
from .metrics import LOWEST, all_metrics, at_limit, mean_metrics, reliability, values
from .predictions import Predictions
from .slices import by_corpus, measure_slices, other_label, pooled_classes, slices_and_gaps

# A class with fewer clips is missing in too many resamples; with 5 clips it is missing in one of 150 (exp(-5)).
FEW_CLIPS = 5


def evaluate_predictions(
    predictions: Predictions, *, bootstrap: int = 2000, confidence: float = 0.95
) -> dict[str, Any]:
    """Compute the sections of a report about one split.

    Over several runs, metrics are the mean and confusions the sum; intervals are those of the mean of these runs: they
    cover other clips and speakers, not other seeds.

    Args:
        predictions: of one or several runs.
        bootstrap: number of resamples.
        confidence: of the intervals, between 0 and 1.

    Returns:
        {section: value} with the keys of report.json, such as metrics, intervals, per_class, confusion and slices.
    """
    runs, outputs = len(predictions.probabilities), predictions.outputs
    # Everything shares the resamples: drawing them takes as long as computing the metrics.
    groups, speakers = measure_slices(predictions)
    drawn, alone = (
        clip_draws(predictions.ids, keys, bootstrap, np.random.default_rng(0))
        for keys in (speaker_keys(predictions), None)
    )
    by_speaker, of_classes, of_groups = resample([measure(outputs), measure_recalls(outputs), groups], drawn)
    by_clip, of_speakers = resample([measure(outputs), speakers], alone)
    slices, gaps = slices_and_gaps(predictions, of_groups | of_speakers, confidence)
    classes, counts = pooled_classes(predictions)
    for row, resampled in zip(classes.values(), of_classes["recall"].T, strict=True):
        row["recall_interval"] = percentile(resampled, confidence)
    metrics = mean_metrics([values(run) for run in outputs])
    pooled = np.tile(predictions.labels, runs), predictions.probabilities.reshape(-1, len(predictions.names))
    bins = [own | {"clips": own["clips"] / runs} for own in reliability(*pooled)]  # clips are counted once
    known = {name for name in predictions.speakers if not is_unknown(name)}
    unknown = sum(map(is_unknown, predictions.speakers))
    supports = {name: row["support"] for name, row in classes.items()}
    return {
        "clips": len(predictions),
        "speakers": len(known),
        "metrics": metrics,
        "intervals": known_intervals(percentiles(by_speaker, confidence), metrics),
        "clip_intervals": known_intervals(percentiles(by_clip, confidence), metrics),
        "confidence": confidence,
        "per_class": classes,
        "confusion": counts,
        "calibration": {"bins": bins, "ece": all_metrics(*pooled, names=["ece"])["ece"]},
        "slices": slices,
        "gaps": gaps,
        "perceived": other_label(predictions),
        "corpora": by_corpus(predictions),
        "hardest": hardest(predictions),
        "warnings": few_speakers(len(known), unknown) + few_clips(supports),
    }


def few_speakers(speakers: int, unknown: int = 0) -> list[str]:
    """Warnings about few test speakers and about `unknown`, the number of clips with an unknown speaker."""
    if unknown:
        whose = "The speaker of 1 clip is" if unknown == 1 else f"The speakers of {unknown:,} clips are"
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
    """The clips with the lowest probability of their label, mean over runs."""
    mean = predictions.probabilities.mean(axis=0)
    own = mean[np.arange(len(predictions)), predictions.labels]
    paths = predictions.paths or [None] * len(predictions)
    return [
        {
            "id": predictions.ids[i],
            "speaker": predictions.speakers[i],
            "label": predictions.names[predictions.labels[i]],
            "predicted": predictions.names[int(mean[i].argmax())],
            "probability": float(own[i]),
            "path": paths[i],
        }
        for i in np.argsort(own, kind="stable")[:most]
    ]


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What shows that a model is degenerate; None where it is unknown or does not apply.

    Args:
        names, confusion: classes, and counts of the evaluated clips (`metrics.confusion`).
        train_uar: UAR of the training clips.
        selecting: the validation speakers that selected the model.
        temperature: from `fit_temperature`.
    """

    names: Sequence[str]
    confusion: Sequence[Sequence[int]]
    train_uar: float | None = None
    selecting: Sequence[str] | None = None
    temperature: float | None = None

    def one_class(self) -> str | None:
        labeled, predicted = (np.sum(self.confusion, axis=axis) / np.sum(self.confusion) for axis in (1, 0))
        most = predicted.argmax()
        return self.names[most] if labeled[most] <= 0.95 < predicted[most] else None

    def never_predicted(self) -> str | None:
        counts = zip(self.names, np.sum(self.confusion, axis=1), np.sum(self.confusion, axis=0), strict=True)
        missing = [name for name, labeled, predicted in counts if labeled and not predicted]
        return None if self.one_class() else ", ".join(missing)

    def near_chance(self) -> str | None:
        # Guessing has this UAR whatever class it prefers; less than a tenth of the way from there to 1 is no training.
        chance = 1 / len(self.names)
        near = self.train_uar is not None and self.train_uar < chance + 0.1 * (1 - chance)
        return f"{self.train_uar:.3f}, chance {chance:.3f}" if near else None

    def few_selecting(self) -> str | None:
        few = self.selecting is not None and len(self.selecting) <= 2 and not any(map(is_unknown, self.selecting))
        return ", ".join(self.selecting) if few else None

    def no_temperature(self) -> str | None:
        better = "the sharper the better" if self.temperature == LOWEST else "the flatter the better"
        return f"{self.temperature:g}, {better}" if self.temperature and at_limit(self.temperature) else None


# A new warning is one entry: a sentence with what to try, and the details in its brackets, none without a fault.
DEGENERATE: dict[str, Callable[[ModelFacts], str | None]] = {
    "More than 95 % of the evaluated clips get one class{}: check that their level is that of the training clips "
    "(audio.level), or train with class weights or another learning rate.": ModelFacts.one_class,
    "Some classes of the evaluated clips are never predicted{}: train with class weights or more clips of them, or "
    "merge them with others.": ModelFacts.never_predicted,
    "UAR on the training clips is near chance{}, so the model is hardly trained: try another learning rate, more "
    "epochs or less regularization.": ModelFacts.near_chance,
    "One or two validation speakers selected the model{}, which may not suit others: use more validation speakers, "
    "training.refit or a protocol with folds.": ModelFacts.few_selecting,
    "The validation clips determine no temperature{}, so none is stored: use more of them.": ModelFacts.no_temperature,
}


def degenerate(facts: ModelFacts) -> list[str]:
    """Warnings about a model that is not worth its figures."""
    return [sentence.format(f" ({found})") for sentence, detail in DEGENERATE.items() if (found := detail(facts))]


def without_details(warning: str) -> str:
    """A warning of `degenerate` as it is of several runs; others unchanged."""
    return next((one.format("") for one in DEGENERATE if one.partition("{}")[0] in warning), warning)
