"""Freezing: which parameters are trainable in which epoch, and the table of trainable parameters."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from peft import PeftModel
from torch import nn

from ..models.modeling_pooled_encoder import PooledEncoderConfig
from ..models.modeling_transfer import TransferClassifier
from ..utils.errors import UserError
from .checkpoints import shards, size
from .encoders import ENCODERS, encoder_facts

# What distributed training, torch.compile and activation checkpointing put into a parameter's name, and peft's LoRA
# around a layer that it adapts.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
_PEFT = ["base_model", "model"]
_SAVED = "modules_to_save"


@dataclasses.dataclass(frozen=True)
class Structure:
    """The parts of an encoder by module names, layers from bottom to top; `above` follows them (norm, adapter)."""

    encoder: str
    stem: tuple[str, ...]
    layers: tuple[str, ...]
    above: tuple[str, ...]

    def place(self, name: str) -> tuple[str, int]:
        """The position of a parameter by its `bare` name: ``("head", 0)`` outside the encoder, ``("output", 0)`` above
        its layers, ``("layer", i)``, ``("stem", 0)``, and ``("input", 0)`` for the rest (projection, positions)."""
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
        encoder, stem, layers, above = "encoder", (), "layers", ()
    elif kind == PooledEncoderConfig.model_type or kind in ENCODERS:
        facts = encoder_facts(inner.config)
        encoder = facts.name if kind in ENCODERS else "encoder"
        stem, layers, above = facts.stem, facts.layers, facts.above
    else:
        raise UserError(f"{key}: {type(inner).__name__} has no encoder; leave it out")
    stack = f"{encoder}.{layers}"
    numbered = (name.rpartition(".") for name in names)
    count = sum(parent == stack and number.isdigit() for parent, _, number in numbered)

    def present(modules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(full for module in modules if (full := f"{encoder}.{module}") in names)

    return Structure(encoder, present(stem), tuple(f"{stack}.{i}" for i in range(count)), present(above))


def bare(name: str) -> str:
    """The name of a parameter or module in the bare model, without the parts added by wrappers and peft."""
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
        every: gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146) in epochs: the head trains alone at first;
            after every so many epochs the next `unfrozen_layers` from the top follow, then what lies below the layers.
            Only what the other fields leave trainable.
        unfrozen_layers: how many at a time.
    """

    feature_encoder: bool = False
    layers: int = 0
    top_layers: int | None = None
    encoder: bool = False
    every: int | None = None
    unfrozen_layers: int = 1

    def __post_init__(self):
        requested = self.requested()
        for first, seconds in (("encoder", ("layers", "top_layers", "gradual")), ("layers", ("top_layers",))):
            for second in seconds:
                if requested[first] and requested[second]:
                    raise UserError(f"freeze.{second}: contradicts freeze.{first}; leave out one of them")

    def requested(self) -> dict[str, bool]:
        """Which keys of the recipe are set."""
        return {
            "encoder": self.encoder,
            "layers": self.layers != 0,
            "top_layers": self.top_layers is not None,
            "gradual": self.every is not None,
            "feature_encoder": self.feature_encoder,
        }

    def trains(self, place: tuple[str, int], layers: int, epoch: int) -> bool:
        """Whether a part (`Structure.place`) of an encoder with `layers` layers is trainable in an epoch (from 0)."""
        where, index = place
        if where == "head":
            return True
        if self.encoder or (self.feature_encoder and where == "stem"):
            return False
        lowest = self.layers if self.top_layers is None else layers - self.top_layers
        above, below = True, self.layers == 0 and self.top_layers is None
        if self.every is not None:
            unfrozen = epoch // self.every * self.unfrozen_layers
            # What lies below follows one time after the last layer.
            all_layers = math.ceil((layers - lowest) / self.unfrozen_layers) * self.unfrozen_layers
            lowest, above, below = max(lowest, layers - unfrozen), unfrozen > 0, below and unfrozen > all_layers
        if where == "layer":
            return index >= lowest
        return above if where == "output" else below

    def final(self) -> "Freezing":
        """The same settings once everything is unfrozen."""
        return dataclasses.replace(self, every=None, unfrozen_layers=1)


