"""Parameter groups with their learning rates and weight decay, and learning rate schedules."""

import inspect
import math
import typing
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from transformers import get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR
from transformers.trainer_utils import SchedulerType

from ..utils.errors import UserError
from ..utils.yaml import coerce
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

    With layer-wise decay (Clark et al. 2020, arXiv:2003.10555) layer i of L trains at
    ``learning_rate * layer_decay ** (L - i)``, what lies below the layers at one power more, what follows them at the
    rate of the top layer, and the head, everything outside the encoder, at its own rate. LoRA adapters train at the
    rate of their layer.

    Args:
        model: bare, or wrapped by peft, DDP, FSDP or torch.compile.
        weight_decay: of `decayed`; the rest has none.
        layer_decay: above 0, at most 1.
        decayed: `decayed_names` of the model before FSDP flattens its matrices.

    Returns:
        Groups ``{"params", "lr", "weight_decay", "name"}``, with up to two per name. Names are ``model``, or
        ``encoder`` and ``head``, or with layer-wise decay ``head``, ``encoder.output``, ``encoder.layer i`` from the
        top down, and ``encoder.input``.

    Raises:
        UserError: if nothing is trainable, and for rates of parts that the model does not have.
    """
    decayed = decayed_names(model) if decayed is None else decayed
    part = _parts(model, learning_rate, head_learning_rate, layer_decay)
    groups: dict[tuple[int, str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        name = bare(name)
        rank, label, rate = part(name)
        decay = name in decayed
        empty = {"params": [], "lr": rate, "weight_decay": weight_decay if decay else 0.0, "name": label}
        groups.setdefault((rank, label, not decay), empty)["params"].append(parameter)
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


def _parts(
    model: nn.Module, learning_rate: float, head_learning_rate: float | None, layer_decay: float | None
) -> Callable[[str], tuple[int, str, float]]:
    """A function from a parameter's name to its part of the network: rank in the list of groups, name, rate."""
    if head_learning_rate is None and layer_decay is None:
        return lambda name: (0, "model", learning_rate)
    where = structure(model, f"training.{'head_learning_rate' if layer_decay is None else 'layer_decay'}")
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    if layer_decay is None:
        return lambda name: (1, "head", head_rate) if where.place(name)[0] == "head" else (0, "encoder", learning_rate)
    if not 0 < layer_decay <= 1:
        raise UserError(f"training.layer_decay: {layer_decay} is not above 0 and at most 1")
    layers = len(where.layers)
    if not layers:
        raise UserError("training.layer_decay: the encoder has no transformer layers; leave it out")

    def part(name: str) -> tuple[int, str, float]:
        place, index = where.place(name)
        if place == "head":
            return 0, "head", head_rate
        if place == "output":
            return 1, "encoder.output", learning_rate * layer_decay
        if place == "layer":
            return 1 + layers - index, f"encoder.layer {index}", learning_rate * layer_decay ** (layers - index)
        return 2 + layers, "encoder.input", learning_rate * layer_decay ** (layers + 1)

    return part


def step_schedule(
    optimizer: torch.optim.Optimizer,
    num_warmup_steps: int,
    steps_per_epoch: float,
    step_size: float = 10.0,
    gamma: float = 0.1,
) -> LambdaLR:
    """Multiplies the rate by `gamma` after every `step_size` epochs, with a linear warm-up."""
    if gamma > 1:
        raise ValueError(f"gamma: {gamma} is above 1")
    factor = partial(_step_factor, warmup=num_warmup_steps, length=step_size * steps_per_epoch, gamma=gamma)
    return LambdaLR(optimizer, factor)


def _step_factor(step: int, warmup: int, length: float, gamma: float) -> float:
    # An epoch of a third of the steps ends with its last step, whatever a third is in floating point.
    rise = step / warmup if step < warmup else 1.0
    return rise * gamma ** math.floor(step / length + 1e-6)


class OneCycle(OneCycleLR):
    """torch's one-cycle schedule (Smith and Topin 2018, arXiv:1708.07120) with each group's rate as its `max_lr`."""

    def __init__(self, optimizer: torch.optim.Optimizer, total_steps: int, pct_start: float = 0.3, **kwargs: Any):
        if kwargs.get("three_phase") and pct_start > 0.5:
            raise ValueError(f"pct_start: {pct_start} leaves three_phase no time to come down; at most 0.5")
        if pct_start * total_steps == 1:  # torch would divide by the no steps of a rise of one
            pct_start = math.nextafter(pct_start, 0)
        rates = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer, rates, total_steps, pct_start=pct_start, **kwargs)

    def get_lr(self) -> list[float]:
        """After the last step, which the Trainer also requests, the rates of the last one."""
        if self.last_epoch >= self.total_steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return super().get_lr()


