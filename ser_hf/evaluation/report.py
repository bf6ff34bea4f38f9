"""The judgement of a run: what was measured on which clips."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from .by_corpus import by_corpus
from .intervals import FEW_SPEAKERS, judged_intervals, recall_intervals
from .judged import Judged
from .metrics import all_metrics, calibration_error, confusion, per_class, reliability
from .slices import other_label, slice_metrics

logger = logging.getLogger(__name__)


def softmax(logits: np.ndarray) -> np.ndarray:
    """(clips, classes) logits -> probabilities, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def judge(judged: Judged, *, bootstrap: int = 2000, confidence: float = 0.95) -> dict[str, Any]:
    """The judgement of one part: metrics and their intervals, per_class, confusion, calibration, slices and their
    gaps, perceived, corpora, hardest and warnings. Of several runs metrics are the mean and confusions the sum;
    `corpora` holds the judgement of each corpus where there are several (`ser_hf.evaluation.by_corpus`)."""
    names, labels, runs = judged.names, judged.labels, judged.predictions
    measured = [all_metrics(labels, run, judged.votes) for run in judged.probabilities]
    pooled_labels, pooled = np.tile(labels, len(runs)), runs.ravel()
    settings = {"resamples": bootstrap, "confidence": confidence}
    slices, gaps = slice_metrics(judged, **settings)
    bins = reliability(pooled_labels, judged.probabilities.reshape(-1, len(names)))
    judgement: dict[str, Any] = {
        "clips": len(judged),
        "speakers": len(set(judged.speakers)),
        "metrics": mean_metrics(measured),
        "intervals": judged_intervals(judged, True, **settings),
        "clip_intervals": judged_intervals(judged, False, **settings),
        "confidence": confidence,
        "per_class": _classes(judged, settings),
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
    speakers = judgement["speakers"]
    if speakers < FEW_SPEAKERS:
        counted = "1 speaker" if speakers == 1 else f"{speakers} speakers"
        judgement["warnings"].append(
            f"Judged on {counted}: the interval over speakers is too narrow for so few, and the one over clips alone "
            "says nothing about other speakers."
        )
    return judgement


def mean_metrics(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric; None where a run leaves it undefined."""
    return {
        name: None if any(own[name] is None for own in measured) else float(np.mean([own[name] for own in measured]))
        for name in measured[0]
    }


def _classes(judged: Judged, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    runs, names = judged.predictions, judged.names
    classes = per_class(np.tile(judged.labels, len(runs)), runs.ravel(), names)
    for row, interval in zip(classes.values(), recall_intervals(judged, **settings), strict=True):
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


def judged_people(report: Mapping[str, Any]) -> str:
    """Who judged, in words that a headline can carry without flattering."""
    shared = report["audit"]["shared"].get(f"train/{report['judged_on']}", {})
    if report["protocol"]["leak"] or shared.get("speakers"):
        return f"{report['judged_on']} clips of speakers heard before"
    if report.get("kind") == "evaluation":  # whatever part they are, they are new to the model, or nobody knows
        return "speakers it may have heard" if shared.get("speakers") is None else "speakers it has not heard"
    return f"the {report['judged_on']} speakers"
