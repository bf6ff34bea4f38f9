"""Runs the upper layers of an encoder on the stored states of its frozen lower layers.

The forward pass of transformers stays as it is: its masks, position biases and norms differ from
encoder to encoder. Only the modules below the first trained layer are bypassed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..loading.encoders import encoder_config
from .cached_module import FRAME_MASK, CachedModule

# Keys of a batch besides inputs, mask and labels: stored activations (batch, states, frames, size)
# and the number of frames of each clip (batch,).
STATES = "cached_states"
FRAMES = "cached_frames"

# The modules of an encoder below its layers that take time.
_STEM = "feature_extractor"
_PROJECTION = "feature_projection"
_POSITIONS = "encoder.pos_conv_embed"


class LayerReplacement:
    """Bypasses the frozen layers of an encoder and everything below them until `restore`.

    The modules stay in the model, because WavLM computes the position bias of all layers with
    weights of the lowest one. Checkpoints have the whole model.
    """

    def __init__(self, model: PreTrainedModel, cached: CachedModule):
        self.model = model
        self.states: torch.Tensor | None = None
        self.mask: torch.Tensor | None = None
        self._bypassed: list[nn.Module] = []
        encoder = model.get_submodule(cached.module)
        self._handles = [
            model.register_forward_pre_hook(self._set_activations, with_kwargs=True),
            encoder.register_forward_pre_hook(self._set_mask, with_kwargs=True),
        ]
        self._masked = [model, encoder]
        for owner in self._masked:
            setattr(owner, FRAME_MASK, self._frame_mask)

        modules = dict(encoder.named_modules())
        self._bypass(modules.get(_STEM), self._no_stem)
        # HuBERT's projection returns one tensor, the others two.
        has_pair = encoder_config(model.config).model_type != "hubert"
        self._bypass(modules[_PROJECTION], self._no_pair if has_pair else self._no_frames)
        self._bypass(modules.get(_POSITIONS), self._no_frames)
        for i, name in enumerate(cached.layers):
            layer = model.get_submodule(name)
            state = self._state_above(i, cached)
            self._bypass(layer, partial(self._layer_output, layer, state))
        if cached.states > 1:
            lowest = model.get_submodule(cached.layers[0])
            self._handles.append(lowest.register_forward_pre_hook(self._lowest_input))

    def restore(self) -> None:
        """Let the modules compute again."""
        for handle in self._handles:
            handle.remove()
        for module in self._bypassed:
            del module.forward
        for owner in self._masked:
            delattr(owner, FRAME_MASK)

    def _bypass(self, module: nn.Module | None, forward: Callable) -> None:
        if module is not None:
            module.forward = forward
            self._bypassed.append(module)

    def _set_activations(
        self, model: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        # The activations stay until the next batch, because gradient checkpointing runs layers
        # again in the backward pass.
        kwargs = dict(kwargs)
        self.states = kwargs.pop(STATES).float()
        frames = kwargs.pop(FRAMES)
        places = torch.arange(self.states.shape[2], device=frames.device)
        self.mask = places < frames[:, None]
        return args, kwargs

    def _set_mask(
        self, encoder: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        # Encoders that normalize over time get no mask of waveforms, but padded states need one.
        return args, kwargs | {"attention_mask": self.mask.long()}

    def _frame_mask(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.mask

    def _no_stem(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Empty output of a stem: (batch, 1, frames)."""
        clips, _, frames, _ = self.states.shape
        return self.states.new_zeros(clips, 1, frames)

    def _no_frames(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Empty frames (batch, frames, size)."""
        clips, _, frames, size = self.states.shape
        return self.states.new_zeros(clips, frames, size)

    def _no_pair(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        frames = self._no_frames()
        return frames, frames

    def _lowest_input(self, layer: nn.Module, args: tuple) -> tuple:
        """The stored input of the lowest layer, which a sum of layers includes."""
        return (self.states[:, 0], *args[1:])

    @staticmethod
    def _state_above(index: int, cached: CachedModule) -> int | None:
        """Which stored state is the output of a frozen layer; None if it is not stored.

        Without a sum of layers, only the output of the last frozen layer is.
        """
        if cached.states > 1:
            return index + 1
        return 0 if index == len(cached.layers) - 1 else None

    def _layer_output(
        self,
        bypassed: nn.Module,
        state: int | None,
        frames: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The output of a frozen layer (batch, frames, size); its input if none is stored."""
        if state is not None:
            frames = self.states[:, state]
        if encoder_config(self.model.config).model_type != "wavlm":
            return frames
        position_bias = kwargs.get("position_bias")
        if position_bias is None:
            position_bias = _position_bias(bypassed.attention, len(frames), frames.shape[1])
        return frames, position_bias


def _position_bias(attention: nn.Module, clips: int, frames: int) -> torch.Tensor:
    """The position bias of WavLM, which its lowest layer computes for all layers.

    The shape is (clips * heads, frames, frames).
    """
    bias = attention.compute_bias(frames, frames)
    return bias.unsqueeze(0).repeat(clips, 1, 1, 1).view(-1, frames, frames)