# The words beyond those of transformers, and where their settings are declared.
OWN: dict[str, Callable] = {"step": step_schedule, "one_cycle": OneCycleLR}

# Settings that follow from the run.
_MANAGED = {
    "optimizer",
    "last_epoch",
    "num_warmup_steps",
    "num_training_steps",
    "num_stable_steps",
    "total_steps",
    "epochs",
    "steps_per_epoch",
}
# Settings that divide, or that never end at 0; every other number is at least 0.
_POSITIVE = {"factor", "gamma", "step_size", "timescale", "div_factor", "final_div_factor", "window_size"}
_KEY = "training.lr_scheduler_kwargs"


def schedule_words() -> list[str]:
    """Possible values of `training.lr_scheduler_type`."""
    return [word.value for word in SchedulerType] + list(OWN)


def ignores_warmup(word: str) -> bool:
    """Whether a schedule has no warm-up."""
    return "num_warmup_steps" not in inspect.signature(_declaration(word)).parameters


def follows_metric(word: str) -> bool:
    """Whether a schedule steps after each evaluation, by the metric that selects the checkpoint."""
    return _declaration(word) in (ReduceLROnPlateau, GreedyLR)


def check_schedule(word: str, kwargs: Mapping[str, Any] | None, warmup_steps: float | None) -> None:
    """Checks the schedule of a recipe before there is a model.

    Args:
        word: `training.lr_scheduler_type`.
        kwargs: `training.lr_scheduler_kwargs`.
        warmup_steps: `training.warmup_steps`, None if not given.

    Raises:
        UserError: naming the key.
    """
    settings = _settings(word, kwargs)
    if warmup_steps is not None and not 0 <= warmup_steps < math.inf:
        raise UserError(f"training.warmup_steps: {warmup_steps} is no number of steps, nor a share of them below 1")
    if warmup_steps and ignores_warmup(word):
        instead = {"constant": "use constant_with_warmup", "one_cycle": f"its rise is {_KEY}.pct_start"}
        raise UserError(f"training.warmup_steps: {word} has none; {instead.get(word, 'leave it out')}")
    # A run in small, for what the schedules themselves complain of; rates are compared once there is one.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e30, momentum=0.9)
    steps = 100 + math.ceil(settings.get("num_decay_steps", 0))
    _make(word, optimizer, steps, warmup_steps=1, epochs=1, settings=settings, greater_is_better=True)


def make_schedule(
    word: str,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    warmup_steps: int,
    epochs: float,
    kwargs: Mapping[str, Any] | None,
    greater_is_better: bool,
) -> LRScheduler | GreedyLR:
    """The schedule of a run.

    Schedules by metric lower the rate when the metric that selects the checkpoint stops improving. By default `greedy`
    moves between a hundredth and ten times the rate, as its authors advise (transformers pull request 45168).

    Args:
        steps: optimizer steps of the run.
        kwargs: settings of the schedule. `num_decay_steps` below 1 is a share of `steps`.

    Raises:
        UserError: naming the key.
    """
    settings, base = _settings(word, kwargs), optimizer.defaults["lr"]
    if not base > 0:
        raise UserError(f"training.learning_rate: {base} is not above 0; to keep weights as they are, freeze them")
    for key in ("min_lr", "lr_end"):
        if settings.get(key) is not None and settings[key] >= base:
            raise UserError(f"{_KEY}.{key}: {settings[key]} is not below training.learning_rate, {base}")
    if settings.get("max_lr", base) < base:
        raise UserError(f"{_KEY}.max_lr: {settings['max_lr']} is below training.learning_rate, {base}")
    if steps == 1:
        warmup_steps = 0  # a share of one step is the whole run, at a rate of 0
    if warmup_steps >= steps and not ignores_warmup(word):
        raise UserError(f"training.warmup_steps: {warmup_steps} steps are the whole run, which has {steps}")
    return _make(word, optimizer, steps, warmup_steps, epochs, settings, greater_is_better)


