"""What of a frozen computation is kept, for which kind of model and at which depth, and what it is computed by."""

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..models.front_end import FrontEnd, Mfcc
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_descriptors import FrameDescriptors
from ..models.modeling_transfer import TransferClassifier
from ..models.modeling_transfer_audio import CNN14Encoder, VGGishFrontEnd
from ..utils.errors import UserError
from .encoders import ENCODERS, encoder_config, layerdrop_key, shortest_clip
from .freezing import Freezing, Structure, structure

# Front ends do this at random while they train, below an encoder that is frozen.
RANDOM_IN_FRONT_ENDS = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
# An embedding of the audio spectrogram transformer is made of these: the class and the distillation token.
TOKENS = 2

_FIXED = ("whisper", "audio-spectrogram-transformer")  # hear one length whatever the clip's
_SQUEEZING = ("sew", "sew-d")
_MASK_EMBEDDING = "masked_spec_embed"


@dataclasses.dataclass(frozen=True)
class FrozenPart:
    """What is kept of each clip: `states` tensors (frames, size), as an array (states, frames, size).

    Args:
        kind: ``encoder`` keeps what leaves an encoder of transformers, ``layers`` what enters its lowest layer that
            learns (and the hidden states below, where a head sums them), ``stem`` what leaves the stem, ``network``
            what leaves the encoder of a transferred network, ``features`` what the front end computes of a waveform
            before anything that training does at random.
        told: in words, for the log.
        states: how many.
        module: the full name of the module whose output is kept; of ``layers``, of the encoder that they are in.
        lowest: of ``layers``, the lowest layer that learns.
        tokens: frames that are kept of each clip, 0 for all.
        where: the parts of an encoder of transformers.
        pooled: of ``network``, whether the encoder makes one vector a clip rather than frames.
        single: whether float16 would lose what is kept, whose units lie orders of magnitude apart.
    """

    kind: str
    told: str
    states: int
    module: str
    lowest: int = 0
    tokens: int = 0
    where: Structure | None = None
    pooled: bool = False
    single: bool = False

    def made_by(self, name: str) -> bool:
        """Whether a tensor or module, by its full name, has a part in what is kept."""
        if name.endswith(_MASK_EMBEDDING):  # which training alone uses, and which may be random
            return False
        if self.kind in ("encoder", "features"):
            return name == self.module or name.startswith(f"{self.module}.")
        if self.kind == "network":
            return name.startswith(("front_end.", f"{self.module}."))
        place, index = self.where.place(name)
        if self.kind == "stem":
            return place == "stem"
        return place in ("stem", "input") or place == "layer" and index < self.lowest

    def tensors(self, model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
        """What is kept follows from these, by name."""
        for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
            if self.made_by(name):
                yield name, tensor


def frozen_part(model: PreTrainedModel, freezing: Freezing) -> FrozenPart:
    """The largest part of a model whose output for a clip never changes in a training with this freezing.

    Raises:
        UserError: naming `freeze.cache`, where there is none or it cannot be kept.
    """
    if isinstance(model, PeftModel):
        raise UserError("freeze.cache: lora adapts every layer, so that nothing above the stem stays as it is")
    if freezing.every is not None:
        raise UserError("freeze.cache: freeze.gradual thaws what would be cached; leave out one of the two")
    if isinstance(model, AcousticClassifier):
        return _of_ours(model, freezing)
    kind = encoder_config(model.config).model_type
    where = structure(model, "freeze.cache")
    learning = freezing.learning(len(where.layers), epoch=0)
    summed = _sums_layers(model.config)
    if freezing.encoder:
        stock_spectrogram = kind == model.config.model_type == "audio-spectrogram-transformer"
        states = len(where.layers) + 1 if summed else 1
        told = f"all {states} hidden states of the encoder" if summed else "last hidden states of the encoder"
        tokens = TOKENS if stock_spectrogram else 0
        return FrozenPart("encoder", told, states, where.encoder, tokens=tokens, where=where)
    if not learning.below:
        if key := layerdrop_key(model.config):
            raise UserError(
                f"freeze.cache: model.{key} skips layers at random, cached ones among them; set model.{key} to 0, or "
                "leave out freeze.cache"
            )
        states = learning.lowest + 1 if summed else 1
        top = learning.lowest == len(where.layers)
        told = "outputs of the top layer" if top else f"inputs of layer {learning.lowest}"
        told = f"{states} hidden states up to the {told}" if summed else told
        return FrozenPart("layers", told, states, where.encoder, learning.lowest, where=where)
    if freezing.feature_encoder and where.stem:
        return FrozenPart("stem", "frames of the convolutional stem", 1, where.stem[-1], where=where)
    raise UserError(
        "freeze.cache: nothing of the encoder is frozen, so that there is nothing to cache; set freeze.encoder, "
        "freeze.layers, freeze.top_layers or freeze.feature_encoder, or leave it out"
    )


def _of_ours(model: AcousticClassifier, freezing: Freezing) -> FrozenPart:
    name = model.config.model_type.removeprefix("ser_")
    front_end = getattr(model, "front_end", None)
    if isinstance(model, TransferClassifier) and freezing != Freezing():
        if not freezing.encoder:
            raise UserError(
                f"freeze.cache: of {name} the whole encoder can be cached (freeze.encoder) or, with nothing frozen, "
                "the front end, but not single layers; leave out freeze.layers and freeze.top_layers"
            )
        for key in RANDOM_IN_FRONT_ENDS:
            if getattr(model.config, key, 0):
                raise UserError(
                    f"freeze.cache: model.{key} changes at random what the frozen encoder of {name} hears; set it to "
                    "0, or leave out freeze.cache"
                )
        pooled = isinstance(model.encoder, CNN14Encoder)
        return FrozenPart("network", f"output of the encoder of {name}", 1, "encoder", pooled=pooled)
    if isinstance(front_end, VGGishFrontEnd):
        return FrozenPart("features", "log-mel examples", 1, "front_end")
    if not isinstance(front_end, FrontEnd):
        raise UserError(
            f"freeze.cache: {name} learns from the waveform itself, nothing is computed before; leave it out"
        )
    if isinstance(front_end.features, Mfcc):
        return FrozenPart("features", "log-mel spectrograms", 1, "front_end.features.mel")
    if isinstance(front_end.features, FrameDescriptors):
        return FrozenPart("features", "frame descriptors", 1, "front_end.features", single=True)
    return FrozenPart("features", "log-mel spectrograms", 1, "front_end.features")


def _sums_layers(config: PreTrainedConfig) -> bool:
    ours = config.model_type == "ser_encoder"
    return bool(config.weighted_layer_sum if ours else getattr(config, "use_weighted_layer_sum", False))


def masks_in_vain(config: PreTrainedConfig, asked: Collection[str], freezing: Freezing, cache: bool) -> list[str]:
    """A sentence where a recipe sets SpecAugment of an encoder and nothing comes of it, else none.

    Wholly frozen, an encoder is in evaluation mode and masks nothing, cached or not; partly frozen it would mask what
    enters its layers, were they not cached.

    Args:
        config: with what was asked for.
        asked: keys of the encoder's configuration that the recipe sets. A checkpoint's own are nobody's wish.
    """
    config = encoder_config(config)
    cached = cache and (freezing.layers > 0 or freezing.top_layers is not None)
    if not (freezing.encoder or cached) or config.model_type not in ENCODERS or config.model_type in _FIXED:
        return []
    masks = [key for key in ("mask_time_prob", "mask_feature_prob") if getattr(config, key, 0)]
    keys = [key for key in (*masks, "apply_spec_augment") if key in asked]
    if not masks or not keys or not getattr(config, "apply_spec_augment", True):
        return []
    told = " and ".join(f"model.{key}" for key in keys)
    why = "a frozen encoder masks nothing" if freezing.encoder else "what it masks lies below the cached layers"
    return [f"SpecAugment of the encoder ({told}) has no effect: {why}."]


class _Enough(Exception):
    """All that is kept is known: the rest of the forward pass is not run."""


@torch.no_grad()
def record(model: PreTrainedModel, part: FrozenPart, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What is kept of a batch, by the model's own forward pass, in evaluation mode: (batch, states, frames, size)
    float32, and how many of the frames belong to each clip (batch,)."""
    model.eval()
    kept: dict[int, Any] = {}
    with _listening(model, part, kept), suppress(_Enough):
        model(**batch)
    kept_states = [kept[i] for i in sorted(kept)]
    if part.kind == "encoder":
        return _encoder_states(model, part, kept_states[0], batch)
    if part.kind in ("network", "features"):
        made = kept_states[0]
        if isinstance(made, torch.Tensor):  # one vector a clip
            return made[:, None, None], made.new_ones(len(made), dtype=torch.long)
        frames, mask = made
        return frames[:, None], mask.sum(dim=1)
    states = torch.stack(kept_states, dim=1).float()
    return states, _counts(model, batch, states.shape[2])


@contextmanager
def _listening(model: PreTrainedModel, part: FrozenPart, kept: dict[int, Any]) -> Iterator[None]:
    hooks = []
    if part.kind == "layers":
        first = 0 if part.states > 1 else part.lowest
        for i in range(first, part.lowest + 1):
            last = i == part.lowest
            if i < len(part.where.layers):
                layer = model.get_submodule(part.where.layers[i])
                hooks.append(layer.register_forward_pre_hook(_keep_input(kept, i, last)))
            else:
                layer = model.get_submodule(part.where.layers[-1])
                hooks.append(layer.register_forward_hook(_keep_output(kept, i)))
    elif part.kind == "stem":
        hooks.append(
            model.get_submodule(part.module).register_forward_hook(_keep_output(kept, 0, _stem_frames(model)))
        )
    else:
        hooks.append(model.get_submodule(part.module).register_forward_hook(_keep_output(kept, 0, lambda made: made)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _keep_input(kept: dict[int, Any], number: int, last: bool) -> Callable:
    def hook(module: nn.Module, given: tuple) -> None:
        # A copy: encoders write into what they pass on.
        kept[number] = given[0].clone()
        if last:
            raise _Enough

    return hook


def _keep_output(kept: dict[int, Any], number: int, of: Callable | None = None) -> Callable:
    def hook(module: nn.Module, given: tuple, made: Any) -> None:
        if of is None:
            made = made[0] if isinstance(made, tuple) else made
        else:
            made = of(made)
        kept[number] = made
        raise _Enough

    return hook


def _stem_frames(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """(batch, channels, frames) of convolutions, or (batch, frames, size) of patches -> the latter."""
    patches = encoder_config(model.config).model_type == "audio-spectrogram-transformer"
    return (lambda made: made) if patches else (lambda made: made.transpose(1, 2))


def _encoder_states(
    model: PreTrainedModel, part: FrozenPart, outputs: Any, batch: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    last = outputs.last_hidden_state
    states = [last]
    if part.states > 1:
        states = list(outputs.hidden_states)
        ours = model.config.model_type == "ser_encoder"
        if ours and not squeezes(model.config):  # our head takes the last one with the encoder's norm
            states[-1] = last
    states = torch.stack(states, dim=1).float()
    if part.tokens:
        states = states[:, :, : part.tokens]
    return states, _counts(model, batch, states.shape[2])


def squeezes(config: PreTrainedConfig) -> bool:
    """Whether an encoder's layers see one frame where its stem makes several."""
    return encoder_config(config).model_type in _SQUEEZING


def hears_waveforms(config: PreTrainedConfig) -> bool:
    """Whether an encoder has a stem of its own, which shortens a mask of samples to one of frames."""
    return hasattr(encoder_config(config), "conv_kernel")


def _counts(model: PreTrainedModel, batch: dict[str, Any], frames: int) -> torch.Tensor:
    """Frames of each clip among those of a batch, (batch,)."""
    config, mask = encoder_config(model.config), batch.get("attention_mask")
    inputs = batch[model.main_input_name]
    whole = torch.full((len(inputs),), frames, device=inputs.device)
    if mask is None or config.model_type in _FIXED:
        return whole
    if not hears_waveforms(config):
        return mask.sum(dim=1).to(whole)
    if len(inputs) == 1:
        return whole
    samples = mask.sum(dim=1).clamp(min=shortest_clip(config))
    return encoder_of(model)._get_feat_extract_output_lengths(samples).to(whole)


def real_inputs(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    """How much of each row of the inputs counts as the clip's, (batch,): samples, or frames of features."""
    mask, inputs = batch.get("attention_mask"), batch[model.main_input_name]
    real = torch.full((len(inputs),), inputs.shape[1]) if mask is None else mask.sum(dim=1)
    return real.clamp(min=shortest_clip(model.config)) if hears_waveforms(model.config) else real


def fixed_length(config: PreTrainedConfig) -> bool:
    """Whether an encoder hears the same length of every clip."""
    return encoder_config(config).model_type in _FIXED


def encoder_of(model: PreTrainedModel) -> nn.Module:
    return model.get_submodule(structure(model, "freeze.cache").encoder)
