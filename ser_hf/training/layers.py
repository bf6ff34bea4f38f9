"""What learns: freezing, and the table of what is left to learn and at which rate."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from ..errors import UserError
from .sharding import size


def freeze(model: PreTrainedModel, feature_encoder: bool = False) -> None:
    """Switches gradients off. `feature_encoder` is the convolutional stem of a wav2vec2-like model."""
    if not feature_encoder:
        return
    if not hasattr(model, "freeze_feature_encoder"):
        raise UserError(f"freeze.feature_encoder: {type(model).__name__} has no convolutional feature encoder")
    model.freeze_feature_encoder()


def trainable_table(model: PreTrainedModel, groups: Sequence[dict[str, Any]] | None = None) -> str:
    """Parameters in all, and how many of them learn, per top-level module.

    With the `groups` of `ser_hf.training.optimizer.parameter_groups`, how many learn at which rate and with which
    weight decay, per part of the network, and how many are frozen.
    """
    if groups is not None:
        return _rates_table(model, groups)
    lines = [f"{'module':<24} {'parameters':>12} {'trained':>12}"]
    for name, module in [*model.named_children(), ("total", model)]:
        total = _size(module.parameters())
        trained = _size(parameter for parameter in module.parameters() if parameter.requires_grad)
        if total:
            lines.append(f"{name:<24} {total:>12,} {trained:>12,}")
    return "\n".join(lines)


def _rates_table(model: PreTrainedModel, groups: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'group':<24} {'parameters':>12} {'learning rate':>14} {'weight decay':>13} {'decayed':>12}"]
    for name in dict.fromkeys(group["name"] for group in groups):
        part = [group for group in groups if group["name"] == name]
        size = sum(_size(group["params"]) for group in part)
        decay = max(group["weight_decay"] for group in part)
        decayed = sum(_size(group["params"]) for group in part if group["weight_decay"])
        lines.append(f"{name:<24} {size:>12,} {part[0]['lr']:>14.3g} {decay:>13.3g} {decayed:>12,}")
    frozen = _size(parameter for parameter in model.parameters() if not parameter.requires_grad)
    lines += [f"{'frozen':<24} {frozen:>12,}"] if frozen else []
    return "\n".join([*lines, f"{'total':<24} {_size(model.parameters()):>12,}"])


def _size(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(map(size, parameters))
