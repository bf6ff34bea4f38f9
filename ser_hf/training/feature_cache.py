"""`freeze.cache`: computes the output of a frozen encoder or front end once and trains on it.

During training `CachedActivations` replace the frozen modules, and batches carry the activations of their clips.
Checkpoints hold only the remaining modules. Afterwards the model is complete again and evaluated on waveforms.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import BatchFeature, PreTrainedModel, Trainer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..audio import WaveformStore
from ..models.front_end import FrontEnd, LogMel, Mfcc, warp_bands
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_descriptors import FrameDescriptors
from ..models.modeling_transfer import TransferClassifier
from ..models.modeling_transfer_audio import CNN14Encoder, VGGishFrontEnd
from ..utils.cache import format_size
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .checkpoints import shards
from .data import Collator, labels_of
from .encoders import encoder_config, has_fixed_length, shortest_clip, squeezes_frames, takes_waveforms
from .feature_store import RANDOM_IN_FRONT_ENDS, CachedModule, FeatureStore, Segment, open_feature_store
from .freezing import Freezing, freeze, structure

logger = logging.getLogger(__name__)

# Keys of a batch besides inputs, mask and labels: stored activations (batch, states, frames, size) and the number of
# frames of each clip (batch,).
STATES, FRAMES = "cached_states", "cached_frames"
_TOKENS = 2  # class and distillation token of the audio spectrogram transformer
_FRAME_MASK = "_get_feature_vector_attention_mask"


@dataclasses.dataclass(frozen=True)
class FeatureCaching:
    """Settings of the cache for `fit`.

    Args:
        freezing: must stay the same throughout the training.
        cache_dir: folder of stores (default: see `ser_hf.utils.cache.cache_root`).
        others: further clips to compute, those of other folds, so that all folds open one store.
    """

    freezing: Freezing
    cache_dir: str | Path | None = None
    others: Sequence[Dataset] = ()


class CachedTraining:
    """Trains a model on a store of activations until `end`.

    Args:
        collator: makes batches of waveforms, also for the evaluation afterwards.
        train, validation: clips without random crops (`fixed_crops`).

    Raises:
        UserError: naming the key, if nothing can be cached.
        ValueError: if clips are augmented.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        caching: FeatureCaching,
        collator: Collator,
        train: Dataset,
        validation: Dataset,
        arguments: EmotionTrainingArguments,
    ):
        if collator.transforms.augmenter or collator.transforms.mixing:
            raise ValueError("cached features cannot be augmented")
        if shards():
            raise UserError(f"freeze.cache: {shards()} shards frozen weights as well; launch without it")
        freeze(model, caching.freezing)
        cached = cached_module(model, caching.freezing)
        _log_crops(train, collator.store)
        model.to(arguments.device)
        segments = [segment for clips in (train, validation, *caching.others) for segment in segments_of(clips)]
        compute = partial(compute_activations, model, cached)
        store, seconds = open_feature_store(
            model, cached, collator, segments, compute, arguments.per_device_eval_batch_size, caching.cache_dir
        )
        self._waveforms = collator
        self.collator = CachedCollator(store, model, cached, collator.epoch)
        self._replacement = Replacement(model, cached)
        self.facts = {"cached": cached.description, "clips": len(store), "bytes": store.bytes, "seconds": seconds}
        logger.info("%s of %d clips ready in %.1f s", format_size(store.bytes), len(store), seconds)

    def end(self, trainer: Trainer) -> None:
        """Restores the model, and lets the trainer evaluate waveforms."""
        self._replacement.restore()
        trainer.collator = trainer.data_collator = self._waveforms


def fixed_crops(clips: Dataset, store: WaveformStore) -> Dataset:
    """Training clips with a crop that depends on the recording alone, whatever the seed, epoch and fold."""
    columns = clips.to_dict()
    starts = []
    for row, start, limit in zip(columns["row"], columns["start"], columns["max_samples"], strict=True):
        excess = int(store.lengths[row]) - limit
        if limit and excess > 0:
            start = int(np.random.default_rng(list(store.content_hashes[row].encode())).integers(excess + 1))
        starts.append(start)
    return Dataset.from_dict(columns | {"start": starts, "max_samples": [0] * len(starts)})


