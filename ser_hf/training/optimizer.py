"""What each parameter learns at: groups for the optimiser by part of the network, and by whether they decay."""

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from ..errors import UserError
from .structure import bare, structure


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    head_learning_rate: float | None = None,
    layer_decay: float | None = None,
    decayed: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """The parameters that learn, in groups for a torch optimiser.

    Layer-wise decay gives each layer of an encoder `layer_decay` times the rate of the one above it, as ELECTRA was
    fine-tuned (Clark et al. 2020, arXiv:2003.10555): the top layer learns at ``learning_rate * layer_decay``, the
    lowest of L at ``learning_rate * layer_decay**L``, what lies below the layers (convolutional stem, projection,
    positions, mask embedding) at one power more. What follows the layers, a last norm or an upsampling, learns at
    the top layer's rate, and the head, which is whatever stands outside the encoder, is not slowed at all. Adapters of
    LoRA learn at the rate of the layer that they adapt.

    Args:
        model: bare, or as peft, DDP, FSDP or torch.compile wrap it.
        learning_rate: of everything that has no rate of its own.
        weight_decay: of `decayed`; the rest has none.
        head_learning_rate: of the head.
        layer_decay: above 0, at most 1.
        decayed: `decayed_names` of the model before FSDP sharded it, which flattens matrices; None asks the model.

    Returns:
        Groups ``{"params", "lr", "weight_decay", "name"}``. One part of the network has one name and one rate, in up
        to two groups that follow each other, with decay and without. The names are ``model`` (one rate for all),
        ``encoder`` and ``head``, or with layer-wise decay ``head``, ``encoder.output``, ``encoder.layer 11`` down to
        ``encoder.layer 0`` (counted as in the parameters' own names) and ``encoder.input``.

    Raises:
        UserError: if nothing learns, for a `layer_decay` out of its range, and where rates are asked for parts that
            the model does not have.
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
        raise UserError("freeze: every parameter of the model is frozen, nothing is left to learn; freeze less")
    return [groups[key] for key in sorted(groups)]


def decayed_names(model: nn.Module) -> frozenset[str]:
    """The parameters that weight decay is for: those of two dimensions or more, by their names in the bare model.

    Scales and shifts of norms, biases, weights over layers and mask embeddings have one.
    """
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
