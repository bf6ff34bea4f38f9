"""Finds the frozen part of a model that `freeze.cache` can store, and computes its output."""

import dataclasses
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..loading.encoders import encoder_config, has_fixed_length, layerdrop_key
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_transfer import TransferClassifier
from ..models.spectra import LogMel, Mfcc
from ..utils.errors import UserError
from .freezing import Freezing, Structure, structure

# A method of encoders that converts a mask of samples into a mask of frames.
FRAME_MASK = "_get_feature_vector_attention_mask"
# Settings of random changes that front ends make during training.
RANDOM_SETTINGS = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
_WITHOUT_CACHE = ("sew", "sew-d", "audio-spectrogram-transformer")
# Encoders that can be stored as a whole only: the layers of Whisper attend to all 30 s, and those
# of emotion2vec to tokens besides the frames.
_WITHOUT_LAYERS = ("whisper", "ser_emotion2vec")
# Settings of encoders that change frames at random before the first layer, in training.
_MASKS = ("mask_time_prob", "mask_feature_prob")


@dataclasses.dataclass(frozen=True)
class CachedModule:
    """The frozen module whose output is stored.

    Args:
        kind: ``encoder`` for an encoder of transformers, ``layers`` for its lowest layers with
            everything below them, ``network`` for the encoder of a transferred network with its
            front end, and ``features`` for the part of a front end before its random changes.
        description: description of the output, for the log and the report.
        module: full name of the module.
        states: number of tensors (frames, size) per clip.
        layers: full names of the frozen layers, from bottom to top, of kind ``layers``.
        trained: full names of the modules within `module` whose output is not stored.
    """

    kind: Literal["encoder", "layers", "network", "features"]
    description: str
    module: str
    states: int = 1
    layers: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """The number format of the stored output.

        The layers above stored states add up and amplify rounding errors, so that half precision
        would change the figures of a training.
        """
        return np.dtype(np.float32 if self.kind == "layers" else np.float16)

    def contains(self, name: str) -> bool:
        """Whether the stored output depends on the tensor or module of this full name."""
        if name.endswith("masked_spec_embed"):  # it is used in training only, and may be random
            return False
        if any(f"{name}.".startswith(f"{module}.") for module in self.trained):
            return False
        modules = [self.module]
        if self.kind == "network":
            modules.append("front_end")
        return any(f"{name}.".startswith(f"{module}.") for module in modules)


def cached_module(model: PreTrainedModel, freezing: Freezing) -> CachedModule:
    """Find the frozen part of a model whose output for a clip is constant during training.

    Raises:
        UserError: if the model has no such part.
    """
    if isinstance(model, AcousticClassifier):
        return _cached_in_network(model, freezing)

    config = model.config
    kind = encoder_config(config).model_type
    if kind in _WITHOUT_CACHE:
        raise UserError(f"freeze.cache: {kind} cannot be cached; leave it out")
    parts = structure(model, "freeze.cache")
    sums_layers = getattr(config, "weighted_layer_sum", False) or getattr(
        config, "use_weighted_layer_sum", False
    )
    if not freezing.encoder:
        return _cached_layers(config, freezing, parts, sums_layers)
    if sums_layers:
        states = len(parts.layers) + 1
        description = f"all {states} hidden states of the encoder"
        return CachedModule("encoder", description, parts.encoder, states)
    return CachedModule("encoder", "last hidden states of the encoder", parts.encoder)


def _cached_layers(
    config: PreTrainedConfig, freezing: Freezing, parts: Structure, sums_layers: bool
) -> CachedModule:
    """Find the frozen layers at the bottom of an encoder, and refuse what is random in them."""
    count = freezing.frozen_layers(len(parts.layers))
    if count == 0:
        raise UserError(
            "freeze.cache: no layer of the encoder is frozen; set freeze.layers, "
            "freeze.top_layers or freeze.encoder"
        )
    encoder = encoder_config(config)
    kind = encoder.model_type
    if kind in _WITHOUT_LAYERS:
        raise UserError(
            f"freeze.cache: only the whole encoder of {kind} can be cached; set freeze.encoder: "
            "true, or leave out freeze.cache"
        )
    random = _random_settings(encoder)
    if random:
        zeros = ", ".join(f"{key}: 0" for key in random)
        raise UserError(
            f"freeze.cache: model.{random[0]} changes the frozen layers at random, so their "
            f"output differs in every epoch; set model {zeros}, or leave out freeze.cache"
        )

    description = f"states below layer {count + 1} of {len(parts.layers)}"
    if sums_layers:
        description = f"all {count + 1} states up to layer {count} of {len(parts.layers)}"
    return CachedModule(
        "layers",
        description,
        parts.encoder,
        states=count + 1 if sums_layers else 1,
        layers=parts.layers[:count],
        trained=(*parts.layers[count:], *parts.above),
    )


