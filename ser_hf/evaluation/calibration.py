"""Calibration by temperature: one number that divides all logits, so that probabilities match accuracy.

Temperature scaling is that of Guo, Pleiss, Sun and Weinberger 2017 ("On Calibration of Modern Neural Networks", ICML,
arXiv:1706.04599). The order of the labels stays, and with it every metric of predicted labels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ..utils.errors import UserError
from .metrics import all_metrics

# The bounds of the search for a temperature.
LOWEST, HIGHEST = 0.01, 100.0


def fit_temperature(
    logits: np.ndarray, labels: Sequence[int], merged: Callable[[np.ndarray], np.ndarray] = lambda logits: logits
) -> float:
    """The temperature T, from `LOWEST` to `HIGHEST`, under which softmax(logits / T) has the least log loss.

    If all clips are recognized the loss falls as long as T does, and `LOWEST` is returned; if they are recognized no
    better than by chance `HIGHEST` may be: such a T is a limit of the search, see `at_limit`. If the loss does not
    depend on T, it is 1.

    Args:
        logits: (clips, classes), of clips that the model was not trained on.
        labels: (clips,) class ids.
        merged: makes logits of clips, (clips, classes), from those of their windows (`ser_hf.training.data.merge`);
            `logits` are then those of the windows.

    Raises:
        UserError: if there is no clip, or a logit is not finite.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if not len(labels):
        raise UserError("temperature: no clip to fit it on")
    if not np.isfinite(logits).all():
        raise UserError("temperature: the model's logits are not all finite numbers; its training went wrong")

    def loss(temperature: float) -> float:
        return float(-log_softmax(merged(logits / temperature), axis=1)[np.arange(len(labels)), labels].mean())

    if (merged(logits).argmax(axis=1) == labels).all():
        return LOWEST
    limits = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=limits, method="bounded", options={"xatol": 1e-6})
    # The search comes close to a limit, but never reaches it.
    return min([1.0, float(np.exp(found.x)), LOWEST, HIGHEST], key=loss)


def at_limit(temperature: float) -> bool:
    """Whether `fit_temperature` ended at a bound of its search: the clips do not determine a temperature."""
    return not LOWEST < temperature < HIGHEST


def temperature_facts(
    temperature: float, labels: Sequence[int], before: np.ndarray, after: np.ndarray, stored: bool
) -> dict[str, Any]:
    """A report's `temperature`: {value, fitted_on, before: {log_loss, ece, brier}, after, stored}.

    Args:
        labels: (clips,) class ids of the evaluated split.
        before, after: (clips, classes) logits of that split, without and with the temperature.
        stored: whether the published model applies the temperature.
    """

    def scores(logits: np.ndarray) -> dict[str, float]:
        probabilities = softmax(np.asarray(logits, dtype=np.float64), axis=1)
        return all_metrics(labels, probabilities, names=("log_loss", "ece", "brier"))

    return {
        "value": temperature,
        "fitted_on": "validation",
        "before": scores(before),
        "after": scores(after),
        "stored": stored,
    }


def temperature_warning(temperature: float, requested: bool) -> str | None:
    """A sentence about a temperature at a limit; None for any other.

    Args:
        requested: whether the recipe asks to store it.
    """
    if not at_limit(temperature):
        return None
    sharp = "sharper" if temperature <= LOWEST else "flatter"
    why = f"the {sharp} the probabilities, the lower the log loss"
    end = "; it is not stored" if requested else ""
    return f"The validation clips determine no temperature ({why}): {temperature:g} is the limit of the search{end}."
