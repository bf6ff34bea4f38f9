"""Freezing: which parameters are trainable, and the table of trainable parameters.

The parts of an encoder are found by name, whatever wraps the model (`structure`).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..loading.encoders import ENCODERS, Encoder, encoder_config, encoder_entry
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_pooled_encoder import PooledEncoderConfig
from ..models.modeling_transfer import TransferClassifier
from ..models.target_heads import HEADS
from ..utils.errors import UserError
from .sharding import size

# Parts of a parameter's name that come from distributed training, torch.compile, activation
# checkpointing, or the LoRA layers of peft.
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"}
)
_PEFT = ["base_model", "model"]
_SAVED = "modules_to_save"

# The names of the parts of a transferred network, in the same form as those of encoders.
_TRANSFERRED = Encoder("encoder", stem=(), layers="layers", above=(), lora_targets=())
# In the other networks of ser_hf, the first list of modules with one of these names has the layers.
_LAYER_LISTS = ("blocks", "stages", "layers")


@dataclasses.dataclass(frozen=True)
class Structure:
    """The full names of the modules of an encoder.

    `layers` are in order from bottom to top. `above` are the modules after the layers (norm,
    adapter). `encoder` is empty for a network whose encoder is no module: then everything but the
    heads belongs to the encoder.
    """

    encoder: str
    stem: tuple[str, ...]
    layers: tuple[str, ...]
    above: tuple[str, ...]

    def position(self, name: str) -> tuple[str, int]:
        """The position of a parameter, by its `bare` name.

        The result is ``("head", 0)`` outside the encoder, ``("output", 0)`` above the layers,
        ``("layer", i)`` in layer i, ``("stem", 0)`` in the stem, and ``("input", 0)`` for the rest
        of the encoder (projection, positions).
        """
        in_encoder = _is_within(name, [self.encoder])
        if not self.encoder:
            in_encoder = not _is_within(name, HEADS)
        if not in_encoder:
            return "head", 0
        for i, layer in enumerate(self.layers):
            if _is_within(name, [layer]):
                return "layer", i
        if _is_within(name, self.above):
            return "output", 0
        if _is_within(name, self.stem):
            return "stem", 0
        return "input", 0


def _is_within(name: str, modules: Iterable[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def structure(model: nn.Module, key: str = "model.architecture") -> Structure:
    """Find the parts of a classifier's encoder; peft, DDP, FSDP or torch.compile may wrap it.

    Raises:
        UserError: about `key`, for a network without an encoder.
    """
    inner = innermost(model)
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if isinstance(inner, TransferClassifier):
        entry = _TRANSFERRED
    elif kind == PooledEncoderConfig.model_type:
        entry = dataclasses.replace(encoder_entry(inner.config), name="encoder")
    elif kind in ENCODERS:
        entry = encoder_entry(inner.config)
    elif isinstance(inner, AcousticClassifier) and _has_layers(inner):
        return _network_structure(inner)
    else:
        raise UserError(f"{key}: {type(inner).__name__} has no encoder; leave it out")

    names = {bare(name) for name, _ in model.named_modules()}
    encoder = entry.name
    layers: list[str] = []
    while (layer := f"{encoder}.{entry.layers}.{len(layers)}") in names:
        layers.append(layer)
    stem = [f"{encoder}.{module}" for module in entry.stem]
    above = [f"{encoder}.{module}" for module in entry.above]
    return Structure(
        encoder,
        stem=tuple(name for name in stem if name in names),
        layers=tuple(layers),
        above=tuple(name for name in above if name in names),
    )


def _has_layers(network: AcousticClassifier) -> bool:
    """Whether a network has parameters besides those of its classifier and its other heads."""
    return any(not _is_within(name, HEADS) for name, _ in network.named_parameters())


def _network_structure(network: AcousticClassifier) -> Structure:
    """The parts of a network of ser_hf whose encoder is no module.

    The modules before the list of layers are the stem, those after it are above. Parallel branches
    are no layers.
    """
    stem: list[str] = []
    layers: list[str] = []
    above: list[str] = []
    for name, module in network.named_children():
        if name in ("front_end", *HEADS):
            continue
        found_layers = [] if layers else _layer_names(name, module)
        if found_layers:
            layers = found_layers
        elif layers:
            above.append(name)
        else:
            stem.append(name)
    if not layers:
        # Without layers, a frozen stem would be the whole encoder.
        above = stem
        stem = []
    return Structure("", stem=tuple(stem), layers=tuple(layers), above=tuple(above))


def _layer_names(name: str, module: nn.Module) -> list[str]:
    """The full names of the layers, if a module is a list of layers or has one."""
    if isinstance(module, nn.ModuleList) and name in _LAYER_LISTS:
        return [f"{name}.{i}" for i in range(len(module))]
    for child_name, child in module.named_children():
        if isinstance(child, nn.ModuleList) and child_name in _LAYER_LISTS:
            return [f"{name}.{child_name}.{i}" for i in range(len(child))]
    return []


def bare(name: str) -> str:
    """The name of a parameter or module in the bare model, without wrappers and peft."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[:2] == _PEFT:
        parts = parts[2:]
    if _SAVED in parts:
        position = parts.index(_SAVED)
        del parts[position : position + 2]  # the adapter's name follows
    return ".".join(parts)


