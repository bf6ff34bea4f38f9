"""Makes learning rate schedules: those of transformers, and those of torch that it lacks."""

import bisect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from transformers import get_scheduler
from transformers.optimization import GreedyLR
from transformers.trainer_utils import SchedulerType

from ..utils.errors import UserError
from ..utils.validation import validated
from .settings import DropSettings, MultiStepSettings, StepSettings

ONE_CYCLE = "one_cycle"
DROPS: dict[str, type[DropSettings]] = {"step": StepSettings, "multi_step": MultiStepSettings}
# Schedules that transformers does not have.
OF_TORCH = (ONE_CYCLE, *DROPS)
_BY_METRIC = (SchedulerType.REDUCE_ON_PLATEAU.value, SchedulerType.GREEDY.value)
WITHOUT_WARMUP = (SchedulerType.CONSTANT.value, ONE_CYCLE, *_BY_METRIC)


def schedule_names() -> list[str]:
    """Possible values of `training.lr_scheduler_type`."""
    return [*(name.value for name in SchedulerType), *OF_TORCH]


def check_schedule(name: str, kwargs: Mapping[str, Any] | None, warmup_steps: float) -> None:
    """Check the schedule of a recipe before there is a model.

    Raises:
        UserError: naming the key that is wrong.
    """
    if warmup_steps and name in WITHOUT_WARMUP:
        raise UserError(f"training.warmup_steps: {name} has no warm-up; leave it out")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    make_schedule(name, optimizer, steps=100, steps_per_epoch=10, warmup_steps=1, kwargs=kwargs)


def make_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    steps_per_epoch: int,
    warmup_steps: int,
    kwargs: Mapping[str, Any] | None = None,
    greater_is_better: bool = True,
) -> LRScheduler | GreedyLR:
    """The learning rate schedule of a run.

    ``one_cycle`` (Smith and Topin 2018, arXiv:1708.07120) has the rate of each parameter group as
    its highest. ``step`` and ``multi_step`` are torch's `StepLR` and `MultiStepLR` after a linear
    warm-up, with drops counted in epochs or in steps. The others are transformers'; those by metric
    use the metric that selects the checkpoint.

    Raises:
        UserError: for settings that the schedule does not take, and a warm-up as long as the run.
    """
    kwargs = dict(kwargs or {})
    if steps == 1:
        warmup_steps = 0  # a share of one step is the whole run, at a rate of 0
    if warmup_steps >= steps and name not in WITHOUT_WARMUP:
        raise UserError(
            f"training.warmup_steps: expected fewer than the {steps} steps of the run, "
            f"got {warmup_steps}"
        )
    if name in DROPS:
        drops = count_in_steps(name, kwargs, steps_per_epoch)
        return LambdaLR(optimizer, _dropping_factor(drops, warmup_steps))
    if name in _BY_METRIC:
        kwargs.setdefault("mode", "max" if greater_is_better else "min")
    try:
        if name == ONE_CYCLE:
            highest = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(optimizer, highest, steps, **kwargs)
        return get_scheduler(name, optimizer, warmup_steps, steps, kwargs)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"training.lr_scheduler_kwargs: {name}: {error}") from None


def count_in_steps(
    name: str, kwargs: Mapping[str, Any] | None, steps_per_epoch: int
) -> DropSettings:
    """The settings of `step` or `multi_step`, with drops counted in optimizer steps.

    Raises:
        UserError: for settings that the schedule does not take.
    """
    drops = validated(DROPS[name], dict(kwargs or {}), "training.lr_scheduler_kwargs")
    if drops.unit == "steps":
        return drops
    if isinstance(drops, StepSettings):
        return drops.replace(unit="steps", step_size=drops.step_size * steps_per_epoch)
    milestones = [milestone * steps_per_epoch for milestone in drops.milestones]
    return drops.replace(unit="steps", milestones=milestones)


def _dropping_factor(drops: DropSettings, warmup_steps: int) -> Callable[[int], float]:
    """A function from the number of the step to the factor of the learning rate."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        if isinstance(drops, StepSettings):
            count = step // drops.step_size
        else:
            count = bisect.bisect_right(drops.milestones, step)
        return drops.gamma**count

    return factor
