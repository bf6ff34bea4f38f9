"""Calibration by temperature: one number that divides all logits, so that probabilities are worth what they say.

Temperature scaling is that of Guo, Pleiss, Sun and Weinberger 2017 ("On Calibration of Modern Neural Networks", ICML,
arXiv:1706.04599). The order of the labels stays, and with it every figure that knows answers only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ..utils.errors import UserError
from .metrics import calibration_error, clipped, reliability, squared_errors

# Where the search for a temperature ends; one that stands there was cut off, not found.
LOWEST, HIGHEST = 0.01, 100.0


def fit_temperature(
    logits: np.ndarray, labels: Sequence[int], together: Callable[[np.ndarray], np.ndarray] | None = None
) -> float:
    """The temperature T, from `LOWEST` to `HIGHEST`, under which softmax(logits / T) has the least log loss.

    Where all clips are recognised the loss falls as long as T does, and `LOWEST` is returned; where they are
    recognised no better than by chance `HIGHEST` may be: such a T was not found but cut off, see `at_limit`. Where the
    loss does not depend on T, it is 1.

    Args:
        logits: (clips, classes), of clips that the model has not learnt from.
        labels: (clips,) class ids.
        together: makes logits of clips (clips, classes) of those of their windows, for clips that are heard in several
            (`ser_hf.training.data.merge`); `logits` are then those of the windows.

    Raises:
        UserError: if there is no clip, or a logit is not finite.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if not len(labels):
        raise UserError("temperature: no clip to fit it on")
    if not np.isfinite(logits).all():
        raise UserError("temperature: the model's logits are not all finite numbers; its training went wrong")

    def answers(temperature: float) -> np.ndarray:
        tempered = logits / temperature
        return tempered if together is None else together(tempered)

    def loss(temperature: float) -> float:
        return _log_loss(labels, log_softmax(answers(temperature), axis=1))

    if (answers(1.0).argmax(axis=1) == labels).all():
        return LOWEST
    limits = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=limits, method="bounded", options={"xatol": 1e-6})
    # The search comes close to a limit, and never there.
    return min([1.0, float(np.exp(found.x)), LOWEST, HIGHEST], key=loss)


def at_limit(temperature: float) -> bool:
    """Whether `fit_temperature` ended where it may not go on: the clips do not tell a temperature."""
    return not LOWEST < temperature < HIGHEST


def temperature_facts(
    temperature: float, labels: Sequence[int], before: np.ndarray, after: np.ndarray, stored: bool
) -> dict[str, Any]:
    """What a report says of a temperature: {value, fitted_on, before: {log_loss, ece, brier}, after, stored}.

    Args:
        labels: (clips,) class ids of the judged part.
        before, after: (clips, classes) logits of that part, as the network made them and under the temperature.
        stored: whether the published model answers under the temperature.
    """
    labels = np.asarray(labels)
    return {
        "value": temperature,
        "fitted_on": "validation",
        "before": _scores(labels, before),
        "after": _scores(labels, after),
        "stored": stored,
    }


def temperature_warning(temperature: float, asked: bool) -> str | None:
    """A sentence about a temperature that stands at a limit; None for any other.

    Args:
        asked: whether the recipe wanted it stored.
    """
    if not at_limit(temperature):
        return None
    sharp = "sharper" if temperature <= LOWEST else "flatter"
    why = f"the {sharp} the probabilities, the better they score"
    end = "; it was not stored" if asked else ""
    return f"The validation clips tell no temperature ({why}): {temperature:g} is the limit of the search{end}."


def _scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """As `ser_hf.evaluation.metrics.all_metrics` measures them."""
    probabilities = softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return {
        "log_loss": _log_loss(labels, np.log(clipped(probabilities))),
        "ece": calibration_error(reliability(labels, probabilities)),
        "brier": float(squared_errors(labels, probabilities).mean()),
    }


def _log_loss(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
