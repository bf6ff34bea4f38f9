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

# A class of fewer clips is missing from too many resamples: one of 5, drawn alone, is from one in 150 (exp(-5)).
FEW_CLIPS = 5


def evaluate_predictions(judged: Judged, *, bootstrap: int = 2000, confidence: float = 0.95) -> dict[str, Any]:
    """The judgement of one part: metrics and their intervals, per_class, confusion, calibration, slices and their
    gaps, perceived, corpora, hardest and warnings. Of several runs metrics are the mean and confusions the sum, and
    intervals are those of the mean of these very runs: of other clips and speakers, not of other seeds.
    `corpora` holds the judgement of each corpus where there are several (`ser_hf.evaluation.slices`)."""
    names, labels, runs = judged.names, judged.labels, judged.predictions
    measured = [all_metrics(labels, run, judged.votes) for run in judged.probabilities]
    pooled_labels, pooled = np.tile(labels, len(runs)), runs.ravel()
    # Each bootstrap draws once for all that is drawn so: drawing takes as long as measuring does.
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
    judgement: dict[str, Any] = {
        "clips": len(judged),
        "speakers": len({name for name in judged.speakers if not is_unknown(name)}),
        "metrics": metrics,
        "intervals": known_intervals(percentiles(by_speaker, confidence), metrics),
        "clip_intervals": known_intervals(percentiles(by_clip, confidence), metrics),
        "confidence": confidence,
        "per_class": _classes(judged, recall_intervals),
        "confusion": confusion(pooled_labels, pooled, len(names)),
        # Pooling the runs repeats each clip; what is reported is how many there are.
        "calibration": {"bins": [own | {"clips": own["clips"] / len(runs)} for own in bins]},
        "slices": slices,
        "gaps": gaps,
        "perceived": other_label(judged),
        "corpora": by_corpus(judged.columns["corpus"], judged.speakers, labels, runs, names),
        "hardest": hardest(judged),
        "warnings": [],
    }
    judgement["calibration"]["ece"] = calibration_error(bins)
    unknown = sum(is_unknown(name) for name in judged.speakers)
    judgement["warnings"] = few_speakers(judgement["speakers"], unknown) + few_clips(judgement["per_class"])
    return judgement


def few_speakers(speakers: int, unknown: int = 0) -> list[str]:
    """A sentence where so few speakers judged that the interval over them promises too much, and one where the
    speakers of some clips, `unknown`, are not known."""
    told = []
    if unknown:
        whose = "The speaker of 1 clip is" if unknown == 1 else f"The speakers of {unknown:,} clips are"
        told.append(
            f"{whose} not known: each such clip is drawn as if somebody else spoke it, so that intervals are too "
            "narrow where one speaker has many."
        )
    elif speakers < FEW_SPEAKERS:
        counted = "1 speaker" if speakers == 1 else f"{speakers} speakers"
        told.append(
            f"Judged on {counted}: the interval over speakers is too narrow for so few, and the one over clips alone "
            "says nothing about other speakers."
        )
    return told


def few_clips(classes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence where classes (`per_class`) have so few clips that many a resample lacks them."""
    few = [f"{name} ({own['support']})" for name, own in classes.items() if 0 < own["support"] < FEW_CLIPS]
    if not few:
        return []
    return [
        f"Fewer than {FEW_CLIPS} clips judge {', '.join(few)}: a resample that lacks a class leaves it out of its "
        "mean, and the intervals of UAR, macro-F1 and AUROC lean upwards."
    ]


def known_intervals(intervals: Intervals, metrics: Mapping[str, float | None]) -> Intervals:
    """Without those of metrics that the clips leave undefined."""
    return {name: own for name, own in intervals.items() if metrics.get(name) is not None}


def mean_metrics(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric; None where a run leaves it undefined."""
    return {
        name: None if any(own[name] is None for own in measured) else float(np.mean([own[name] for own in measured]))
        for name in measured[0]
    }


def _classes(judged: Judged, intervals: Sequence[list[float] | None]) -> dict[str, dict[str, Any]]:
    runs, names = judged.predictions, judged.names
    classes = per_class(np.tile(judged.labels, len(runs)), runs.ravel(), names)
    for row, interval in zip(classes.values(), intervals, strict=True):
        # Pooling the runs repeats each clip; what is reported is how many there are.
        row["support"] //= len(runs)
        row["recall_interval"] = interval
    return classes


def hardest(judged: Judged, most: int = 20) -> list[dict[str, Any]]:
    """The clips whose label was given the least probability, mean over runs: id, speaker, label, predicted,
    probability of the label, path (None for audio that is in no file)."""
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
