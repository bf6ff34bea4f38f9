"""Makes parameter groups with learning rates and weight decay, and learning rate schedules."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from transformers import get_scheduler
from transformers.optimization import GreedyLR
from transformers.trainer_utils import SchedulerType

from ..utils.errors import UserError
from .freezing import bare, structure


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    head_learning_rate: float | None = None,
    layer_decay: float | None = None,
    decayed: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Trainable parameters in groups for a torch optimizer.

    With layer-wise decay (Clark et al. 2020, arXiv:2003.10555), the learning rate of layer i of L
    is multiplied by ``layer_decay ** (L - i)``. Modules below the layers have one more factor of
    `layer_decay`, and modules above the layers have the rate of the top layer. The head
    (everything outside the encoder) has `head_learning_rate`. LoRA adapters have the rate of their
    layer.

    Args:
        model: bare, or wrapped by peft, DDP, FSDP or torch.compile.
        decayed: names with weight decay, `decayed_names` of the model before FSDP flattens its
            matrices.

    Raises:
        UserError: if every parameter is frozen.
    """
    if decayed is None:
        decayed = decayed_names(model)
    part_of = _part_function(model, learning_rate, head_learning_rate, layer_decay)
    groups: dict[tuple[int, str, bool], dict[str, Any]] = {}
    for full_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        name = bare(full_name)
        part = part_of(name)
        has_decay = name in decayed
        key = (part.rank, part.name, not has_decay)
        if key not in groups:
            groups[key] = {
                "params": [],
                "lr": part.rate,
                "weight_decay": weight_decay if has_decay else 0.0,
                "name": part.name,
            }
        groups[key]["params"].append(parameter)
    if not groups:
        raise UserError("freeze: every parameter of the model is frozen; freeze less")
    return [groups[key] for key in sorted(groups)]


def decayed_names(model: nn.Module) -> frozenset[str]:
    """Bare names of the parameters with weight decay: those with two dimensions or more."""
    return frozenset(
        # DeepSpeed's third stage empties a parameter and keeps its shape beside it.
        bare(name)
        for name, parameter in model.named_parameters()
        if len(getattr(parameter, "ds_shape", parameter.shape)) > 1
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """A part of the network: its rank in the list of groups, its name and its learning rate."""

    rank: int
    name: str
    rate: float


def _part_function(
    model: nn.Module,
    learning_rate: float,
    head_learning_rate: float | None,
    layer_decay: float | None,
) -> Callable[[str], _Part]:
    """A function from the name of a parameter to its part of the network."""
    if head_learning_rate is None and layer_decay is None:
        whole = _Part(0, "model", learning_rate)
        return lambda name: whole

    key = "head_learning_rate" if layer_decay is None else "layer_decay"
    parts = structure(model, f"training.{key}")
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    if layer_decay is None:
        head = _Part(1, "head", head_rate)
        encoder = _Part(0, "encoder", learning_rate)
        return lambda name: head if parts.place(name)[0] == "head" else encoder

    layers = len(parts.layers)
    if not layers:
        raise UserError("training.layer_decay: the encoder has no transformer layers; leave it out")

    def part_of(name: str) -> _Part:
        kind, index = parts.place(name)
        if kind == "head":
            return _Part(0, "head", head_rate)
        if kind == "output":
            return _Part(1, "encoder.output", learning_rate * layer_decay)
        if kind == "layer":
            rate = learning_rate * layer_decay ** (layers - index)
            return _Part(1 + layers - index, f"encoder.layer {index}", rate)
        rate = learning_rate * layer_decay ** (layers + 1)
        return _Part(2 + layers, "encoder.input", rate)

    return part_of


ONE_CYCLE = "one_cycle"
_BY_METRIC = (SchedulerType.REDUCE_ON_PLATEAU.value, SchedulerType.GREEDY.value)
WITHOUT_WARMUP = (SchedulerType.CONSTANT.value, ONE_CYCLE, *_BY_METRIC)


def schedule_names() -> list[str]:
    """Possible values of `training.lr_scheduler_type`."""
    return [*(name.value for name in SchedulerType), ONE_CYCLE]


def check_schedule(name: str, kwargs: Mapping[str, Any] | None, warmup_steps: float) -> None:
    """Check the schedule of a recipe before there is a model.

    Raises:
        UserError: naming the key that is wrong.
    """
    if warmup_steps and name in WITHOUT_WARMUP:
        raise UserError(f"training.warmup_steps: {name} has no warm-up; leave it out")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    make_schedule(name, optimizer, steps=100, warmup_steps=1, kwargs=kwargs)


def make_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    warmup_steps: int,
    kwargs: Mapping[str, Any] | None = None,
    greater_is_better: bool = True,
) -> LRScheduler | GreedyLR:
    """The learning rate schedule of a run.

    ``one_cycle`` (Smith and Topin 2018, arXiv:1708.07120) has the rate of each parameter group as
    its highest. The others are transformers'; those by metric use the metric that selects the
    checkpoint.

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
    if name in _BY_METRIC:
        kwargs.setdefault("mode", "max" if greater_is_better else "min")
    try:
        if name == ONE_CYCLE:
            highest = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(optimizer, highest, steps, **kwargs)
        return get_scheduler(name, optimizer, warmup_steps, steps, kwargs)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"training.lr_scheduler_kwargs: {name}: {error}") from None
