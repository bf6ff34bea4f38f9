"""Calibration of probabilities: the reliability diagram, and a temperature fitted on validation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special
from scipy.optimize import minimize_scalar

from .metrics import BINS, all_metrics, confidence_bins

# The bounds of the search for a temperature.
LOWEST = 0.01
HIGHEST = 100.0


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """The reliability diagram (Guo et al. 2017): bounds, clips, mean confidence and accuracy of
    each bin, None if empty."""
    top, bins = confidence_bins(probabilities)
    means = {"confidence": top, "accuracy": probabilities.argmax(axis=1) == labels}
    return [
        {"low": i / BINS, "high": (i + 1) / BINS, "clips": int(own.sum())}
        | {name: float(scores[own].mean()) if own.any() else None for name, scores in means.items()}
        for i, own in enumerate(bins == i for i in range(BINS))
    ]


def fit_temperature(
    logits: np.ndarray,
    labels: Sequence[int],
    merged: Callable[[np.ndarray], np.ndarray] = lambda logits: logits,
) -> float:
    """Fit the temperature T under which softmax(logits / T) has the lowest log loss.

    Guo et al. 2017, arXiv:1706.04599. Predicted labels do not change. If every clip is recognized,
    a lower T always has a lower loss, and the result is the limit `LOWEST`, see `at_limit`.

    Args:
        logits: (clips, classes) or (windows, classes), of clips that the model was not trained on.
        labels: class ids, (clips,).
        merged: converts logits of windows to those of clips (`ser_hf.loading.batches.merge`).

    Returns:
        T, from `LOWEST` to `HIGHEST`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    labels = np.asarray(labels)

    def loss(temperature: float) -> float:
        probabilities = scipy.special.log_softmax(merged(logits / temperature), axis=1)
        return float(-probabilities[np.arange(len(labels)), labels].mean())

    if (merged(logits).argmax(axis=1) == labels).all():
        return LOWEST
    limits = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(
        lambda x: loss(np.exp(x)), bounds=limits, method="bounded", options={"xatol": 1e-6}
    )
    return min([1.0, float(np.exp(found.x)), LOWEST, HIGHEST], key=loss)


def at_limit(temperature: float) -> bool:
    """Whether `fit_temperature` ended at a bound of its search: the clips do not determine a
    temperature.
    """
    return not LOWEST < temperature < HIGHEST


def temperature_facts(
    temperature: float, labels: Sequence[int], before: np.ndarray, after: np.ndarray, stored: bool
) -> dict[str, Any]:
    """The report's `temperature`: log loss, ECE and Brier score before and after temperature
    scaling.

    Args:
        temperature: from `fit_temperature`.
        labels: class ids, (clips,).
        before, after: logits (clips, classes).
        stored: whether the published model applies the temperature.
    """
    found: dict[str, Any] = {"value": temperature, "fitted_on": "validation"}
    for when, logits in (("before", before), ("after", after)):
        probabilities = scipy.special.softmax(np.asarray(logits, dtype=np.float64), axis=1)
        found[when] = all_metrics(labels, probabilities, names=("log_loss", "ece", "brier"))
    return found | {"stored": stored}
