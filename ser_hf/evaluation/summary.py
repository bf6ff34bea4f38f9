"""All numbers of one evaluated split: metrics, intervals, classes, slices, calibration, hardest clips, warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import (
    FEW_SPEAKERS,
    Intervals,
    all_of,
    is_unknown,
    judged_draws,
    percentile,
    percentiles,
    recalls_of,
    resample,
)
from .metrics import all_metrics, calibration_error, confusion, per_class, reliability
from .predictions import Judged
from .slices import by_corpus, other_label, slices_and_gaps, uars_of

# A class with fewer clips is missing in too many resamples; with 5 clips it is missing in one of 150 (exp(-5)).
FEW_CLIPS = 5


def evaluate_predictions(judged: Judged, *, bootstrap: int = 2000, confidence: float = 0.95) -> dict[str, Any]:
    """The sections of a report about one split: metrics with intervals, per_class, confusion, calibration, slices and
    gaps, perceived, corpora, hardest and warnings.

    Over several runs, metrics are the mean and confusions the sum. Intervals are those of the mean of these runs: they
    cover other clips and speakers, not other seeds.
    """
    names, labels, runs = judged.names, judged.labels, judged.predictions
    measured = [all_metrics(labels, run, judged.votes) for run in judged.probabilities]
    pooled_labels, pooled = np.tile(labels, len(runs)), runs.ravel()
    # Everything shares the resamples: drawing them takes as long as computing the metrics.
    kinds, speakers_alone = uars_of(judged)
    everything = all_of(judged)
    by_speaker, of_classes, of_kinds = resample(
        [everything, recalls_of(judged), kinds], judged_draws(judged, True, bootstrap)
    )
    by_clip, of_speakers = resample([everything, speakers_alone], judged_draws(judged, False, bootstrap))
    slices, gaps = slices_and_gaps(judged, of_kinds | of_speakers, confidence)
    recall_intervals = [percentile(own, confidence) for own in of_classes["recall"].T]
    metrics = mean_metrics(measured)
    bins = reliability(pooled_labels, judged.probabilities.reshape(-1, len(names)))
    scores: dict[str, Any] = {
        "clips": len(judged),
        "speakers": len({name for name in judged.speakers if not is_unknown(name)}),
        "metrics": metrics,
        "intervals": known_intervals(percentiles(by_speaker, confidence), metrics),
        "clip_intervals": known_intervals(percentiles(by_clip, confidence), metrics),
        "confidence": confidence,
        "per_class": _classes(judged, recall_intervals),
        "confusion": confusion(pooled_labels, pooled, len(names)),
        # Pooled runs repeat each clip; clips are counted once.
        "calibration": {"bins": [own | {"clips": own["clips"] / len(runs)} for own in bins]},
        "slices": slices,
        "gaps": gaps,
        "perceived": other_label(judged),
        "corpora": by_corpus(judged.columns["corpus"], judged.speakers, labels, runs, names),
        "hardest": hardest(judged),
        "warnings": [],
    }
    scores["calibration"]["ece"] = calibration_error(bins)
    supports = {name: row["support"] for name, row in scores["per_class"].items()}
    unknown = sum(is_unknown(name) for name in judged.speakers)
    scores["warnings"] = few_speakers(scores["speakers"], unknown) + few_clips(supports)
    return scores


def few_speakers(speakers: int, unknown: int = 0) -> list[str]:
    """Warnings about few test speakers, for which intervals are too narrow, and about `unknown`, the number of clips
    with an unknown speaker."""
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
    """A warning about classes with so few clips that many resamples lack them."""
    few = [f"{name} ({clips})" for name, clips in supports.items() if 0 < clips < FEW_CLIPS]
    if not few:
        return []
    return [
        f"Fewer than {FEW_CLIPS} clips of {', '.join(few)}: a resample without a class leaves it out of its mean, "
        "which biases the intervals of UAR, macro-F1 and AUROC upwards."
    ]


def known_intervals(intervals: Intervals, metrics: Mapping[str, float | None]) -> Intervals:
    """The intervals without those of undefined metrics."""
    return {name: own for name, own in intervals.items() if metrics.get(name) is not None}


def mean_metrics(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric; None if it is undefined for a run."""
    return {
        name: None if any(own[name] is None for own in measured) else float(np.mean([own[name] for own in measured]))
        for name in measured[0]
    }


def _classes(judged: Judged, intervals: Sequence[list[float] | None]) -> dict[str, dict[str, Any]]:
    runs, names = judged.predictions, judged.names
    classes = per_class(np.tile(judged.labels, len(runs)), runs.ravel(), names)
    for row, interval in zip(classes.values(), intervals, strict=True):
        # Pooled runs repeat each clip; clips are counted once.
        row["support"] //= len(runs)
        row["recall_interval"] = interval
    return classes


def hardest(judged: Judged, most: int = 20) -> list[dict[str, Any]]:
    """The clips with the lowest probability of their label, mean over runs."""
    mean = judged.probabilities.mean(axis=0)
    own = mean[np.arange(len(judged)), judged.labels]
    paths = judged.paths or [None] * len(judged)
    return [
        {
            "id": judged.ids[i],
            "speaker": judged.speakers[i],
            "label": judged.names[judged.labels[i]],
            "predicted": judged.names[int(mean[i].argmax())],
            "probability": float(own[i]),
            "path": paths[i],
        }
        for i in np.argsort(own, kind="stable")[:most]
    ]
