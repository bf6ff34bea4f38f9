"""What each parameter learns at: groups for the optimiser by part of the network, and by whether they decay."""

from collections.abc import Callable, Collection
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..errors import UserError

# What distributed training, torch.compile and activation checkpointing put into a parameter's name.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


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
    the top layer's rate, and the head, which is whatever stands outside the encoder, is not slowed at all.

    Args:
        model: bare, or as DDP, FSDP or torch.compile wrap it.
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
        name = _bare(name)
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
        _bare(name)
        for name, parameter in model.named_parameters()
        if len(getattr(parameter, "ds_shape", parameter.shape)) > 1
    )


def _parts(
    model: nn.Module, learning_rate: float, head_learning_rate: float | None, layer_decay: float | None
) -> Callable[[str], tuple[int, str, float]]:
    """A function from a parameter's name to its part of the network: rank in the list of groups, name, rate."""
    if head_learning_rate is None and layer_decay is None:
        return lambda name: (0, "model", learning_rate)
    key = "head_learning_rate" if layer_decay is None else "layer_decay"
    encoder = _encoder(model, f"training.{key}")
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    if layer_decay is None:
        return lambda name: (0, "encoder", learning_rate) if name.startswith(encoder + ".") else (1, "head", head_rate)
    if not 0 < layer_decay <= 1:
        raise UserError(f"training.layer_decay: {layer_decay} is not above 0 and at most 1")
    depth = _depths(model, encoder)

    def part(name: str) -> tuple[int, str, float]:
        if not name.startswith(encoder + "."):
            return 0, "head", head_rate
        rank, label, exponent = depth(name)
        return rank, label, learning_rate * layer_decay**exponent

    return part


def _encoder(model: nn.Module, key: str) -> str:
    """The name of the encoder within a classifier: the child that is a pretrained model itself."""
    modules = _modules(model)
    for name, module in modules:
        if name and "." not in name and isinstance(module, PreTrainedModel):
            return name
    kind = next(type(module).__name__ for name, module in reversed(modules) if not name)
    raise UserError(f"{key}: {kind} has no encoder to tell its head from; use training.learning_rate")


def _depths(model: nn.Module, encoder: str) -> Callable[[str], tuple[int, str, int]]:
    """A function from the name of a parameter in the encoder to its rank, its part's name and its depth."""
    modules = [(name, module) for name, module in _modules(model) if f"{name}.".startswith(f"{encoder}.")]
    # Transformer layers are the list that holds most linear layers: a stem of convolutions has none, and modules are
    # counted alike by every process of a sharded model, as numbers are not. Of a list within another, the outer one.
    lists = [(name, module) for name, module in modules if isinstance(module, nn.ModuleList)]
    stack, layers = max(lists, key=lambda item: _linear_layers(item[1]), default=("", nn.ModuleList()))
    if not _linear_layers(layers):
        raise UserError("training.layer_decay: the encoder has no transformer layers; leave it out")
    names = [_bare(name) for name, _ in model.named_parameters()]
    last = max(i for i, name in enumerate(names) if name.startswith(f"{stack}."))
    above = set(names[last + 1 :])
    # Modules are used in the order of their definition, but for the last norm of encoders that have norms before the
    # attention (`do_stable_layer_norm`, and every conformer of wav2vec 2.0), which is defined where the others need
    # it, and for SEW-D's relative positions, defined after the layers that all read them.
    config = next(module.config for name, module in modules if isinstance(module, PreTrainedModel))
    around = stack.rpartition(".")[0]
    if getattr(config, "do_stable_layer_norm", config.model_type == "wav2vec2-conformer"):
        above |= {name for name in names if name.startswith(f"{around}.layer_norm.")}
    if config.model_type == "sew-d":
        above -= {name for name in names if name.startswith(f"{around}.")}

    def depth(name: str) -> tuple[int, str, int]:
        if name.startswith(f"{stack}."):
            index = int(name.removeprefix(f"{stack}.").partition(".")[0])
            return 1 + len(layers) - index, f"encoder.layer {index}", len(layers) - index
        if name in above:
            return 1, "encoder.output", 1
        return 2 + len(layers), "encoder.input", len(layers) + 1

    return depth


def _linear_layers(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Linear) for part in module.modules())


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(_bare(name), module) for name, module in model.named_modules()]


def _bare(name: str) -> str:
    """The name that a parameter or module has in the bare model."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
