"""The FAST strategy (`freeze.cache`): what is frozen is computed once, into a store, and what learns trains on that.

While it trains, the model has stand-ins in place of what is frozen, and batches bring what was kept of their clips.
Checkpoints hold what is left then. Afterwards the model is whole again, and is judged by its real forward pass.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import BatchFeature, PreTrainedModel, Trainer

from ..audio import WaveformStore
from ..utils.cache import format_size
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .checkpoints import shards
from .data import Collator, labels_of
from .encoders import encoder_config
from .feature_store import FrozenStore, Piece, open_frozen
from .freezing import Freezing, freeze
from .frozen_parts import FrozenPart, fixed_length, frozen_part, hears_waveforms
from .frozen_replay import FRAMES, REAL, STATES, Replay

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FrozenCache:
    """What `fit` is told of caching.

    Args:
        freezing: what never learns.
        cache_dir: where stores live (default: see `ser_hf.utils.cache.cache_root`).
        others: parts that are computed along, whole or of `fixed_crops`: those of other folds, so that all folds open
            one store.
    """

    freezing: Freezing
    cache_dir: str | Path | None = None
    others: Sequence[Dataset] = ()


class Cached:
    """A model that learns from a store in place of what is frozen, until `end`.

    Args:
        model: frozen as the cache says.
        collator: makes batches of waveforms; the one for judging afterwards too.
        train, validation: parts whose clips are not cropped at random (`fixed_crops`).

    Raises:
        UserError: naming the key, if what is frozen cannot be cached.
        ValueError: if clips are to be augmented.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        cache: FrozenCache,
        collator: Collator,
        train: Dataset,
        validation: Dataset,
        arguments: EmotionTrainingArguments,
    ):
        if collator.changes.augmenter or collator.changes.mixing:
            raise ValueError("what is computed once cannot be augmented")
        if shards():
            raise UserError(f"freeze.cache: {shards()} shares out what is frozen as well; launch without it")
        freeze(model, cache.freezing)
        part = frozen_part(model, cache.freezing)
        _tell_crops(train, collator.store)
        model.to(arguments.device)
        pieces = [piece for own in (train, validation, *cache.others) for piece in pieces_of(own)]
        store, seconds = open_frozen(
            model, part, collator, pieces, arguments.per_device_eval_batch_size, cache.cache_dir
        )
        self._waveforms = collator
        self.collator = FrozenCollator(store, model, part, collator.epoch)
        self._replay = Replay(model, part)
        self.facts = {"cached": part.told, "clips": len(store), "bytes": store.bytes, "seconds": seconds}
        logger.info("%s of %d clips ready in %.1f s", format_size(store.bytes), len(store), seconds)

    def end(self, trainer: Trainer) -> None:
        """Makes the model whole, and the trainer one that judges waveforms."""
        self._replay.restore()
        trainer.collator = trainer.data_collator = self._waveforms


def fixed_crops(part: Dataset, store: WaveformStore) -> Dataset:
    """A part to learn from whose clips, where they are too long, are always cropped at the same place: one that the
    recording itself decides, whatever the seed and the fold."""
    columns = part.to_dict()
    starts = []
    for row, start, limit in zip(columns["row"], columns["start"], columns["max_samples"], strict=True):
        over = int(store.lengths[row]) - limit
        if limit and over > 0:
            start = int(np.random.default_rng(list(store.content_hashes[row].encode())).integers(over + 1))
        starts.append(start)
    return Dataset.from_dict(columns | {"start": starts, "max_samples": [0] * len(starts)})


def _tell_crops(train: Dataset, store: WaveformStore) -> None:
    lengths = np.asarray(train["length"][:])
    longer = int((store.lengths[train["row"][:]] > lengths).sum())
    if longer:
        logger.info(
            "%d of %d training clips are longer than %.2f s: each is cropped at one place, the same in every epoch",
            *(longer, len(train), lengths.max() / store.sampling_rate),
        )


def pieces_of(part: Dataset) -> list[Piece]:
    return list(zip(part["row"][:], part["start"][:], part["length"][:], strict=True))


class FrozenCollator:
    """Batches of what was kept of clips, beside inputs of the right shape, a mask and labels.

    Args:
        clock: the epoch, which whoever reads clips is told; of no account here, where nothing is drawn.
    """

    def __init__(self, store: FrozenStore, model: PreTrainedModel, part: FrozenPart, clock: torch.Tensor):
        self.store, self.epoch = store, clock
        self._input = model.main_input_name
        config = encoder_config(model.config)
        self._waveforms, self._fixed = hears_waveforms(model.config), fixed_length(model.config)
        self._encoder = part.where is not None
        # For a span of SpecAugment, which masks what leaves the stem, to fit in.
        masks = part.kind == "stem" and not self._fixed and config.mask_time_prob
        self._least = config.mask_time_length if masks else 1

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> BatchFeature:
        pieces = [(clip["row"], clip["start"], clip["length"]) for clip in clips]
        kept = [self.store[piece] for piece in pieces]
        real = np.asarray([self.store.real(piece) for piece in pieces])
        frames = np.asarray([states.shape[1] for states in kept])
        longest = max(int(frames.max()), self._least if training else 1)
        states = np.zeros((len(kept), self.store.states, longest, self.store.size), dtype=self.store.dtype)
        for i, own in enumerate(kept):
            states[i, :, : own.shape[1]] = own
        batch = {STATES: states, FRAMES: frames, REAL: real, "labels": labels_of(clips)}
        batch = BatchFeature({name: torch.from_numpy(values) for name, values in batch.items()})
        shape = [1]
        if self._encoder:
            width = int(real.max())
            shape = self.store.inputs if self._fixed else [width, *self.store.inputs[1:]]
            if self._waveforms or self.store.mask:
                width = self.store.mask[0] if self._fixed else width
                batch["attention_mask"] = (torch.arange(width) < batch[REAL][:, None]).long()
        # Only the shape of the inputs counts, which takes no memory.
        batch[self._input] = torch.zeros(()).expand(len(clips), *shape)
        return batch
