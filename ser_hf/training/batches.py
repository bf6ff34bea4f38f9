"""From rows to batches: parts as tiny datasets of row numbers, waveforms read from the store when a batch is made."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..audio import WaveformStore
from ..errors import UserError
from ..models.preparation import fix_length
from .mixing import Mixing, one_hot
from .sampling import UNCOUNTED
from .windows import pieces


def part(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
) -> Dataset:
    """The clips of one part as the Trainer takes them: `row`, `labels`, `start`, `length` and `max_samples`.

    Sorted by length, so that evaluation, which walks in order, pads little; training shuffles anyway. With
    `soft_labels` a column `shares` holds the raters' votes, one number a class, which then are the batch's labels.

    Args:
        max_duration: seconds; of longer clips a piece is learnt from, another in each epoch (`max_samples`; 0 is whole
            clips).
        window: samples; longer clips are judged in pieces of at most that (`ser_hf.training.windows`), entries of one
            `row` that begin at `start`. Not with `max_duration`, of which nothing could be judged.

    Raises:
        UserError: if a clip has no votes to learn from.
    """
    if max_duration is not None and window is not None:
        raise ValueError("max_duration is for learning and window for judging")
    limit = 0 if max_duration is None else round(max_duration * store.sampling_rate)
    rows, lengths = np.asarray(rows, dtype=np.int64), store.lengths[rows]
    entries = [
        (row, start, length)
        for row, whole in zip(rows.tolist(), lengths.tolist(), strict=True)
        for start, length in pieces(whole, window or whole or 1)
    ]
    entries.sort(key=lambda entry: entry[2])
    rows, starts, lengths = np.asarray(entries, dtype=np.int64).reshape(-1, 3).T
    columns = {
        "row": rows,
        "labels": np.asarray(dataset["label"][:])[rows],
        "start": starts,
        "length": np.minimum(lengths, limit) if limit else lengths,
        "max_samples": np.full(len(rows), limit),
    }
    if soft_labels:
        columns["shares"] = _votes(dataset, rows)
    # A name by chance: nothing is cached under it, and by its content it takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    for row in rows:
        if votes[row] is None:
            raise UserError(
                f"training.loss.soft_labels: {dataset['id'][int(row)]} has no votes; the corpus must carry them "
                "(CREMA-D: corpus.target and corpus.soft: true)"
            )
    return [votes[row] for row in rows]


@dataclasses.dataclass(frozen=True)
class Changes:
    """What is done to clips that are learnt from, and to no others.

    Args:
        augmenter: waveform float32 (samples,), generator -> waveform (other samples,), as
            `ser_hf.audio.augmenting.Augmenter`; None leaves waveforms alone.
        mixing: mixup of a batch; None does without.
        fixed_length: samples that every clip has by its preparation, to which an augmented one is cut or padded; 0
            where lengths differ.
    """

    augmenter: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    mixing: Mixing | None = None
    fixed_length: int = 0


class Collator:
    """Reads waveforms, crops those over `max_samples` at a random place, and pads them by the feature extractor.

    Only batches to train on (`training`) are changed besides: each clip is augmented whole, so that a crop's place
    varies as ever and nothing gets longer than `max_samples`, and the waveforms of the batch are mixed at the end,
    before any extractor hears of them. With mixup the labels of every such batch are shares (batch, classes).

    All that is drawn for a clip follows from seed, epoch, row and copy alone, and what is drawn for a batch from seed,
    epoch and its clips: it is the same for any number of workers, and after an interruption. `epoch` is shared with
    workers, and set by the Trainer. Augmentation runs where batches are made: in the training's own process unless
    there are workers (`training.dataloader_num_workers`), which then work ahead of it.

    Args:
        shortest: samples; shorter clips get silence after them before the extractor hears of it, which then counts as
            theirs: they become the clips that one who asks a published model has to make of them.
        shortest_batch: samples that a batch to train on is padded to at least; a mask leaves this padding out.
        changes: what is done to clips of batches to train on.
    """

    def __init__(
        self,
        store: WaveformStore,
        extractor: SequenceFeatureExtractor,
        seed: int = 0,
        shortest: int = 0,
        shortest_batch: int = 0,
        changes: Changes | None = None,
    ):
        self.store, self.extractor, self.seed = store, extractor, seed
        self.shortest, self.shortest_batch = shortest, shortest_batch
        self.changes = changes or Changes()
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> BatchFeature:
        changes = self.changes if training else Changes()
        waveforms, labels = [self._read(clip, changes) for clip in clips], labels_of(clips)
        if changes.mixing:
            waveforms, labels = self._mix(changes.mixing, clips, waveforms, labels)
        least = self.shortest_batch if training else 0
        if max(map(len, waveforms)) < least:
            # A silent clip of that length joins the batch and leaves it again: how padding is made and masked is the
            # extractor's matter.
            batch = self._extract([*waveforms, np.zeros(least, dtype=np.float32)])
            batch = BatchFeature({name: values[:-1] for name, values in batch.items()})
        else:
            batch = self._extract(waveforms)
        batch["labels"] = torch.from_numpy(labels)
        return batch

    def _read(self, clip: dict[str, Any], changes: Changes) -> np.ndarray:
        waveform, limit = self.store[clip["row"]], clip["max_samples"]
        generator = np.random.default_rng((self.seed, int(self.epoch), clip["row"], clip.get("copy", 0)))
        if not limit:
            waveform = waveform[clip["start"] : clip["start"] + clip["length"]]
        if changes.augmenter:
            waveform = changes.augmenter(waveform, generator)
            if changes.fixed_length:
                waveform = fix_length(waveform, changes.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        lacking = self.shortest - len(waveform)
        return np.pad(waveform, (0, lacking)) if lacking > 0 else waveform

    def _mix(
        self, mixing: Mixing, clips: list[dict[str, Any]], waveforms: list[np.ndarray], labels: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        rows, copies = ([clip.get(name, 0) for clip in clips] for name in ("row", "copy"))
        generator = np.random.default_rng((self.seed, int(self.epoch), *rows, *copies))
        shares = labels if labels.ndim == 2 else one_hot(labels, mixing.classes)
        return mixing(waveforms, rows, shares, generator)

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Extractors that compute features know the length their model wants (Whisper: 30 s). Theirs are copies:
            # torch warns of arrays that may not be written to, as the store's may not.
            return self.extractor(
                [np.array(waveform) for waveform in waveforms], sampling_rate=rate, return_tensors="pt"
            )
        # Each clip by itself: without a mask this extractor would normalise over the padding too, and a clip's
        # amplitude would depend on its neighbours in the batch.
        alone = [self.extractor(waveform, sampling_rate=rate)["input_values"][0] for waveform in waveforms]
        return self.extractor.pad(BatchFeature({"input_values": alone}), padding=True, return_tensors="pt")


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """Class ids (batch,), or shares (batch, classes) where raters' votes are learnt; `UNCOUNTED` in either form."""
    labels = np.asarray([clip["labels"] for clip in clips])
    if "shares" not in clips[0]:
        return labels
    shares = np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    shares[labels == UNCOUNTED] = UNCOUNTED
    return shares
