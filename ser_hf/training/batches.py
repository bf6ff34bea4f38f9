"""From rows to batches: parts as tiny datasets of row numbers, waveforms read from the store when a batch is made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..audio import WaveformStore
from ..errors import UserError
from .sampling import UNCOUNTED


def part(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
) -> Dataset:
    """The clips of one part as the Trainer takes them: `row`, `labels`, `length` and `max_samples` (0: whole clips).

    Sorted by length, so that evaluation, which walks in order, pads little; training shuffles anyway. With
    `soft_labels` a column `shares` holds the raters' votes, one number a class, which then are the batch's labels.

    Raises:
        UserError: if a clip has no votes to learn from.
    """
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    lengths = store.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    rows = np.asarray(rows)[order]
    lengths = lengths[order]
    labels = np.asarray(dataset["label"][:])[rows]
    columns = {
        "row": rows,
        "labels": labels,
        "length": np.minimum(lengths, limit) if limit else lengths,
        "max_samples": np.full(len(rows), limit),
    }
    if soft_labels:
        columns["shares"] = _votes(dataset, rows)
    return Dataset.from_dict(columns)


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    for row in rows:
        if votes[row] is None:
            raise UserError(
                f"training.loss.soft_labels: {dataset['id'][int(row)]} has no votes; the corpus must carry them "
                "(CREMA-D: corpus.target and corpus.soft: true)"
            )
    return [votes[row] for row in rows]


class Collator:
    """Reads waveforms, crops those over `max_samples` at a random place, and pads them by the feature extractor.

    The place follows from seed, epoch and clip alone: it is the same for any number of workers and processes, and
    after an interruption. `epoch` is shared with workers, and set by the Trainer.
    """

    def __init__(self, store: WaveformStore, extractor: SequenceFeatureExtractor, seed: int = 0):
        self.store, self.extractor, self.seed = store, extractor, seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self, clips: list[dict[str, Any]]) -> BatchFeature:
        waveforms = [self._crop(clip["row"], clip["max_samples"]) for clip in clips]
        batch = self._extract(waveforms)
        batch["labels"] = torch.tensor([clip["labels"] for clip in clips])
        if "shares" in clips[0]:
            shares = torch.tensor([clip["shares"] for clip in clips])
            shares[batch["labels"] == UNCOUNTED] = UNCOUNTED
            batch["labels"] = shares
        return batch

    def _crop(self, row: int, limit: int) -> np.ndarray:
        waveform = self.store[row]
        if not limit or len(waveform) <= limit:
            return waveform
        start = np.random.default_rng((self.seed, int(self.epoch), row)).integers(len(waveform) - limit + 1)
        return waveform[start : start + limit]

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Extractors that compute features know the length their model wants (Whisper: 30 s).
            return self.extractor(waveforms, sampling_rate=rate, return_tensors="pt")
        # Each clip by itself: without a mask this extractor would normalise over the padding too, and a clip's
        # amplitude would depend on its neighbours in the batch.
        alone = [self.extractor(waveform, sampling_rate=rate)["input_values"][0] for waveform in waveforms]
        return self.extractor.pad(BatchFeature({"input_values": alone}), padding=True, return_tensors="pt")
