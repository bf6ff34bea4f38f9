"""Embeddings: what the last layer of a classifier is given, or the mean of an encoder's hidden states over time."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

from ..errors import UserError
from ..training.encoders import encoder_config, shortest_clip, stride
from ..training.frozen_parts import hears_waveforms
from ..training.structure import structure
from .expert import Expert

_WHISPER, _SPECTROGRAM = "whisper", "audio-spectrogram-transformer"
_TOKENS = 2  # of the audio spectrogram transformer, before its patches: class and distillation
_FRAME, _HOP = 400, 160  # samples of the frames that its extractor makes of a waveform, whole ones only


class Vectors:
    """What was kept of the last batch, on its way through the model; `take` turns it into one vector a clip."""

    def __init__(self, expert: Expert, layer: int | None):
        self.expert, self.layer = expert, layer
        self.kept: torch.Tensor | None = None

    def take(self, batch: Mapping[str, torch.Tensor], lengths: torch.Tensor) -> torch.Tensor:
        """float32 (batch, size) of the batch that the model has just heard.

        Args:
            lengths: samples of each clip, (batch,), as many as the model was given silence or not.
        """
        kept, self.kept = self.kept, None
        if self.layer is None:
            if kept is None or kept.ndim != 2 or len(kept) != len(lengths):
                raise UserError(
                    f"--embeddings: {self.expert.source} has no layer at its end that is given one vector a clip"
                )
            return kept.float()
        model = self.expert.model
        frames = kept.float()
        if encoder_config(model.config).model_type == _SPECTROGRAM:
            frames = frames[:, _TOKENS:]
        real = _real_frames(model, batch, lengths, frames.shape[1], self.expert.padding_safe)
        real = real.to(frames)[:, :, None]
        return (frames * real).sum(dim=1) / real.sum(dim=1)


@contextlib.contextmanager
def listening(expert: Expert, layer: int | None) -> Iterator[Vectors]:
    """Keeps what passes by whenever the model is called.

    Args:
        layer: None is what the classifier's last layer is given: pooled over time, after any hidden layers of the
            head. A number is a hidden state of an encoder of transformers, as its `hidden_states` number them: 0 is
            what enters the lowest layer, n what leaves the n-th, -1 what leaves the top one.

    Raises:
        UserError: naming `--layer`, if there is no such layer, and `--embeddings` where no last layer can be told.
    """
    vectors = Vectors(expert, None if layer is None else layer_number(expert, layer))

    def keep_input(module: nn.Module, given: tuple) -> None:
        vectors.kept = given[0].detach()

    def ask(module: nn.Module, given: tuple, named: dict) -> tuple[tuple, dict]:
        return given, named | {"output_hidden_states": True, "return_dict": True}

    def keep_state(module: nn.Module, given: tuple, made: Mapping) -> None:
        vectors.kept = made["hidden_states"][vectors.layer].detach()

    if layer is None:
        hooks = [_last_layer(expert).register_forward_pre_hook(keep_input)]
    else:
        encoder = expert.model.get_submodule(structure(expert.model, "--layer").encoder)
        hooks = [
            encoder.register_forward_pre_hook(ask, with_kwargs=True),
            encoder.register_forward_hook(keep_state),
        ]
    try:
        yield vectors
    finally:
        for hook in hooks:
            hook.remove()


def layer_number(expert: Expert, layer: int) -> int:
    """The layer counted from 0, where it is there. Raises a `UserError` where it is not."""
    if not expert.encoder:
        raise UserError(
            f"--layer: {expert.source} ({expert.model.config.model_type}) has no encoder of transformers; leave it "
            "out for what its classifier is given"
        )
    top = encoder_config(expert.model.config).num_hidden_layers
    if not -top - 1 <= layer <= top:
        raise UserError(f"--layer: {expert.source} has hidden states 0 to {top}, got {layer}")
    return layer % (top + 1)


def _last_layer(expert: Expert) -> nn.Module:
    """The linear layer that makes the logits; of what has none (support vectors, trees) the classifier as a whole."""
    model = expert.model
    head = getattr(model, "classifier", None)
    if isinstance(head, nn.Module):
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        return linear[-1] if linear else head
    count = model.config.num_labels
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == count]
    if not linear:
        raise UserError(f"--embeddings: {expert.source} has no linear layer of {count} labels at its end")
    return linear[-1]


def _real_frames(
    model: PreTrainedModel,
    batch: Mapping[str, torch.Tensor],
    lengths: torch.Tensor,
    frames: int,
    padding_safe: bool,
) -> torch.Tensor:
    """(batch, frames) bool, true where a hidden state is of the clip and not of padding after it."""
    config = encoder_config(model.config)
    place = torch.arange(frames, device=lengths.device)
    mask = batch.get("attention_mask")
    if config.model_type == _WHISPER:
        return place < torch.ceil(lengths[:, None] / stride(config))
    if config.model_type == _SPECTROGRAM:
        # Patches lie band by band, each band's along time; one is of the clip that begins within it.
        columns = (config.max_length - config.patch_size) // config.time_stride + 1
        heard = (lengths[:, None] - _FRAME) // _HOP + 1
        return place % columns * config.time_stride < heard
    if mask is None or not padding_safe:  # then nothing was padded
        return torch.ones(len(lengths), frames, dtype=torch.bool, device=lengths.device)
    if not hears_waveforms(config):
        return mask.bool()
    samples = mask.sum(dim=1).clamp(min=shortest_clip(config))
    encoder = model.get_submodule(structure(model).encoder)
    return place < encoder._get_feat_extract_output_lengths(samples)[:, None]
