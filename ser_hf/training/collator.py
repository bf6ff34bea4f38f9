"""The collator of training: random crops, augmentation and mixup of the clips of a batch."""

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

# Changes a waveform float32 (samples,).
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
# Mixes a batch: (waveforms, rows, labels, generator) to waveforms and shares (batch, classes).
Mixer = Callable[
    [Sequence[np.ndarray], Sequence[int], np.ndarray, np.random.Generator],
    tuple[list[np.ndarray], np.ndarray],
]


@dataclasses.dataclass(frozen=True)
class TrainTransforms:
    """Changes to training clips.

    Args:
        augmenter: changes each waveform.
        mixing: mixes the clips of a batch.
        fixed_length: samples to which augmented clips are cut or padded; 0 for any length.
    """

    augmenter: Augment | None = None
    mixing: Mixer | None = None
    fixed_length: int = 0


_UNCHANGED = TrainTransforms()


class Collator(ClipCollator):
    """Loads waveforms, crops those over `max_samples` at random, and pads them to a batch.

    Training batches are also augmented before the crop and mixed before the feature extractor; with
    mixup, labels are shares (batch, classes). Random numbers depend on seed, epoch and clip only:
    they do not change with the number of workers or after an interruption. `epoch` is shared
    memory, set by the Trainer.

    Example: `Trainer(model, args, data_collator=ser_hf.Collator(store, extractor))`

    Args:
        shortest: samples; silence is added to shorter clips, as published models require it.
        shortest_batch: samples to which training batches are padded; the mask leaves this padding
            out.
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
        """The collator whose clips and batches are as long as a model of this kind needs them."""
        shortest, shortest_batch = lengths_needed(config)
        return cls(store, extractor, seed, shortest, shortest_batch, transforms)

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> dict[str, Any]:
        """The inputs of a model, and `labels`; `training` batches are augmented and mixed."""
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
        return np.random.default_rng((self.seed, int(self.epoch), *numbers))

    def _read(self, clip: dict[str, Any], transforms: TrainTransforms) -> np.ndarray:
        """The waveform of a clip: augmented, then cropped to `max_samples` at random."""
        generator = self._generator(clip["row"], clip.get("copy", 0))
        limit = clip["max_samples"]
        waveform = self.store[clip["row"]] if limit else self.window(clip)
        if transforms.augmenter is not None:
            waveform = transforms.augmenter(waveform, generator)
            if transforms.fixed_length:
                waveform = fix_length(waveform, transforms.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        return self.lengthened(waveform)

    def _extract_padded(self, waveforms: list[np.ndarray], least: int) -> BatchFeature:
        """Apply the feature extractor; the batch has at least `least` samples."""
        if max(map(len, waveforms)) >= least:
            return self.extract(waveforms)
        # The extractor pads and masks: a silent clip of that length joins the batch and leaves it
        # again.
        batch = self.extract([*waveforms, np.zeros(least, dtype=np.float32)])
        return BatchFeature({name: values[:-1] for name, values in batch.items()})
