"""Finds the frozen part of a model that `freeze.cache` can store, and computes its output."""

import dataclasses
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from ..loading.encoders import encoder_config, has_fixed_length
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_transfer import TransferClassifier
from ..models.spectra import LogMel, Mfcc
from ..utils.errors import UserError
from .freezing import Freezing, structure

# A method of encoders that converts a mask of samples into a mask of frames.
FRAME_MASK = "_get_feature_vector_attention_mask"
# Settings of random changes that front ends make during training.
RANDOM_SETTINGS = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
_WITHOUT_CACHE = ("sew", "sew-d", "audio-spectrogram-transformer")


@dataclasses.dataclass(frozen=True)
class CachedModule:
    """The frozen module whose output is stored.

    Args:
        kind: ``encoder`` for an encoder of transformers, ``network`` for the encoder of a
            transferred network with its front end, and ``features`` for the part of a front end
            before its random changes.
        description: description of the output, for the log and the report.
        module: full name of the module.
        states: number of tensors (frames, size) per clip.
    """

    kind: Literal["encoder", "network", "features"]
    description: str
    module: str
    states: int = 1

    def contains(self, name: str) -> bool:
        """Whether the stored output depends on the tensor or module of this full name."""
        if name.endswith("masked_spec_embed"):  # it is used in training only, and may be random
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

    if not freezing.encoder:
        raise UserError(
            "freeze.cache: only a fully frozen encoder can be cached; set freeze.encoder: true"
        )
    config = model.config
    kind = encoder_config(config).model_type
    if kind in _WITHOUT_CACHE:
        raise UserError(f"freeze.cache: {kind} cannot be cached; leave it out")
    parts = structure(model, "freeze.cache")
    sums_layers = getattr(config, "weighted_layer_sum", False) or getattr(
        config, "use_weighted_layer_sum", False
    )
    if sums_layers:
        states = len(parts.layers) + 1
        description = f"all {states} hidden states of the encoder"
        return CachedModule("encoder", description, parts.encoder, states)
    return CachedModule("encoder", "last hidden states of the encoder", parts.encoder)


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
    has_pooled_head = model.config.model_type == "ser_encoder"
    if cached.kind == "encoder" and has_pooled_head:
        calls = _recorded_calls(model, [cached.module, "pooling"], batch)
        _, mask = calls[1].args
    else:
        calls = _recorded_calls(model, [cached.module], batch)
    output = calls[0].output

    if cached.kind != "encoder":
        return _network_activations(output)

    states = [output.last_hidden_state]
    if cached.states > 1:
        states = list(output.hidden_states)
    if has_pooled_head:
        # Our head uses the last state after the final norm of the encoder.
        states[-1] = output.last_hidden_state
    stacked = torch.stack(states, dim=1)
    if not has_pooled_head:
        if "attention_mask" in batch and not has_fixed_length(model.config):
            mask = getattr(model, FRAME_MASK)(stacked.shape[2], batch["attention_mask"])
        else:
            mask = stacked.new_ones(len(stacked), stacked.shape[2])
    return stacked.float().cpu(), mask.bool().sum(dim=1).cpu()


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
