"""Calibration of probabilities: the reliability diagram, and a temperature fitted on validation."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.special
from scipy.optimize import minimize_scalar

from .metrics import all_metrics
from .probabilities import BINS, confidence_bins
from .sections import Bin, Calibration, ProbabilityScores, Temperature

# The bounds of the search for a temperature.
LOWEST = 0.01
HIGHEST = 100.0


def calibration(labels: np.ndarray, probabilities: np.ndarray, runs: int = 1) -> Calibration:
    """The reliability diagram and the expected calibration error over all runs.

    Args:
        labels: class ids, (runs * clips,).
        probabilities: (runs * clips, classes).
        runs: number of runs. Counts of clips are divided by it, so that each clip counts once.
    """
    bins = reliability(labels, probabilities)
    for probability_bin in bins:
        probability_bin.clips /= runs
    ece = all_metrics(labels, probabilities, names=["ece"])["ece"]
    return Calibration(bins=bins, ece=ece)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """The bins of the reliability diagram (Guo et al. 2017); an empty bin has no means.

    Args:
        labels: class ids, (clips,).
        probabilities: (clips, classes).
    """
    top, bin_of_clip = confidence_bins(probabilities)
    correct = probabilities.argmax(axis=1) == labels
    bins = []
    for i in range(BINS):
        inside = bin_of_clip == i
        clips = int(inside.sum())
        bins.append(
            Bin(
                low=i / BINS,
                high=(i + 1) / BINS,
                clips=clips,
                confidence=float(top[inside].mean()) if clips else None,
                accuracy=float(correct[inside].mean()) if clips else None,
            )
        )
    return bins


def fit_temperature(
    logits: np.ndarray,
    labels: Sequence[int],
    merged: Callable[[np.ndarray], np.ndarray] = lambda logits: logits,
) -> float:
    """Fit the temperature T under which softmax(logits / T) has the lowest log loss.

    The method is from Guo et al. 2017, arXiv:1706.04599. It does not change predicted labels. If
    every clip is recognized, a lower T always has a lower loss, and the result is the limit
    `LOWEST`, see `at_limit`.

    Args:
        logits: (clips, classes) or (windows, classes). The model must not be trained on the clips.
        labels: class ids, (clips,).
        merged: function from the logits of windows to the logits of clips
            (`ser_hf.loading.batches.merge`).

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
    """Whether a temperature is a bound of the search of `fit_temperature`.

    The clips then do not determine a temperature.
    """
    return not LOWEST < temperature < HIGHEST


def temperature_effect(
    temperature: float, labels: Sequence[int], before: np.ndarray, after: np.ndarray, stored: bool
) -> Temperature:
    """Log loss, ECE and Brier score before and after temperature scaling.

    Args:
        temperature: from `fit_temperature`.
        labels: class ids, (clips,).
        before, after: logits (clips, classes).
        stored: whether the published model applies the temperature.
    """
    return Temperature(
        value=temperature,
        fitted_on="validation",
        before=_probability_scores(labels, before),
        after=_probability_scores(labels, after),
        stored=stored,
    )


def _probability_scores(labels: Sequence[int], logits: np.ndarray) -> ProbabilityScores:
    probabilities = scipy.special.softmax(np.asarray(logits, dtype=np.float64), axis=1)
    scores = all_metrics(labels, probabilities, names=("log_loss", "ece", "brier"))
    return ProbabilityScores(**scores)
