"""Where a parameter stands in a classifier on an encoder: below its layers, in one of them, above them, in the head.

By names of modules that are facts of the kind of encoder (`ser_hf.training.encoders`), never by their look.
"""

import dataclasses

from torch import nn

from ..errors import UserError
from ..models.modeling_pooled_encoder import PooledEncoderConfig
from ..models.modeling_transfer import TransferClassifier
from .encoders import ENCODERS, encoder_facts

# What distributed training, torch.compile and activation checkpointing put into a parameter's name, and peft's LoRA
# around a layer that it adapts.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
_PEFT = ["base_model", "model"]
_SAVED = "modules_to_save"


@dataclasses.dataclass(frozen=True)
class Structure:
    """The parts of an encoder, by the full names of modules in the bare model.

    Args:
        encoder: the encoder itself ("wav2vec2", "encoder").
        stem: what makes frames of the input ("wav2vec2.feature_extractor"); none in encoders of features.
        layers: each layer, bottom to top ("wav2vec2.encoder.layers.0").
        above: what follows the layers: a last norm, an adapter, an upsampling.
    """

    encoder: str
    stem: tuple[str, ...]
    layers: tuple[str, ...]
    above: tuple[str, ...]

    def place(self, name: str) -> tuple[str, int]:
        """Of a parameter by its `bare` name: ``("head", 0)`` outside the encoder, ``("output", 0)`` above its layers,
        ``("layer", i)``, ``("stem", 0)``, and ``("input", 0)`` for the rest, which lies between stem and layers or
        is added to what does (projection, positions, mask embedding)."""
        if not _within(name, self.encoder):
            return "head", 0
        for i, layer in enumerate(self.layers):
            if _within(name, layer):
                return "layer", i
        for place, modules in (("output", self.above), ("stem", self.stem)):
            if any(_within(name, module) for module in modules):
                return place, 0
        return "input", 0


def structure(model: nn.Module, key: str = "model.architecture") -> Structure:
    """The parts of a classifier's encoder: of a stock classifier of transformers, of our head on a stock encoder, or
    of a network transferred from another task; bare, or as peft, DDP, FSDP or torch.compile wrap it.

    Args:
        key: of the recipe, which has to do with parts, for the complaint.

    Raises:
        UserError: for a network that has no encoder to tell its head from.
    """
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
        raise UserError(f"{key}: {type(inner).__name__} has no encoder to tell its head from; leave it out")
    stack = f"{encoder}.{layers}"
    numbered = (name.rpartition(".") for name in names)
    count = sum(parent == stack and number.isdigit() for parent, _, number in numbered)

    def present(modules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(full for module in modules if (full := f"{encoder}.{module}") in names)

    return Structure(encoder, present(stem), tuple(f"{stack}.{i}" for i in range(count)), present(above))


def bare(name: str) -> str:
    """The name that a parameter or module has in the bare model.

    Without what DDP, FSDP, torch.compile and activation checkpointing add to it, and peft: what learns in place of a
    module that is saved whole (`modules_to_save`) has that module's name, an adapter stands within what it adapts.
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[:2] == _PEFT:
        parts = parts[2:]
    if _SAVED in parts:
        at = parts.index(_SAVED)
        del parts[at : at + 2]  # the adapter's name follows
    return ".".join(parts)


def innermost(model: nn.Module) -> nn.Module:
    """The bare model itself, within whatever wraps it."""
    return [module for name, module in model.named_modules() if not bare(name)][-1]


def _within(name: str, module: str) -> bool:
    return name.startswith(f"{module}.")
