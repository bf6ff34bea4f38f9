"""From clips to batches: tables of clips, windows of long clips, the collator, merged predictions."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable
from scipy.special import log_softmax, logsumexp
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..audio import WaveformStore
from ..corpora.targets import targets_of
from ..models.preparation import fix_length
from ..utils.errors import UserError

# Changes a training batch: (waveforms, rows, labels, generator) to waveforms and shares.
Mixer = Callable[
    [Sequence[np.ndarray], Sequence[int], np.ndarray, np.random.Generator],
    tuple[list[np.ndarray], np.ndarray],
]


def pieces(samples: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the fewest consecutive windows of equal length, each of at most `window`
    samples.
    """
    count = max(1, -(-samples // window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def batches(
    lengths: Sequence[int], size: int, padding_safe: bool, most: float = math.inf
) -> Iterator[tuple[int, int]]:
    """(begin, end) of batches of windows sorted by length: at most `size` windows, and `most`
    samples with padding; windows of one length only for models that are not `padding_safe`, whose
    predictions change with padding."""
    begin = 0
    for end in range(1, len(lengths) + 1):
        full = end == len(lengths) or end - begin == size or lengths[end] * (end + 1 - begin) > most
        if full or not padding_safe and lengths[end] != lengths[begin]:
            yield begin, end
            begin = end


def firsts(rows: Sequence[int]) -> np.ndarray:
    """Index of the first entry of each row number, in their order, (clips,)."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray, problem_type: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of each clip's windows: the logarithm of their mean probabilities, weighted
    by duration; of dimensions (`problem_type` regression) their mean, of several labels
    (multi-label) those of each label's.

    Args:
        rows: row number of each window, (windows,).
        lengths: samples of each window, (windows,).
        logits: (windows, classes).

    Returns:
        Row numbers (clips,), each once, and logits (clips, classes); a single window keeps its
        logits.
    """
    if problem_type == "multi_label_classification":  # each label against its absence
        pairs = [
            merge(rows, lengths, np.stack([np.zeros_like(own), own], axis=1)) for own in logits.T
        ]
        return pairs[0][0], np.stack([pair[:, 1] - pair[:, 0] for _, pair in pairs], axis=1)
    rows = np.asarray(rows)
    lengths = np.asarray(lengths, dtype=np.float64)
    first = firsts(rows)
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged
    for clip in np.flatnonzero(np.bincount(rows) > 1):
        own = rows == clip
        shares = lengths[own] / lengths[own].sum()
        if problem_type == "regression":
            merged[rows[first] == clip] = shares @ logits[own]
            continue
        log_probabilities = log_softmax(logits[own].astype(np.float64), axis=1)
        merged[rows[first] == clip] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return rows[first], merged


def clip_table(
    dataset: Dataset,
    rows: Sequence[int],
    store: WaveformStore,
    max_duration: float | None = None,
    soft_labels: bool = False,
    window: int | None = None,
) -> Dataset:
    """The clips of one split for the Trainer: `row`, `labels`, `start`, `length` and `max_samples`,
    sorted by length.

    A column `shares` holds the targets of dimensions, or with `soft_labels` the votes, one value
    per class, which are used as labels in place of `labels`. Example: `clips =
    ser_hf.clip_table(dataset, split.rows["train"], store, max_duration=3.0)`

    Args:
        max_duration: seconds; longer clips are cropped at random in each epoch (`max_samples`; 0
            for whole clips).
        window: samples; longer clips become several entries of one `row`. Not together with
            `max_duration`.
    """
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
    targets = targets_of(dataset, rows)
    if targets is not None or soft_labels:
        columns["shares"] = _votes(dataset, rows) if targets is None else targets.tolist()
    # A random fingerprint, since computing one from the content takes longer than all the rest.
    return Dataset(InMemoryTable.from_pydict(columns), fingerprint=generate_random_fingerprint())


def _votes(dataset: Dataset, rows: np.ndarray) -> list[list[float]]:
    votes = dataset["votes"][:] if "votes" in dataset.column_names else [None] * len(dataset)
    without = [int(row) for row in rows if votes[row] is None]
    if without:
        raise UserError(
            f"training.loss.soft_labels: {dataset['id'][without[0]]} has no votes, which every clip needs "
            "(CREMA-D: corpus.target and corpus.soft: true)"
        )
    return [votes[row] for row in rows]


@dataclasses.dataclass(frozen=True)
class TrainTransforms:
    """Changes to training clips: `augmenter`, from a waveform float32 (samples,) and a generator to
    a waveform, mixup, and the length in samples to which augmented clips are cut or padded (0 for
    any)."""

    augmenter: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    mixing: Mixer | None = None
    fixed_length: int = 0


class Collator:
    """Loads waveforms, crops those over `max_samples` at random, and pads them with the feature
    extractor.

    Training batches are also augmented before the crop and mixed before the extractor; with mixup,
    labels are shares (batch, classes). Random numbers depend on seed, epoch and clip only: they do
    not change with the number of workers or after an interruption. `epoch` is shared memory, set by
    the Trainer. Example: `Trainer(model, args, data_collator=ser_hf.Collator(store, extractor))`

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
        self.store = store
        self.extractor = extractor
        self.seed = seed
        self.shortest = shortest
        self.shortest_batch = shortest_batch
        self.transforms = transforms or TrainTransforms()
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> dict[str, Any]:
        transforms = self.transforms if training else TrainTransforms()
        waveforms = [self._read(clip, transforms) for clip in clips]
        labels = labels_of(clips)
        if mixing := transforms.mixing:
            rows, copies = ([clip.get(name, 0) for clip in clips] for name in ("row", "copy"))
            generator = np.random.default_rng((self.seed, int(self.epoch), *rows, *copies))
            waveforms, labels = mixing(waveforms, rows, labels, generator)
        least = self.shortest_batch if training else 0
        if max(map(len, waveforms)) < least:
            # The extractor pads and masks: a silent clip of that length joins the batch and leaves
            # it again.
            batch = self._extract([*waveforms, np.zeros(least, dtype=np.float32)])
            batch = BatchFeature({name: values[:-1] for name, values in batch.items()})
        else:
            batch = self._extract(waveforms)
        return {**batch, "labels": torch.from_numpy(labels)}

    def _read(self, clip: dict[str, Any], transforms: TrainTransforms) -> np.ndarray:
        waveform = self.store[clip["row"]]
        limit = clip["max_samples"]
        generator = np.random.default_rng(
            (self.seed, int(self.epoch), clip["row"], clip.get("copy", 0))
        )
        if not limit:
            waveform = waveform[clip["start"] : clip["start"] + clip["length"]]
        if transforms.augmenter:
            waveform = transforms.augmenter(waveform, generator)
            if transforms.fixed_length:
                waveform = fix_length(waveform, transforms.fixed_length)
        if limit and len(waveform) > limit:
            start = generator.integers(len(waveform) - limit + 1)
            waveform = waveform[start : start + limit]
        lacking = self.shortest - len(waveform)
        return np.pad(waveform, (0, lacking)) if lacking > 0 else waveform

    def _extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Copies: torch warns of arrays that are read-only, as the store's are.
            return self.extractor(
                [*map(np.array, waveforms)], sampling_rate=rate, return_tensors="pt"
            )
        # Each clip by itself: without a mask this extractor would normalize over the padding too,
        # and a clip's amplitude would depend on its neighbours in the batch.
        alone = [
            self.extractor(waveform, sampling_rate=rate)["input_values"][0]
            for waveform in waveforms
        ]
        return self.extractor.pad(
            BatchFeature({"input_values": alone}), padding=True, return_tensors="pt"
        )


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """Class ids (batch,); with soft labels shares (batch, classes), of dimensions targets (batch,
    dimensions).
    """
    if "shares" in clips[0]:
        return np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    return np.asarray([clip["labels"] for clip in clips])