def _log_crops(train: Dataset, store: WaveformStore) -> None:
    lengths = np.asarray(train["length"][:])
    longer = int((store.lengths[train["row"][:]] > lengths).sum())
    if longer:
        logger.info(
            "%d of %d training clips are longer than %.2f s: each has one crop, the same in every epoch",
            *(longer, len(train), lengths.max() / store.sampling_rate),
        )


def segments_of(clips: Dataset) -> list[Segment]:
    return list(zip(clips["row"][:], clips["start"][:], clips["length"][:], strict=True))


def cached_module(model: PreTrainedModel, freezing: Freezing) -> CachedModule:
    """The frozen part of a model whose output for a clip is constant during training.

    Raises:
        UserError: naming `freeze.cache`, if there is none.
    """
    if isinstance(model, AcousticClassifier):
        return _cached_in_network(model, freezing)
    if not freezing.encoder:
        raise UserError(
            "freeze.cache: only a fully frozen encoder can be cached; set freeze.encoder: true, or leave it out"
        )
    config = model.config
    summed = "weighted_layer_sum" if config.model_type == "ser_encoder" else "use_weighted_layer_sum"
    where = structure(model, "freeze.cache")
    if getattr(config, summed, False):
        states = len(where.layers) + 1
        return CachedModule("encoder", f"all {states} hidden states of the encoder", where.encoder, states)
    tokens = _TOKENS if config.model_type == "audio-spectrogram-transformer" else 0
    return CachedModule("encoder", "last hidden states of the encoder", where.encoder, tokens=tokens)


def _cached_in_network(model: AcousticClassifier, freezing: Freezing) -> CachedModule:
    name = model.config.model_type.removeprefix("ser_")
    if isinstance(model, TransferClassifier) and freezing != Freezing():
        if not freezing.encoder:
            raise UserError(
                f"freeze.cache: of {name} the whole encoder can be cached (freeze.encoder) or, with nothing frozen, "
                "the front end, but not single layers; leave out freeze.layers and freeze.top_layers"
            )
        for key in RANDOM_IN_FRONT_ENDS:
            if getattr(model.config, key, 0):
                raise UserError(
                    f"freeze.cache: model.{key} changes the input of the frozen encoder of {name} at random; set it "
                    "to 0, or leave out freeze.cache"
                )
        pooled = isinstance(model.encoder, CNN14Encoder)
        return CachedModule("network", f"output of the encoder of {name}", "encoder", pooled=pooled)
    front_end = getattr(model, "front_end", None)
    if isinstance(front_end, VGGishFrontEnd):
        return CachedModule("features", "log-mel examples", "front_end")
    if not isinstance(front_end, FrontEnd):
        raise UserError(f"freeze.cache: {name} has no fixed front end that could be cached; leave it out")
    if isinstance(front_end.features, FrameDescriptors):
        # Units of descriptors lie orders of magnitude apart, too far for float16.
        return CachedModule("features", "frame descriptors", "front_end.features", dtype="float32")
    mel = "front_end.features.mel" if isinstance(front_end.features, Mfcc) else "front_end.features"
    return CachedModule("features", "log-mel spectrograms", mel)


class _Recorded(Exception):
    """Skips the rest of a forward pass."""


