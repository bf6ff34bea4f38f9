"""Makes parameter groups with learning rates and weight decay."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from torch import nn

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
        return lambda name: head if parts.position(name)[0] == "head" else encoder

    layers = len(parts.layers)
    if not layers:
        raise UserError("training.layer_decay: the encoder has no transformer layers; leave it out")

    def part_of(name: str) -> _Part:
        kind, index = parts.position(name)
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
