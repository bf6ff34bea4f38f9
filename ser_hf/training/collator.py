"""The collator for training, which crops, augments and mixes the clips of a batch."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, PreTrainedConfig, SequenceFeatureExtractor

from ..audio import WaveformStore
from ..loading.batches import ClipCollator, labels_of
from ..loading.encoders import lengths_needed
from ..models.preparation import fix_length

# A function that changes a waveform, float32 (samples,). Arguments: waveform, generator, row.
Augment = Callable[[np.ndarray, np.random.Generator, int], np.ndarray]
# A function that mixes the clips of a batch. Arguments: waveforms, rows, labels, generator.
# Result: mixed waveforms, and shares (batch, classes).
Mixer = Callable[
    [Sequence[np.ndarray], Sequence[int], np.ndarray, np.random.Generator],
    tuple[list[np.ndarray], np.ndarray],
]


@dataclasses.dataclass(frozen=True)
class TrainTransforms:
    """The changes that are made to training clips.

    Args:
        augmenter: changes each waveform.
        mixing: mixes the clips of a batch.
        fixed_length: number of samples to which augmented clips are cut or padded; 0 for any
            length.
    """

    augmenter: Augment | None = None
    mixing: Mixer | None = None
    fixed_length: int = 0


_UNCHANGED = TrainTransforms()


class Collator(ClipCollator):
    """Loads waveforms, crops those longer than `max_samples` at random, and makes a padded batch.

    Training clips are also augmented before the crop, and mixed before the feature extractor; with
    mixup, labels are shares (batch, classes). Random numbers depend only on seed, epoch and clip,
    so they do not change with the number of workers or after an interruption. The Trainer sets
    `epoch`, which is in shared memory.

    Example: `Trainer(model, args, data_collator=ser_hf.Collator(store, extractor))`

    Args:
        shortest: smallest number of samples of a clip; silence is added to shorter clips, because
            published models require this length.
        shortest_batch: smallest number of samples of a training batch; shorter batches are padded,
            and the mask excludes the padding.
    """

    def __init__(
        self,
        store: WaveformStore,
        extractor: SequenceFeatureExtractor,
        seed: int = 0,
        shortest: int = 0,
        shortest_batch: int = 0,
        transforms: TrainTransforms | None = None,
    ):
        super().__init__(store, extractor, shortest)
        self.seed = seed
        self.shortest_batch = shortest_batch
        self.transforms = transforms or _UNCHANGED
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @classmethod
    def for_model(
        cls,
        config: PreTrainedConfig,
        store: WaveformStore,
        extractor: SequenceFeatureExtractor,
        seed: int = 0,
        transforms: TrainTransforms | None = None,
    ) -> "Collator":
        """The collator that makes clips and batches as long as a model with `config` needs."""
        shortest, shortest_batch = lengths_needed(config)
        return cls(store, extractor, seed, shortest, shortest_batch, transforms)

    def __call__(
        self, clips: list[dict[str, Any]], training: bool = False
    ) -> dict[str, torch.Tensor]:
        """The inputs of the model for a batch of clips, with their `labels`.

        With `training`, the clips are augmented and mixed.
        """
        transforms = self.transforms if training else _UNCHANGED
        waveforms = [self._read(clip, transforms) for clip in clips]
        labels = labels_of(clips)
        if transforms.mixing is not None:
            rows = [clip.get("row", 0) for clip in clips]
            copies = [clip.get("copy", 0) for clip in clips]
            generator = self._generator(*rows, *copies)
            waveforms, labels = transforms.mixing(waveforms, rows, labels, generator)
        least = self.shortest_batch if training else 0
        batch = self._extract_padded(waveforms, least)
        return {**batch, "labels": torch.from_numpy(labels)}

    def _generator(self, *numbers: int) -> np.random.Generator:
        """A random generator that depends on the seed, the epoch and these numbers."""
        return np.random.default_rng((self.seed, int(self.epoch), *numbers))

    def _read(self, clip: dict[str, Any], transforms: TrainTransforms) -> np.ndarray:
        """The waveform of a clip: augmented, then cropped to `max_samples` at random."""
        generator = self._generator(clip["row"], clip.get("copy", 0))
        limit = clip["max_samples"]
        waveform = self.store[clip["row"]] if limit else self.window(clip)
        if transforms.augmenter is not None:
            waveform = transforms.augmenter(waveform, generator, clip["row"])
            if transforms.fixed_length:
                waveform = fix_length(waveform, transforms.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        return self.lengthened(waveform)

    def _extract_padded(self, waveforms: list[np.ndarray], least: int) -> BatchFeature:
        """Apply the feature extractor, so that the padded batch has at least `least` samples."""
        if max(map(len, waveforms)) >= least:
            return self.extract(waveforms)
        # Add a silent clip of this length, so that the extractor pads the others and masks the
        # padding. Then remove the silent clip.
        batch = self.extract([*waveforms, np.zeros(least, dtype=np.float32)])
        return BatchFeature({name: values[:-1] for name, values in batch.items()})