def freeze(model: nn.Module, freezing: Freezing, epoch: int = 0) -> None:
    """Make the parameters trainable that `freezing` leaves trainable in an epoch, and no others.

    Parameters that are never trained (sinusoidal positions) stay frozen. Newly frozen ones lose their gradient, so
    that neither momentum nor weight decay changes them.

    Args:
        model: bare, or wrapped by peft, DDP, FSDP or torch.compile; with LoRA the encoder is frozen already.
        freezing: the settings.
        epoch: from 0.

    Raises:
        UserError: if the network lacks the parts that the settings name.
    """
    if any(isinstance(module, PeftModel) for name, module in model.named_modules() if not bare(name)):
        if freezing not in (Freezing(), Freezing(feature_encoder=True)):
            raise UserError("freeze: lora freezes the whole encoder; leave out all keys but feature_encoder")
        return
    inner = innermost(model)
    # By name, so that copies of the model have them too.
    frozen_before: frozenset[str] = getattr(inner, "_frozen_by_freeze", frozenset())
    if freezing == Freezing() and not frozen_before:
        return
    where = structure(
        model, next((f"freeze.{key}" for key, is_set in freezing.requested().items() if is_set), "freeze")
    )
    _check(freezing, where, type(inner).__name__)
    frozen_now = []
    for name, parameter in model.named_parameters():
        name = bare(name)
        if not parameter.requires_grad and name not in frozen_before:
            continue
        trainable = freezing.trains(where.place(name), len(where.layers), epoch)
        parameter.requires_grad_(trainable)
        if not trainable:
            parameter.grad = None
            frozen_now.append(name)
    inner._frozen_by_freeze = frozenset(frozen_now)
    for name, module in model.named_modules():
        # For checkpointing, stems of wav2vec 2.0 require a gradient of their input; frozen ones need no such graph.
        if bare(name) in where.stem and hasattr(module, "_requires_grad"):
            module._requires_grad = any(parameter.requires_grad for parameter in module.parameters())


def _check(freezing: Freezing, where: Structure, name: str) -> None:
    """Check what depends on the network."""
    for key, value in (("layers", freezing.layers), ("top_layers", freezing.top_layers or 0)):
        if value > len(where.layers):
            raise UserError(f"freeze.{key}: {value} layers, but {name} has {len(where.layers)}; use fewer")
    if freezing.feature_encoder and not where.stem:
        raise UserError(f"freeze.feature_encoder: {name} has no convolutional stem; use freeze.layers")
    if freezing.every is not None and shards():
        raise UserError(
            f"freeze.gradual: with {shards()} the trainable weights must not change during training; freeze a part "
            "that stays frozen"
        )


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The largest modules whose parameters are all frozen; the Trainer runs them in evaluation mode.

    Transformer layers are not split: a layer with LoRA adapters is in training mode as a whole. An encoder with any
    trainable part still masks (SpecAugment) and drops layers at random.
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
    """Trainable parameters, learning rate (before any schedule) and weight decay of each parameter group."""
    lines = [f"{'group':<24} {'parameters':>12} {'learning rate':>14} {'weight decay':>13}"]
    for name in dict.fromkeys(group.get("name", "model") for group in groups):
        own = [group for group in groups if group.get("name", "model") == name]
        if size := _size(value for group in own for value in group["params"] if value.requires_grad):
            rate, decay = own[0].get("initial_lr", own[0]["lr"]), max(group["weight_decay"] for group in own)
            lines.append(f"{name:<24} {size:>12,} {rate:>14.3g} {decay:>13.3g}")
    # peft keeps the original head beside the trained one.
    used = [value for name, value in model.named_parameters() if "original_module" not in name.split(".")]
    frozen = _size(parameter for parameter in used if not parameter.requires_grad)
    lines += [f"{'frozen':<24} {frozen:>12,}"] if frozen else []
    return "\n".join([*lines, f"{'total':<24} {_size(used):>12,}"])


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(map(size, parameters))