@torch.no_grad()
def compute_activations(
    model: PreTrainedModel, cached: CachedModule, batch: BatchFeature
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations of a batch in evaluation mode, on the CPU.

    Returns:
        States (batch, states, frames, size) in float32; the number of frames of each clip (batch,); the samples or
        frames of the input of each clip (batch,).
    """
    batch = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    model.eval()
    recorded = []

    def record(module: nn.Module, args: tuple, output: Any) -> None:
        recorded.append(output)
        raise _Recorded

    handle = model.get_submodule(cached.module).register_forward_hook(record)
    try:
        with suppress(_Recorded):
            model(**batch)
    finally:
        handle.remove()
    (output,) = recorded
    inputs, mask = batch[model.main_input_name], batch.get("attention_mask")
    lengths = torch.full((len(inputs),), inputs.shape[1]) if mask is None else mask.sum(dim=1)
    if takes_waveforms(model.config):
        lengths = lengths.clamp(min=shortest_clip(model.config))
    if cached.kind == "encoder":
        states, frames = _encoder_states(model, cached, output, lengths, mask is not None)
    elif isinstance(output, torch.Tensor):  # one vector per clip
        states, frames = output[:, None, None], torch.ones(len(output), dtype=torch.long)
    else:
        states, frames = output[0][:, None], output[1].sum(dim=1)
    return states.float().cpu(), frames.cpu(), lengths.cpu()


def _encoder_states(
    model: PreTrainedModel, cached: CachedModule, outputs: Any, lengths: torch.Tensor, masked: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    config, last = model.config, outputs.last_hidden_state
    states = [last]
    if cached.states > 1:
        states = list(outputs.hidden_states)
        if config.model_type == "ser_encoder" and not squeezes_frames(config):  # uses the normalized last state
            states[-1] = last
    states = torch.stack(states, dim=1)
    if cached.tokens:
        states = states[:, :, : cached.tokens]
    if not masked or len(last) == 1 and takes_waveforms(config) or has_fixed_length(config):
        return states, torch.full((len(last),), states.shape[2])
    if takes_waveforms(config):
        lengths = model.get_submodule(cached.module)._get_feat_extract_output_lengths(lengths)
    return states, lengths


class CachedCollator:
    """Batches of stored activations with labels, a mask and inputs of the right shape.

    Args:
        epoch: the clock that the Trainer sets; nothing is random here.
    """

    def __init__(self, store: FeatureStore, model: PreTrainedModel, cached: CachedModule, epoch: torch.Tensor):
        self.store, self.epoch = store, epoch
        self._input = model.main_input_name
        self._encoder = cached.kind == "encoder"
        self._waveforms, self._fixed = takes_waveforms(model.config), has_fixed_length(model.config)

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> BatchFeature:
        segments = [(clip["row"], clip["start"], clip["length"]) for clip in clips]
        stored = [self.store[segment] for segment in segments]
        frames = np.asarray([states.shape[1] for states in stored])
        states = np.zeros((len(stored), self.store.states, frames.max(), self.store.size), dtype=self.store.dtype)
        for i, own in enumerate(stored):
            states[i, :, : own.shape[1]] = own
        batch = {STATES: states, FRAMES: frames, "labels": labels_of(clips)}
        batch = BatchFeature({name: torch.from_numpy(values) for name, values in batch.items()})
        shape = [1]
        if self._encoder:
            lengths = torch.tensor([self.store.input_length(segment) for segment in segments])
            width = int(lengths.max())
            shape = self.store.inputs if self._fixed else [width, *self.store.inputs[1:]]
            if self._waveforms or self.store.mask:
                width = self.store.mask[0] if self._fixed else width
                batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
        # Only the shape of the inputs is used; expanding takes no memory.
        batch[self._input] = torch.zeros(()).expand(len(clips), *shape)
        return batch


class CachedActivations(nn.Module):
    """Replaces a frozen module: returns what `compute` makes of the activations in the batch.

    Attributes:
        states, mask: (batch, states, frames, size) and (batch, frames) bool, set before each forward pass.
    """

    def __init__(self, compute: Callable[..., Any]):
        super().__init__()
        self.compute = compute
        self.states = self.mask = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compute(self, *args, **kwargs)


class Replacement:
    """Puts `CachedActivations` in the place of frozen modules until `restore`.

    All other tensors keep their names.
    """

    def __init__(self, model: PreTrainedModel, cached: CachedModule):
        self.model = model
        self._replaced: dict[str, nn.Module] = {}
        self._handle = model.register_forward_pre_hook(self._set_activations, with_kwargs=True)
        if cached.kind == "encoder":
            self._replace_encoder(cached)
        elif cached.kind == "network":
            self._replace("front_end", lambda own, *args: (own.states.new_zeros(len(own.states), 1, 1), own.mask))
            self._replace(cached.module, _vectors if cached.pooled else _features)
        else:
            self._replace(cached.module, _features)
            module = self._replaced[cached.module]
            if isinstance(module, LogMel) and module.config.band_warp:
                stand_in = model.get_submodule(cached.module)
                stand_in.source = module
                stand_in.compute = _warped_features

    def restore(self) -> None:
        """Puts the modules back, on the device of the model."""
        device = self.model.device
        self._handle.remove()
        for name, module in self._replaced.items():
            self.model.set_submodule(name, module)
        vars(self.model).pop(_FRAME_MASK, None)
        self.model.to(device)

    def _set_activations(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        # They stay until the next batch: gradient checkpointing runs layers again in the backward pass.
        kwargs = dict(kwargs)
        states, frames = kwargs.pop(STATES).float(), kwargs.pop(FRAMES)
        mask = torch.arange(states.shape[2], device=frames.device) < frames[:, None]
        for name in self._replaced:
            stand_in = self.model.get_submodule(name)
            stand_in.states, stand_in.mask = states, mask
        return args, kwargs

    def _replace(self, name: str, compute: Callable[..., Any]) -> CachedActivations:
        self._replaced[name] = self.model.get_submodule(name)
        stand_in = CachedActivations(compute)
        self.model.set_submodule(name, stand_in)
        return stand_in

    def _replace_encoder(self, cached: CachedModule) -> None:
        config, encoder = self.model.config, self.model.get_submodule(cached.module)
        upsampled = config.model_type == "ser_encoder" and squeezes_frames(config) and cached.states > 1
        spectrogram = encoder_config(config).model_type == "audio-spectrogram-transformer"
        stand_in = self._replace(cached.module, _spectrogram_output if spectrogram else _encoder_output)
        if upsampled:
            # Our head sums squeezed layers and then calls `encoder.encoder.upsample`.
            stand_in.encoder = nn.Module()
            stand_in.encoder.upsample = encoder.encoder.upsample
            stand_in.compute = partial(_upsampled_output, stem_frames=encoder._get_feat_extract_output_lengths)
            setattr(stand_in, _FRAME_MASK, getattr(encoder, _FRAME_MASK))
        elif takes_waveforms(config):
            setattr(stand_in, _FRAME_MASK, partial(_frame_mask, stand_in, getattr(encoder, _FRAME_MASK)))
        if hasattr(self.model, _FRAME_MASK):
            # Stock heads count the frames of the stem, which in SEW are not those that the encoder returns.
            setattr(self.model, _FRAME_MASK, partial(_frame_mask, stand_in, getattr(self.model, _FRAME_MASK)))


def _frame_mask(stand_in: CachedActivations, stock: Callable, count: int, mask: torch.Tensor, *args: Any):
    return stand_in.mask if count == stand_in.states.shape[2] else stock(count, mask, *args)


def _encoder_output(own: CachedActivations, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
    states = own.states.unbind(dim=1)
    return BaseModelOutputWithPooling(last_hidden_state=states[-1], hidden_states=states)


def _upsampled_output(
    own: CachedActivations, *args: Any, stem_frames: Callable, input_values: torch.Tensor, **kwargs: Any
) -> BaseModelOutputWithPooling:
    """Only the shape of the last hidden state is used."""
    states = own.states.unbind(dim=1)
    frames = int(stem_frames(torch.tensor(input_values.shape[1])))
    last = states[0].new_zeros(()).expand(len(states[0]), frames, states[0].shape[2])
    return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=states)


def _spectrogram_output(own: CachedActivations, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
    output = _encoder_output(own)
    output["pooler_output"] = own.states[:, -1, :_TOKENS].mean(dim=1)
    return output


def _features(own: CachedActivations, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return own.states[:, 0], own.mask


def _vectors(own: CachedActivations, *args: Any) -> torch.Tensor:
    return own.states[:, 0, 0]


def _warped_features(own: CachedActivations, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Bands warped at random in training, as in `LogMel`."""
    spectrum, mask = _features(own)
    if own.training:
        spectrum = warp_bands(spectrum, own.source.centers.float(), own.source.config.band_warp)
    return spectrum, mask
