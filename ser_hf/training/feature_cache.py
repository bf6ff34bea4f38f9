"""`freeze.cache`: computes the output of frozen layers or a front end once, and trains on it.

During training, `CachedActivations` replace the frozen modules, and batches contain the activations
of their clips. Checkpoints have only the other modules. After training, the frozen modules are
restored, and the model is evaluated on waveforms. `cached_layers` does this for encoders of which
only the lower layers are frozen.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, Trainer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..audio import WaveformStore
from ..loading.batches import labels_of
from ..loading.encoders import has_fixed_length
from ..models.modeling_transfer import CNN14Encoder
from ..utils.cache import format_size
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .cached_layers import FRAMES, STATES, LayerReplacement
from .cached_module import FRAME_MASK, CachedModule, cached_module
from .collator import Collator
from .feature_store import FeatureStore, Segment, open_feature_store, segments_of
from .freezing import Freezing, freeze
from .sharding import sharding_library

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FeatureCaching:
    """Settings of the cache for `fit`.

    `others` are the clips of other folds: with them, all folds share one store.
    """

    freezing: Freezing
    cache_dir: str | Path | None = None
    others: Sequence[Dataset] = ()


@dataclasses.dataclass(frozen=True)
class CacheSummary:
    """The summary of the cache for the report: stored output, clips, bytes and seconds."""

    cached: str
    clips: int
    bytes: int
    seconds: float


class CachedTraining:
    """The training of a model on stored activations, from its creation until `end`.

    `train` and `validation` have no random crops (see `fixed_crops`).
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
        library = sharding_library()
        if library:
            raise UserError(
                f"freeze.cache: {library} shards frozen weights as well; launch without it"
            )
        began = time.perf_counter()
        freeze(model, caching.freezing)
        cached = cached_module(model, caching.freezing)
        model.to(arguments.device)
        segments: list[Segment] = []
        for clips in (train, validation, *caching.others):
            segments += segments_of(clips)
        store = open_feature_store(
            model,
            cached,
            collator,
            segments,
            batch_size=arguments.per_device_eval_batch_size,
            padding_safe=arguments.padding_safe,
            cache_dir=caching.cache_dir,
        )
        self._waveforms = collator
        self.collator = CachedCollator(store, model, cached, collator.epoch)
        self._replacement = replace_frozen(model, cached)
        seconds = time.perf_counter() - began
        self.summary = CacheSummary(cached.description, len(store), store.bytes, seconds)
        logger.info(
            "cached %s: %s of %d clips at %s, ready in %.1f s; "
            "a long clip has the same crop in every epoch",
            cached.description,
            format_size(store.bytes),
            len(store),
            store.folder,
            seconds,
        )

    def end(self, trainer: Trainer) -> None:
        """Restore the frozen modules, so that the trainer evaluates the model on waveforms."""
        self._replacement.restore()
        trainer.collator = self._waveforms
        trainer.data_collator = self._waveforms


def fixed_crops(clips: Dataset, store: WaveformStore) -> Dataset:
    """Replace random crops by crops that depend only on the recording, not on seed or epoch."""
    cropped = []
    for clip in clips:
        limit = clip["max_samples"]
        excess = int(store.lengths[clip["row"]]) - limit
        if limit and excess > 0:
            content_hash = store.content_hashes[clip["row"]]
            generator = np.random.default_rng(list(content_hash.encode()))
            clip["start"] = int(generator.integers(excess + 1))
        cropped.append(clip | {"max_samples": 0})
    return Dataset.from_list(cropped)


class CachedCollator:
    """Makes batches of stored activations, with labels, a mask and inputs of the right shape."""

    def __init__(
        self, store: FeatureStore, model: PreTrainedModel, cached: CachedModule, epoch: torch.Tensor
    ):
        self.store = store
        self.epoch = epoch
        self._input = model.main_input_name
        # A stock head takes no mask if all inputs have the same length.
        has_stock_head = model.config.model_type != "ser_encoder"
        without_mask = has_stock_head and has_fixed_length(model.config)
        self._masked = cached.kind in ("encoder", "layers") and not without_mask

    def __call__(
        self, clips: list[dict[str, Any]], training: bool = False
    ) -> dict[str, torch.Tensor]:
        """The inputs of a model with a `Replacement` for a batch of clips, with their `labels`."""
        stored = [self.store[Segment(clip["row"], clip["start"], clip["length"])] for clip in clips]
        frames = np.asarray([states.shape[1] for states in stored])
        longest = int(frames.max())
        batch_states = np.zeros(
            (len(stored), self.store.states, longest, self.store.size), dtype=self.store.dtype
        )
        for i, states in enumerate(stored):
            batch_states[i, :, : states.shape[1]] = states

        arrays = {STATES: batch_states, FRAMES: frames, "labels": labels_of(clips)}
        batch = {name: torch.from_numpy(values) for name, values in arrays.items()}
        if self._masked:
            batch["attention_mask"] = (torch.arange(longest) < batch[FRAMES][:, None]).long()
        # Only the shape of the inputs is used; expanding takes no memory.
        batch[self._input] = torch.zeros(()).expand(len(clips), longest)
        return batch