def innermost(model: nn.Module) -> nn.Module:
    """The model without its wrappers."""
    wrappers_and_model = [module for name, module in model.named_modules() if not bare(name)]
    return wrappers_and_model[-1]


@dataclasses.dataclass(frozen=True)
class Freezing:
    """The frozen parts of an encoder or of a transferred network; nothing is frozen by default.

    Args:
        feature_encoder: whether to freeze the stem.
        layers: number of lowest layers to freeze, with everything below them.
        top_layers: number of highest layers to train, with everything above them and the head; all
            other parameters are frozen. None for no limit.
        encoder: whether to freeze everything except the head.
    """

    feature_encoder: bool = False
    layers: int = 0
    top_layers: int | None = None
    encoder: bool = False

    def __post_init__(self):
        depths = {
            "encoder": self.encoder,
            "layers": self.layers,
            "top_layers": self.top_layers is not None,
        }
        keys = [key for key, is_set in depths.items() if is_set]
        if len(keys) > 1:
            raise UserError(
                f"freeze.{keys[1]}: contradicts freeze.{keys[0]}; leave out one of them"
            )

    def frozen_layers(self, layers: int) -> int:
        """The number of frozen layers of an encoder with `layers` layers, unless all is frozen."""
        return self.layers if self.top_layers is None else layers - self.top_layers

    def trains(self, position: tuple[str, int], layers: int) -> bool:
        """Whether a part (`Structure.position`) of an encoder with `layers` layers is trainable."""
        kind, index = position
        if kind == "head":
            return True
        if self.encoder or (self.feature_encoder and kind == "stem"):
            return False
        if kind == "layer":
            return index >= self.frozen_layers(layers)
        # Below the layers everything is frozen as soon as any layer is.
        return kind == "output" or (self.layers == 0 and self.top_layers is None)


def freeze(model: PreTrainedModel, freezing: Freezing) -> None:
    """Freeze the parameters that `freezing` names; those that are frozen already stay so.

    Args:
        model: before LoRA and any wrapper.

    Raises:
        UserError: if the network lacks the parts that the settings name.
    """
    for module in model.modules():
        if isinstance(module, WhisperEncoder):
            # Its positions are sinusoids, which transformers 5 leaves trainable.
            module.embed_positions.requires_grad_(False)
    if freezing == Freezing():
        return

    parts = structure(model, "freeze")
    layers = len(parts.layers)
    network = type(model).__name__
    for key, value in {"layers": freezing.layers, "top_layers": freezing.top_layers or 0}.items():
        if value > layers:
            raise UserError(f"freeze.{key}: {value} layers, but {network} has {layers}; use fewer")
    if freezing.feature_encoder and not parts.stem:
        raise UserError(
            f"freeze.feature_encoder: {network} has no convolutional stem; use freeze.layers"
        )
    for name, parameter in model.named_parameters():
        if not freezing.trains(parts.position(name), layers):
            parameter.requires_grad_(False)
    release_frozen_stems(model, parts)