def _make(
    word: str,
    optimizer: torch.optim.Optimizer,
    steps: int,
    warmup_steps: int,
    epochs: float,
    settings: dict[str, Any],
    greater_is_better: bool,
) -> LRScheduler | GreedyLR:
    if follows_metric(word):
        settings = _by_metric(word, optimizer, settings, greater_is_better)
    if "num_decay_steps" in settings:
        settings = settings | {"num_decay_steps": _decay_steps(settings["num_decay_steps"], steps, warmup_steps)}
    try:
        if word == "step":
            return step_schedule(optimizer, warmup_steps, steps / epochs, **settings)
        if word == "one_cycle":
            return OneCycle(optimizer, steps, **settings)
        return get_scheduler(word, optimizer, warmup_steps, steps, settings)
    except ValueError as error:
        raise UserError(f"{_KEY}: {' '.join(str(error).split())}") from None


def _by_metric(
    word: str, optimizer: torch.optim.Optimizer, settings: dict[str, Any], greater_is_better: bool
) -> dict[str, Any]:
    """Settings of a schedule by metric, with bounds of each group in proportion to its rate."""
    base = optimizer.defaults["lr"]
    spans = {"min_lr": base / 100, "max_lr": base * 10} if word == SchedulerType.GREEDY.value else {}
    # `eps` would stop low rates before high ones.
    settings = {"mode": "max" if greater_is_better else "min", "eps": 0.0} | spans | settings
    for key in settings.keys() & {"min_lr", "max_lr"}:
        settings[key] = [settings[key] * group["lr"] / base for group in optimizer.param_groups]
    return settings


def _decay_steps(value: float, steps: int, warmup_steps: int) -> int:
    count = math.ceil(value * steps) if value < 1 else value
    if count > steps - warmup_steps or count != int(count):
        raise UserError(
            f"{_KEY}.num_decay_steps: {value} is no whole number of the {steps - warmup_steps} steps that follow the "
            "warm-up, nor a share of the run below 1"
        )
    return int(count)


def _declaration(word: str) -> Callable:
    """The function or class whose signature declares the settings of a schedule."""
    if word in OWN:
        return OWN[word]
    if word not in schedule_words():
        raise UserError(f"training.lr_scheduler_type: expected one of {', '.join(schedule_words())}, got {word!r}")
    classes = {SchedulerType.REDUCE_ON_PLATEAU: ReduceLROnPlateau, SchedulerType.GREEDY: GreedyLR}
    return classes.get(SchedulerType(word)) or TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(word)]


def _settings(word: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a schedule, converted to their types and checked."""
    declaration = _declaration(word)
    managed = _MANAGED | {"max_lr"} if word == "one_cycle" else _MANAGED
    known = {name: p.default for name, p in inspect.signature(declaration).parameters.items() if name not in managed}
    hints = typing.get_type_hints(declaration.__init__ if inspect.isclass(declaration) else declaration)
    settings = {}
    for key, value in (kwargs or {}).items():
        if key not in known:
            takes = ", ".join(known) or "none"
            raise UserError(f"{_KEY}.{key}: {word} has no such setting; it takes {takes}")
        settings[key] = coerce(value, _hint(key, hints, known[key]), f"{_KEY}.{key}")
        _check_range(key, settings[key])
    for key, default in known.items():
        if default is inspect.Parameter.empty and key not in settings:
            raise UserError(f"{_KEY}.{key}: missing; {word} needs it")
    lowest = {"min_lr", "min_lr_rate"}
    if lowest <= known.keys() and sum(settings.get(key) is not None for key in lowest) != 1:
        raise UserError(f"{_KEY}: {word} needs min_lr (a rate) or min_lr_rate (a share of the rate), and not both")
    return settings


def _hint(key: str, hints: Mapping[str, Any], default: Any) -> Any:
    """The type of a setting."""
    hint = hints.get(key, type(default))
    # Steps may be a share of the run, and what could be a number per group is one: the groups keep their proportions.
    one = key == "num_decay_steps" or any(typing.get_origin(part) is list for part in typing.get_args(hint))
    return float if one else hint


def _check_range(key: str, value: Any) -> None:
    if not isinstance(value, int | float):
        return
    if key.endswith(("_rate", "_ratio")):
        if not 0 <= value <= 1:
            raise UserError(f"{_KEY}.{key}: {value} is not a share from 0 to 1")
    elif not 0 <= value < math.inf or (value == 0 and key in _POSITIVE):
        raise UserError(f"{_KEY}.{key}: {value} is not {'above 0' if key in _POSITIVE else 'a number from 0'}")
