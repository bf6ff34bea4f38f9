"""From rows to batches: parts as tiny datasets of row numbers, waveforms read from the store when a batch is made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..audio import WaveformStore


def part(dataset: Dataset, rows: Sequence[int], store: WaveformStore, max_duration: float | None = None) -> Dataset:
    """The clips of one part as the Trainer takes them: `row`, `labels`, `length` and `max_samples` (0: whole clips).

    Sorted by length, so that evaluation, which walks in order, pads little; training shuffles anyway.
    """
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    lengths = store.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    rows = np.asarray(rows)[order]
    lengths = lengths[order]
    labels = np.asarray(dataset["label"][:])[rows]
    return Dataset.from_dict(
        {
            "row": rows,
            "labels": labels,
            "length": np.minimum(lengths, limit) if limit else lengths,
            "max_samples": np.full(len(rows), limit),
        }
    )


class Collator:
    """Reads waveforms, crops those over `max_samples` at a random place, and pads them by the feature extractor."""

    def __init__(self, store: WaveformStore, extractor: SequenceFeatureExtractor):
        self.store, self.extractor = store, extractor

    def __call__(self, clips: list[dict[str, Any]]) -> BatchFeature:
        waveforms = [_crop(self.store[clip["row"]], clip["max_samples"]) for clip in clips]
        batch = self._extract(waveforms)
        batch["labels"] = torch.tensor([clip["labels"] for clip in clips])
        return batch

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Extractors that compute features know the length their model wants (Whisper: 30 s).
            return self.extractor(waveforms, sampling_rate=rate, return_tensors="pt")
        # Each clip by itself: without a mask this extractor would normalise over the padding too, and a clip's
        # amplitude would depend on its neighbours in the batch.
        alone = [self.extractor(waveform, sampling_rate=rate)["input_values"][0] for waveform in waveforms]
        return self.extractor.pad(BatchFeature({"input_values": alone}), padding=True, return_tensors="pt")


def _crop(waveform: np.ndarray, limit: int) -> np.ndarray:
    if not limit or len(waveform) <= limit:
        return waveform
    # torch's generator, because the Trainer seeds it and restores it on resuming, in workers too.
    start = int(torch.randint(len(waveform) - limit + 1, ()))
    return waveform[start : start + limit]