def release_frozen_stems(model: PreTrainedModel, parts: Structure) -> None:
    """Let frozen stems compute without a graph, which saves memory.

    Stems of wav2vec 2.0 otherwise require a gradient of their input, for gradient checkpointing.
    """
    for name in parts.stem:
        stem = model.get_submodule(name)
        if hasattr(stem, "_requires_grad"):
            stem._requires_grad = any(parameter.requires_grad for parameter in stem.parameters())


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The largest modules with only frozen parameters; the Trainer runs them in evaluation mode.

    Transformer layers are not split: a layer with LoRA adapters is in training mode as a whole. An
    encoder with any trainable part still masks (SpecAugment) and drops layers at random. Between
    frozen modules there is no dropout either.
    """
    try:
        layers = structure(model).layers
    except UserError:  # no encoder, no layers
        layers = ()
    frozen = list(_largest_frozen("", model, frozenset(layers)))
    dropout = _dropout_below_layers(model, layers)
    if dropout is not None and not any(dropout in module.modules() for module in frozen):
        frozen.append(dropout)
    return frozen


def _dropout_below_layers(model: nn.Module, layers: Sequence[str]) -> nn.Dropout | None:
    """The dropout of an encoder of transformers before its layers, if the lowest one is frozen."""
    inner = innermost(model)
    if not layers or encoder_config(inner.config).model_type not in ENCODERS:
        return None
    modules = {bare(name): module for name, module in model.named_modules()}
    if any(parameter.requires_grad for parameter in modules[layers[0]].parameters()):
        return None
    list_of_layers, _, _ = layers[0].rpartition(".")
    parent, _, _ = list_of_layers.rpartition(".")
    dropout = modules.get(f"{parent}.dropout")
    return dropout if isinstance(dropout, nn.Dropout) else None


def _largest_frozen(name: str, module: nn.Module, layers: frozenset[str]) -> Iterator[nn.Module]:
    trainable = [parameter.requires_grad for parameter in module.parameters()]
    if trainable and not any(trainable):
        yield module
    elif bare(name) not in layers:
        for child, part in module.named_children():
            yield from _largest_frozen(f"{name}.{child}".lstrip("."), part, layers)


def trainable_table(model: nn.Module, groups: Sequence[dict[str, Any]]) -> str:
    """A table of the parameter groups: trainable parameters, learning rate and weight decay.

    Learning rates are those before any schedule.
    """
    lines = [f"{'group':<24} {'parameters':>12} {'learning rate':>14} {'weight decay':>13}"]
    groups_of_name: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        groups_of_name.setdefault(group.get("name", "model"), []).append(group)
    for name, members in groups_of_name.items():
        parameters = [parameter for group in members for parameter in group["params"]]
        trained = sum(size(parameter) for parameter in parameters if parameter.requires_grad)
        if trained:
            rate = members[0].get("initial_lr", members[0]["lr"])
            decay = max(group["weight_decay"] for group in members)
            lines.append(f"{name:<24} {trained:>12,} {rate:>14.3g} {decay:>13.3g}")

    # peft keeps the original head beside the trained one.
    used = [
        parameter
        for name, parameter in model.named_parameters()
        if "original_module" not in name.split(".")
    ]
    frozen = sum(size(parameter) for parameter in used if not parameter.requires_grad)
    if frozen:
        lines.append(f"{'frozen':<24} {frozen:>12,}")
    total = sum(size(parameter) for parameter in used)
    lines.append(f"{'total':<24} {total:>12,}")
    return "\n".join(lines)
