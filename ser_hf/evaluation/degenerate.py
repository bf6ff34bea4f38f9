"""Warnings about a degenerate model, for example one that predicts a single class, is at chance
level, or was selected on too few speakers.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .bootstrap import is_unknown
from .calibration import HIGHEST, LOWEST, at_limit

# If one class has more than this share of the predictions, the model hardly predicts others.
_ONE_CLASS = 0.95
# A model with a training score below chance + this share of (1 - chance) is hardly trained.
_TRAINED = 0.1
# Up to this number of validation speakers are too few to select a model.
FEW_SELECTING = 3
# Why the search for a temperature ended at one of its limits.
_AT_LIMIT = {
    LOWEST: "is the lowest value of the search: a lower one always fits better when every clip is "
    "recognized",
    HIGHEST: "is the highest value of the search: a higher one always fits better when predictions "
    "are near chance",
}


@dataclasses.dataclass(frozen=True)
class CheckedModel:
    """The values that show whether a model is degenerate.

    A value is None if it is unknown or does not apply.

    Args:
        names: names of the classes or dimensions.
        confusion: counts of the evaluated clips (`classes.confusion`); None for dimensions.
        train_score: UAR, or CCC, on the training clips.
        selecting: the validation speakers on whose clips the model was selected.
        temperature: the result of `fit_temperature`.
    """

    names: Sequence[str]
    confusion: Sequence[Sequence[int]] | None
    train_score: float | None = None
    selecting: Sequence[str] | None = None
    temperature: float | None = None


def _one_class(model: CheckedModel) -> str | None:
    """The class that almost all predictions have, unless almost all labels have it too."""
    if not model.confusion:
        return None
    clips = np.sum(model.confusion)
    labeled = np.sum(model.confusion, axis=1) / clips
    predicted = np.sum(model.confusion, axis=0) / clips
    most = predicted.argmax()
    only = predicted[most] > _ONE_CLASS and labeled[most] <= _ONE_CLASS
    return model.names[most] if only else None


def _never_predicted(model: CheckedModel) -> str | None:
    """The classes that have clips but no predictions."""
    if not model.confusion or _one_class(model):
        return None
    labeled = np.sum(model.confusion, axis=1)
    predicted = np.sum(model.confusion, axis=0)
    missing = [name for i, name in enumerate(model.names) if labeled[i] and not predicted[i]]
    return ", ".join(missing)


def _near_chance(model: CheckedModel) -> str | None:
    """The training score and the chance level, if they are close."""
    if model.train_score is None:
        return None
    # The UAR of guessing, whichever class the guesses prefer.
    chance = 1 / len(model.names) if model.confusion else 0.0
    near = model.train_score < chance + _TRAINED * (1 - chance)
    return f"{model.train_score:.3f}, chance {chance:.3f}" if near else None


def _few_selecting(model: CheckedModel) -> str | None:
    """The validation speakers, if they are too few to select a model."""
    if model.selecting is None or any(map(is_unknown, model.selecting)):
        return None
    return ", ".join(model.selecting) if len(model.selecting) <= FEW_SELECTING else None


def _no_temperature(model: CheckedModel) -> str | None:
    """The temperature, if it is a limit of the search."""
    if not model.temperature or not at_limit(model.temperature):
        return None
    return f"{model.temperature:g} {_AT_LIMIT[model.temperature]}"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault that a model may have.

    Args:
        sentence: the warning, with advice; {} is replaced by the details.
        details: function that returns the details if the model has the fault; otherwise None or an
            empty text.
    """

    sentence: str
    details: Callable[[CheckedModel], str | None]


# A new warning is one entry here.
FAULTS = (
    Fault(
        "More than 95 % of the evaluated clips get one class{}: check that their level is that of "
        "the training clips (audio.level), or train with class weights or another learning rate.",
        _one_class,
    ),
    Fault(
        "Some classes of the evaluated clips are never predicted{}: train with class weights or "
        "more clips of them, or merge them with others.",
        _never_predicted,
    ),
    Fault(
        "The score of the training clips is near chance{}, so the model is hardly trained: try "
        "another learning rate, more epochs or less regularization.",
        _near_chance,
    ),
    Fault(
        "At most three validation speakers selected the model{}, which may not suit others: use "
        "training.early_stopping.select: last, with training.average and training.refit, or more "
        "validation speakers.",
        _few_selecting,
    ),
    Fault(
        "The validation clips determine no temperature{}: use more validation clips.",
        _no_temperature,
    ),
)


def degenerate(model: CheckedModel) -> list[str]:
    """The warnings about a model, each with details in brackets."""
    warnings = []
    for fault in FAULTS:
        details = fault.details(model)
        if details:
            warnings.append(fault.sentence.format(f" ({details})"))
    return warnings


def without_details(warning: str) -> str:
    """Remove the details from a warning of `degenerate`; other warnings stay unchanged.

    The warnings of several runs about the same fault then have the same text.
    """
    for fault in FAULTS:
        if fault.sentence.partition("{}")[0] in warning:
            return fault.sentence.format("")
    return warning
