"""Warnings about a model whose figures are worth little: it predicts one class, is at chance, or
was selected by too few speakers.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .bootstrap import is_unknown
from .calibration import LOWEST, at_limit

# With this share of the predictions in one class, others hardly count.
_ONE_CLASS = 0.95
# Less than this share of the way from chance to a score of 1 is no training.
_TRAINED = 0.1
_FEW_SELECTING = 2


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What shows that a model is degenerate; None where it is unknown or does not apply.

    Args:
        names, confusion: classes, and counts of the evaluated clips (`classes.confusion`); no
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


def _one_class(facts: ModelFacts) -> str | None:
    if not facts.confusion:
        return None
    clips = np.sum(facts.confusion)
    labeled = np.sum(facts.confusion, axis=1) / clips
    predicted = np.sum(facts.confusion, axis=0) / clips
    most = predicted.argmax()
    only = predicted[most] > _ONE_CLASS and labeled[most] <= _ONE_CLASS
    return facts.names[most] if only else None


def _never_predicted(facts: ModelFacts) -> str | None:
    if not facts.confusion or _one_class(facts):
        return None
    labeled = np.sum(facts.confusion, axis=1)
    predicted = np.sum(facts.confusion, axis=0)
    missing = [name for i, name in enumerate(facts.names) if labeled[i] and not predicted[i]]
    return ", ".join(missing)


def _near_chance(facts: ModelFacts) -> str | None:
    if facts.train_score is None:
        return None
    # Guessing has this UAR whatever class it prefers.
    chance = 1 / len(facts.names) if facts.confusion else 0.0
    near = facts.train_score < chance + _TRAINED * (1 - chance)
    return f"{facts.train_score:.3f}, chance {chance:.3f}" if near else None


def _few_selecting(facts: ModelFacts) -> str | None:
    if facts.selecting is None or any(map(is_unknown, facts.selecting)):
        return None
    return ", ".join(facts.selecting) if len(facts.selecting) <= _FEW_SELECTING else None


def _no_temperature(facts: ModelFacts) -> str | None:
    if not facts.temperature or not at_limit(facts.temperature):
        return None
    better = "the sharper the better" if facts.temperature == LOWEST else "the flatter the better"
    return f"{facts.temperature:g}, {better}"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of a model.

    Args:
        sentence: the warning with what to try; {} is the place of the details.
        details: of a model with the fault; None or an empty text without it.
    """

    sentence: str
    details: Callable[[ModelFacts], str | None]


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
        "One or two validation speakers selected the model{}, which may not suit others: use more "
        "validation speakers, training.refit or a protocol with folds.",
        _few_selecting,
    ),
    Fault(
        "The validation clips determine no temperature{}: use more of them.",
        _no_temperature,
    ),
)


def degenerate(facts: ModelFacts) -> list[str]:
    """The warnings about a model, each with details in brackets."""
    warnings = []
    for fault in FAULTS:
        details = fault.details(facts)
        if details:
            warnings.append(fault.sentence.format(f" ({details})"))
    return warnings


def without_details(warning: str) -> str:
    """A warning of `degenerate` as it is of several runs; others unchanged."""
    for fault in FAULTS:
        if fault.sentence.partition("{}")[0] in warning:
            return fault.sentence.format("")
    return warning