class CachedActivations(nn.Module):
    """A module in place of a frozen module: it computes the output from stored activations.

    `states` have the shape (batch, states, frames, size), and `mask` (batch, frames).
    """

    def __init__(self, compute: Callable[["CachedActivations"], Any]):
        super().__init__()
        self.compute = compute
        self.states = None
        self.mask = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the frozen module, whatever the input."""
        return self.compute(self)


def _encoder_output(activations: CachedActivations) -> BaseModelOutputWithPooling:
    """The output of an encoder of transformers."""
    states = activations.states.unbind(dim=1)
    return BaseModelOutputWithPooling(last_hidden_state=states[-1], hidden_states=states)


def _features(activations: CachedActivations) -> tuple[torch.Tensor, torch.Tensor]:
    """The output of a front end: features (batch, frames, size) and their mask."""
    return activations.states[:, 0], activations.mask


def _vectors(activations: CachedActivations) -> torch.Tensor:
    """The output of an encoder that returns one vector per clip, (batch, size)."""
    return activations.states[:, 0, 0]


def _no_features(activations: CachedActivations) -> tuple[torch.Tensor, torch.Tensor]:
    """Empty features in place of a front end whose output the cached encoder does not use."""
    return activations.states.new_zeros(len(activations.states), 1, 1), activations.mask


def replace_frozen(
    model: PreTrainedModel, cached: CachedModule
) -> "Replacement | LayerReplacement":
    """Let a model compute from stored activations, until `restore` of the result."""
    if cached.kind == "layers":
        return LayerReplacement(model, cached)
    return Replacement(model, cached)


class Replacement:
    """Replaces frozen modules by `CachedActivations` until `restore`.

    Tensors of other modules keep their names.
    """

    def __init__(self, model: PreTrainedModel, cached: CachedModule):
        self.model = model
        self._replaced: dict[str, nn.Module] = {}
        self._handle = model.register_forward_pre_hook(self._set_activations, with_kwargs=True)

        if cached.kind == "encoder":
            activations = self._replace(cached.module, _encoder_output)
            # Heads of transformers call this method of the model, and our head that of the encoder.
            for owner in (model, activations):
                setattr(owner, FRAME_MASK, lambda *args: activations.mask)
        elif cached.kind == "network":
            self._replace("front_end", _no_features)
            # The encoder of CNN14 returns one vector per clip.
            one_vector = isinstance(model.encoder, CNN14Encoder)
            self._replace(cached.module, _vectors if one_vector else _features)
        else:
            self._replace(cached.module, _features)

    def restore(self) -> None:
        """Put the modules back, on the device of the model."""
        device = self.model.device
        self._handle.remove()
        for name, module in self._replaced.items():
            self.model.set_submodule(name, module)
        vars(self.model).pop(FRAME_MASK, None)
        self.model.to(device)

    def _set_activations(
        self, model: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        # The activations stay until the next batch, because gradient checkpointing runs layers
        # again in the backward pass.
        kwargs = dict(kwargs)
        states = kwargs.pop(STATES).float()
        frames = kwargs.pop(FRAMES)
        mask = torch.arange(states.shape[2], device=frames.device) < frames[:, None]
        for name in self._replaced:
            activations = self.model.get_submodule(name)
            activations.states = states
            activations.mask = mask
        return args, kwargs

    def _replace(self, name: str, compute: Callable[[CachedActivations], Any]) -> CachedActivations:
        self._replaced[name] = self.model.get_submodule(name)
        activations = CachedActivations(compute)
        self.model.set_submodule(name, activations)
        return activations
