"""The check that a network can learn 16 clips by heart, with the learning rate of the recipe.

A network that cannot do that has a wrong learning rate, frozen parameters, or inputs without the
information (Karpathy 2019, "A Recipe for Training Neural Networks"). If it fails, other rates are
tried, so that the check can say which way to go.
"""

import dataclasses
import math

import numpy as np
from datasets import Dataset

from ..report.views import counted
from ..training.sampling import recordings
from ..utils.errors import UserError
from .case import Case
from .result import Fault, Outcome, Problem, left_out
from .short_training import ShortTraining, Step, is_finite, steps_within

CLIPS = 16
_STEPS = 300
_STEPS_OF_TRIAL = 150
# With fewer steps nothing is said about a network that has not learned.
_FEWEST_STEPS = 40
# Learned: so many clips are predicted, or without classes the loss is this share of the first one.
_LEARNED_SHARE = 0.93
_LEARNED_LOSS = 0.3
# The learning rates that are tried after a failure.
_RATES = (1e-2, 1e-3, 1e-4, 1e-5)
# A loss that has fallen less than this share has hardly changed.
_HARDLY = 0.1


@dataclasses.dataclass(frozen=True)
class Loop:
    """The result of a short training on a few clips.

    Args:
        steps: the number of steps of the optimizer.
        first_loss, last_loss: the loss of the clips before and after it, in evaluation mode.
        accuracy: the share of clips whose class is predicted; None without classes.
        learned: whether the clips are learned.
    """

    steps: int
    first_loss: float
    last_loss: float
    accuracy: float | None
    learned: bool

    @property
    def diverged(self) -> bool:
        """Whether the loss became infinite or nan."""
        return not is_finite(self.last_loss)

    def __str__(self) -> str:
        text = f"loss {self.first_loss:.3g} to {self.last_loss:.3g} in {self.steps} steps"
        if self.accuracy is not None:
            text += f", accuracy {self.accuracy:.2f}"
        return text


def check_overfitting(case: Case) -> Outcome:
    """Train on 16 clips until they are learned, and name the rate if they are not."""
    run = case.run
    if run.recipe.training.solver == "sklearn":
        return left_out("scikit-learn fits the classifier without a learning rate")
    try:
        loop = learn_few_clips(case, 1.0, case.seconds, _STEPS)
    except UserError as error:
        return left_out(f"{error}")
    rate = run.recipe.training.learning_rate
    values = dataclasses.asdict(loop) | {"learning_rate": rate}
    text = f"{counted(_clips_of(case), 'clip')} at learning rate {rate:g}: {loop}"
    if loop.learned:
        return Outcome(text, values=values)
    if _needs_time(loop):
        return left_out(f"{text}: too few steps in {case.seconds:g} s; allow more with --seconds")
    problem = _rate_problem(case, loop, text)
    if problem is None and loop.steps < _STEPS:
        return left_out(f"{text}: too few steps in {case.seconds:g} s; allow more with --seconds")
    return Outcome(text, [problem or _nothing_learned(loop, text)], values)


def _needs_time(loop: Loop) -> bool:
    """Whether a training that has not learned was ended by the time, before one can say why."""
    if loop.diverged or loop.steps == _STEPS:
        return False
    still_falls = loop.last_loss < (1 - _HARDLY) * loop.first_loss
    return still_falls or loop.steps < _FEWEST_STEPS


def _clips_of(case: Case) -> int:
    return min(CLIPS, len(case.run.fold.split.rows["train"]))


def learn_few_clips(case: Case, factor: float, seconds: float, steps: int) -> Loop:
    """Train on a few clips until they are learned, the time is up or the loss is no number.

    Raises:
        UserError: if every parameter is frozen.
    """
    training = ShortTraining(case.run, factor)
    batches = training.batches(few_clips(recordings(training.clips)))
    first_loss = training.evaluate(batches).loss
    number = 0
    for number in steps_within(seconds, steps):
        step = training.step(batches)
        if not is_finite(step.loss):
            return Loop(number, first_loss, step.loss, None, learned=False)
        # Evaluation may take several times as long as a step: only what a step has learned is
        # evaluated, without dropout and with the statistics of evaluation.
        if _is_learned(step, first_loss):
            after = training.evaluate(batches)
            if _is_learned(after, first_loss):
                return Loop(number, first_loss, after.loss, after.accuracy, learned=True)
    after = training.evaluate(batches)
    return Loop(
        steps=number,
        first_loss=first_loss,
        last_loss=after.loss,
        accuracy=after.accuracy,
        learned=_is_learned(after, first_loss),
    )


def _is_learned(step: Step, first_loss: float) -> bool:
    """Whether clips are learned: by their accuracy, or without classes by their loss."""
    if step.accuracy is None:
        return step.loss <= _LEARNED_LOSS * first_loss
    return step.accuracy >= _LEARNED_SHARE


def few_clips(clips: Dataset) -> Dataset:
    """Choose 16 clips with equal numbers of each class, of different lengths."""
    labels = np.asarray(clips["labels"][:])
    generator = np.random.default_rng(0)
    order = generator.permutation(len(clips))
    # The first clip of every class, then the second one, and so on.
    turn_of_clip = np.zeros(len(clips), dtype=int)
    for label in np.unique(labels):
        places = order[labels[order] == label]
        turn_of_clip[places] = np.arange(len(places))
    chosen = order[np.argsort(turn_of_clip[order], kind="stable")][:CLIPS]
    return clips.select(np.sort(chosen))


def _rate_problem(case: Case, loop: Loop, text: str) -> Problem | None:
    """Try other rates after a training that has not learned; None if the rate is not the fault."""
    rate = case.run.recipe.training.learning_rate
    fell = loop.first_loss - loop.last_loss
    too_high = loop.diverged or fell < 0
    others = [other for other in _RATES if not 0.5 < other / rate < 2]
    # The most probable rates come first: lower ones after a loss that rose.
    others.sort(key=lambda other: ((other < rate) != too_high, abs(math.log(other / rate))))
    for other in others:
        trial = learn_few_clips(case, other / rate, case.seconds / 2, _STEPS_OF_TRIAL)
        if trial.learned:
            fault = Fault.RATE_TOO_HIGH if other < rate else Fault.RATE_TOO_LOW
            word = "high" if other < rate else "low"
            return Problem(
                fault,
                f"{text}: the rate is too {word}, as {other:g} learns them in {trial.steps} steps",
                f"set training.learning_rate: {other:g}",
            )
    if loop.diverged:
        return Problem(
            Fault.RATE_TOO_HIGH,
            f"{text}: the loss is no number",
            "lower training.learning_rate and training.head_learning_rate, and use "
            "training.precision: fp32",
        )
    return None


def _nothing_learned(loop: Loop, text: str) -> Problem:
    if loop.last_loss > (1 - _HARDLY) * loop.first_loss:
        text += ": the loss hardly changes, also at other rates"
    return Problem(
        Fault.NOTHING_LEARNED,
        text,
        "look at the checks above; train more layers (freeze, lora), lower dropout, or take "
        "another network",
    )