def _random_settings(encoder: PreTrainedConfig) -> list[str]:
    """The settings of an encoder that change its frozen layers at random: SpecAugment, layerdrop.

    Dropout does not: frozen modules run in evaluation mode.
    """
    settings = []
    if getattr(encoder, "apply_spec_augment", True):
        settings = [key for key in _MASKS if getattr(encoder, key, 0)]
    layerdrop = layerdrop_key(encoder)
    if layerdrop is not None:
        settings.append(layerdrop)
    return settings


def _cached_in_network(model: AcousticClassifier, freezing: Freezing) -> CachedModule:
    """Find the frozen part of a network of ser_hf: its encoder, or its spectrogram."""
    name = model.config.model_type.removeprefix("ser_")
    random = [f"model.{key}" for key in RANDOM_SETTINGS if getattr(model.config, key, 0)]
    if isinstance(model, TransferClassifier) and freezing != Freezing():
        if not freezing.encoder or random:
            superfluous = ", ".join(random) or "freeze.layers and freeze.top_layers"
            raise UserError(
                f"freeze.cache: only the whole encoder of {name} can be cached: "
                f"set freeze.encoder: true, and leave out {superfluous}"
            )
        return CachedModule("network", f"output of the encoder of {name}", "encoder")

    features = getattr(getattr(model, "front_end", None), "features", None)
    if not isinstance(features, LogMel | Mfcc):
        raise UserError(f"freeze.cache: {name} has no front end that could be cached; leave it out")
    if "model.band_warp" in random:
        raise UserError(
            "freeze.cache: model.band_warp changes the features at random; leave out one of the two"
        )
    mel = "front_end.features.mel" if isinstance(features, Mfcc) else "front_end.features"
    return CachedModule("features", "log-mel spectrograms", mel)


@torch.no_grad()
def compute_activations(
    model: PreTrainedModel, cached: CachedModule, batch: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the output of the frozen module for a batch, in evaluation mode.

    Returns:
        Activations, float32 (batch, states, frames, size), and the number of frames of each clip,
        integers (batch,).
    """
    batch = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    model.eval()
    if cached.kind in ("network", "features"):
        return _network_activations(_recorded_calls(model, [cached.module], batch)[0].output)

    # Without a sum of layers, of the frozen layers only the output of the last one is needed.
    is_one_layer = cached.kind == "layers" and cached.states == 1
    module = cached.layers[-1] if is_one_layer else cached.module
    has_pooled_head = model.config.model_type == "ser_encoder"
    if has_pooled_head:
        calls = _recorded_calls(model, [module, "pooling"], batch)
        _, mask = calls[1].args
    else:
        calls = _recorded_calls(model, [module], batch)
    states = _encoder_states(calls[0].output, cached, has_pooled_head)
    stacked = torch.stack(states, dim=1)
    if not has_pooled_head:
        if "attention_mask" in batch and not has_fixed_length(model.config):
            mask = getattr(model, FRAME_MASK)(stacked.shape[2], batch["attention_mask"])
        else:
            mask = stacked.new_ones(len(stacked), stacked.shape[2])
    return stacked.float().cpu(), mask.bool().sum(dim=1).cpu()


def _encoder_states(output: Any, cached: CachedModule, has_pooled_head: bool) -> list[torch.Tensor]:
    """The states to store, from the output of an encoder or of its last frozen layer."""
    if cached.kind == "layers":
        if cached.states > 1:
            return list(output.hidden_states[: cached.states])
        # Layers of WavLM return their position bias too.
        return [output[0] if isinstance(output, tuple) else output]
    states = [output.last_hidden_state]
    if cached.states > 1:
        states = list(output.hidden_states)
    if has_pooled_head:
        # Our head uses the last state after the final norm of the encoder.
        states[-1] = output.last_hidden_state
    return states


def _network_activations(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations and numbers of frames, from the output of a network's encoder or front end."""
    if isinstance(output, torch.Tensor):  # one vector per clip
        return output[:, None, None].float().cpu(), torch.ones(len(output), dtype=torch.long)
    frames, mask = output
    return frames[:, None].float().cpu(), mask.sum(dim=1).cpu()


@dataclasses.dataclass(frozen=True)
class _Call:
    """The arguments and the output of one call of a module."""

    args: tuple
    output: Any


def _recorded_calls(
    model: PreTrainedModel, modules: list[str], batch: dict[str, Any]
) -> list[_Call]:
    """Apply the model to a batch; returns the calls of the `modules` in the order of the calls."""
    calls = []

    def record(module: nn.Module, args: tuple, output: Any) -> None:
        calls.append(_Call(args, output))

    handles = [model.get_submodule(name).register_forward_hook(record) for name in modules]
    try:
        model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls
