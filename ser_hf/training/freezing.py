"""Freezing: which parameters are trainable, and the table of trainable parameters."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..loading.encoders import ENCODERS, encoder_entry
from ..models.modeling_pooled_encoder import PooledEncoderConfig
from ..models.modeling_transfer import TransferClassifier
from ..utils.errors import UserError
from .sharding import size

# What distributed training, torch.compile and activation checkpointing put into a parameter's name,
# and peft's LoRA around a layer that it adapts.
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"}
)
_PEFT = ["base_model", "model"]
_SAVED = "modules_to_save"


@dataclasses.dataclass(frozen=True)
class Structure:
    """The parts of an encoder by module names, layers from bottom to top; `above` follows them
    (norm, adapter).
    """

    encoder: str
    stem: tuple[str, ...]
    layers: tuple[str, ...]
    above: tuple[str, ...]

    def place(self, name: str) -> tuple[str, int]:
        """The position of a parameter by its `bare` name: ``("head", 0)`` outside the encoder,
        ``("output", 0)`` above its layers, ``("layer", i)``, ``("stem", 0)``, and ``("input", 0)``
        for the rest (projection, positions)."""
        if not name.startswith(f"{self.encoder}."):
            return "head", 0
        for place, modules in (("layer", self.layers), ("output", self.above), ("stem", self.stem)):
            for i, module in enumerate(modules):
                if name.startswith(f"{module}."):
                    return place, i if place == "layer" else 0
        return "input", 0


def structure(model: nn.Module, key: str = "model.architecture") -> Structure:
    """The parts of a classifier's encoder, bare or wrapped by peft, DDP, FSDP or torch.compile."""
    inner = innermost(model)
    names = {bare(name) for name, _ in model.named_modules()}
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if isinstance(inner, TransferClassifier):
        encoder = "encoder"
        stem = ()
        layers = "layers"
        above = ()
    elif kind == PooledEncoderConfig.model_type or kind in ENCODERS:
        facts = encoder_entry(inner.config)
        encoder = facts.name if kind in ENCODERS else "encoder"
        stem = facts.stem
        layers = facts.layers
        above = facts.above
    else:
        raise UserError(f"{key}: {type(inner).__name__} has no encoder; leave it out")
    stack = f"{encoder}.{layers}"
    numbered = (name.rpartition(".") for name in names)
    count = sum(parent == stack and number.isdigit() for parent, _, number in numbered)

    def present(modules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(full for module in modules if (full := f"{encoder}.{module}") in names)

    return Structure(
        encoder, present(stem), tuple(f"{stack}.{i}" for i in range(count)), present(above)
    )


def bare(name: str) -> str:
    """The name of a parameter or module in the bare model, without the parts added by wrappers and
    peft.
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[:2] == _PEFT:
        parts = parts[2:]
    if _SAVED in parts:
        at = parts.index(_SAVED)
        del parts[at : at + 2]  # the adapter's name follows
    return ".".join(parts)


def innermost(model: nn.Module) -> nn.Module:
    """The bare model within its wrappers."""
    return [module for name, module in model.named_modules() if not bare(name)][-1]


@dataclasses.dataclass(frozen=True)
class Freezing:
    """What is frozen of an encoder or transferred network; nothing by default.

    Args:
        feature_encoder: the stem alone.
        layers: the first so many layers and all below them.
        top_layers: all but so many layers at the top, what follows them, and the head.
        encoder: everything but the head.
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
        if len(given := [key for key, is_set in depths.items() if is_set]) > 1:
            raise UserError(
                f"freeze.{given[1]}: contradicts freeze.{given[0]}; leave out one of them"
            )

    def trains(self, place: tuple[str, int], layers: int) -> bool:
        """Whether a part (`Structure.place`) of an encoder with `layers` layers is trainable."""
        where, index = place
        if where == "head":
            return True
        if self.encoder or (self.feature_encoder and where == "stem"):
            return False
        if where == "layer":
            return index >= (self.layers if self.top_layers is None else layers - self.top_layers)
        return where == "output" or (self.layers == 0 and self.top_layers is None)


def freeze(model: PreTrainedModel, freezing: Freezing) -> None:
    """Freeze the parameters that `freezing` names; those that are frozen already stay so
    (sinusoidal positions).

    Args:
        model: before LoRA and any wrapper.
        freezing: the settings.

    Raises:
        UserError: if the network lacks the parts that the settings name.
    """
    for module in model.modules():
        if isinstance(module, WhisperEncoder):  # sinusoids, which transformers 5 leaves trainable
            module.embed_positions.requires_grad_(False)
    if freezing == Freezing():
        return
    where = structure(model, "freeze")
    name = type(model).__name__
    layers = len(where.layers)
    for key, value in (("layers", freezing.layers), ("top_layers", freezing.top_layers or 0)):
        if value > layers:
            raise UserError(f"freeze.{key}: {value} layers, but {name} has {layers}; use fewer")
    if freezing.feature_encoder and not where.stem:
        raise UserError(
            f"freeze.feature_encoder: {name} has no convolutional stem; use freeze.layers"
        )
    for name, parameter in model.named_parameters():
        if not freezing.trains(where.place(name), layers):
            parameter.requires_grad_(False)
    release_frozen_stems(model, where)


def release_frozen_stems(model: PreTrainedModel, where: Structure) -> None:
    """For checkpointing, stems of wav2vec 2.0 require a gradient of their input; frozen ones need
    no such graph.
    """
    for stem in map(model.get_submodule, where.stem):
        if hasattr(stem, "_requires_grad"):
            stem._requires_grad = any(parameter.requires_grad for parameter in stem.parameters())


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The largest modules whose parameters are all frozen; the Trainer runs them in evaluation
    mode.

    Transformer layers are not split: a layer with LoRA adapters is in training mode as a whole. An
    encoder with any trainable part still masks (SpecAugment) and drops layers at random.
    """
    try:
        layers = frozenset(structure(model).layers)
    except UserError:  # no encoder, no layers
        layers = frozenset()
    return list(_largest_frozen("", model, layers))


def _largest_frozen(name: str, module: nn.Module, layers: frozenset[str]) -> Iterator[nn.Module]:
    trainable = [parameter.requires_grad for parameter in module.parameters()]
    if trainable and not any(trainable):
        yield module
    elif bare(name) not in layers:
        for child, part in module.named_children():
            yield from _largest_frozen(f"{name}.{child}".lstrip("."), part, layers)


def trainable_table(model: nn.Module, groups: Sequence[dict[str, Any]]) -> str:
    """Trainable parameters, learning rate (before any schedule) and weight decay of each parameter
    group.
    """
    lines = [f"{'group':<24} {'parameters':>12} {'learning rate':>14} {'weight decay':>13}"]
    for name in dict.fromkeys(group.get("name", "model") for group in groups):
        own = [group for group in groups if group.get("name", "model") == name]
        if trained := sum(
            size(value) for group in own for value in group["params"] if value.requires_grad
        ):
            rate = own[0].get("initial_lr", own[0]["lr"])
            decay = max(group["weight_decay"] for group in own)
            lines.append(f"{name:<24} {trained:>12,} {rate:>14.3g} {decay:>13.3g}")
    # peft keeps the original head beside the trained one.
    used = [
        value
        for name, value in model.named_parameters()
        if "original_module" not in name.split(".")
    ]
    frozen = sum(size(parameter) for parameter in used if not parameter.requires_grad)
    lines += [f"{'frozen':<24} {frozen:>12,}"] if frozen else []
    return "\n".join([*lines, f"{'total':<24} {sum(map(size, used)):>12,}"])
