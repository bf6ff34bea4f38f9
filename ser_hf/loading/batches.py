"""Divides long clips into windows, batches the windows, and merges their predictions per clip."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

# The most samples in an evaluation batch, per clip of its largest size. Longer clips are evaluated
# in smaller batches: 2 s at 16 kHz are as long as a short utterance.
SAMPLES_A_CLIP = 32_000


def window_bounds(samples: int, window: int) -> list[tuple[int, int]]:
    """Divide a clip of `samples` into the fewest windows of at most `window` samples each.

    Returns (start, length) of each window in samples. Windows are consecutive, and their lengths
    are equal up to one sample.
    """
    count = max(1, math.ceil(samples / window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def batches(
    lengths: Sequence[int], size: int, padding_safe: bool, most: float = math.inf
) -> Iterator[tuple[int, int]]:
    """Divide windows that are sorted by length into batches; yields (begin, end) of each batch.

    Args:
        lengths: number of samples of each window, ascending.
        size: the largest number of windows in a batch.
        padding_safe: False for a model whose predictions change with padding; all windows in a
            batch then have the same length.
        most: the largest number of samples in a batch, padding included.
    """
    begin = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or end - begin == size or lengths[end] * (end + 1 - begin) > most:
            full = True
        else:
            full = not padding_safe and lengths[end] != lengths[begin]
        if full:
            yield begin, end
            begin = end


def longest_first(
    lengths: Sequence[int], size: int, padding_safe: bool, most: float = math.inf
) -> list[list[int]]:
    """The same batches from the last to the first: the indices of the windows of each batch.

    Memory that a batch frees is reused for the following batches, which are not longer. In the
    order of rising lengths each batch would need a little more than what the batches before it have
    freed, and the memory of the process would grow to several times that of a batch.
    """
    bounds = list(batches(lengths, size, padding_safe, most))
    return [list(range(begin, end)) for begin, end in reversed(bounds)]


def original_positions(batches_of_windows: Sequence[Sequence[int]]) -> np.ndarray:
    """The position of each window in the outputs of these batches, (windows,), to reorder them."""
    return np.argsort(np.concatenate(batches_of_windows))


@dataclasses.dataclass(frozen=True)
class WindowLogits:
    """Logits (windows, classes), with the row number and the length in samples of each window."""

    rows: Sequence[int]
    lengths: Sequence[int]
    logits: np.ndarray

    def only(self, chosen: np.ndarray) -> "WindowLogits":
        """Select windows by a mask, (windows,) bool."""
        rows = np.asarray(self.rows)[chosen]
        return WindowLogits(rows, np.asarray(self.lengths)[chosen], self.logits[chosen])

    def merged(self, problem_type: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Merge the windows of each clip; returns rows (clips,) and logits (clips, classes)."""
        return merge(self.rows, self.lengths, self.logits, problem_type)


def first_indices(rows: Sequence[int]) -> np.ndarray:
    """The index of the first window of each clip, (clips,), ascending."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray, problem_type: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of each clip's windows, weighted by duration.

    For classes, the result is the logarithm of the mean probabilities. For
    ``multi_label_classification``, each label is merged in this way on its own. For dimensions
    (``regression``), the result is the mean value.

    Args:
        rows: row number of each window, (windows,).
        lengths: samples of each window, (windows,).
        logits: (windows, classes).

    Returns:
        Row numbers (clips,), each once, and logits (clips, classes). The logits of a clip with a
        single window do not change.
    """
    if problem_type == "multi_label_classification":
        return _merge_labels(rows, lengths, logits)

    rows = np.asarray(rows)
    lengths = np.asarray(lengths, dtype=np.float64)
    first = first_indices(rows)
    clips = rows[first]
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged

    for clip in np.flatnonzero(np.bincount(rows) > 1):
        is_window_of_clip = rows == clip
        shares = lengths[is_window_of_clip] / lengths[is_window_of_clip].sum()
        window_logits = logits[is_window_of_clip]
        if problem_type == "regression":
            merged[clips == clip] = shares @ window_logits
        else:
            log_probabilities = log_softmax(window_logits.astype(np.float64), axis=1)
            merged[clips == clip] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return clips, merged


def _merge_labels(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of independent labels: each label against its absence."""
    columns = []
    for label_logits in logits.T:
        absent_and_present = np.stack([np.zeros_like(label_logits), label_logits], axis=1)
        clips, merged = merge(rows, lengths, absent_and_present)
        columns.append(merged[:, 1] - merged[:, 0])
    return clips, np.stack(columns, axis=1)


class ClipCollator:
    """Loads the windows of clips, and makes a padded batch of them with the feature extractor.

    A clip is a mapping with `row`, `start` and `length` (samples), and `labels` or `shares`.

    Args:
        store: waveforms float32 (samples,) by row.
        shortest: smallest number of samples of a clip; silence is added to shorter clips, because
            published models require this length.
    """

    def __init__(
        self,
        store: Mapping[int, np.ndarray] | Sequence[np.ndarray],
        extractor: SequenceFeatureExtractor,
        shortest: int = 0,
    ):
        self.store = store
        self.extractor = extractor
        self.shortest = shortest

    def __call__(self, clips: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The inputs of the model for a batch of clips, with their `labels`."""
        waveforms = [self.lengthened(self.window(clip)) for clip in clips]
        return {**self.extract(waveforms), "labels": torch.from_numpy(labels_of(clips))}

    def window(self, clip: dict[str, Any]) -> np.ndarray:
        """The waveform of a clip's window."""
        return self.store[clip["row"]][clip["start"] : clip["start"] + clip["length"]]

    def lengthened(self, waveform: np.ndarray) -> np.ndarray:
        """Add silence at the end of a waveform that is shorter than the model needs."""
        missing_samples = self.shortest - len(waveform)
        return np.pad(waveform, (0, missing_samples)) if missing_samples > 0 else waveform

    def extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        """Apply the feature extractor to the waveforms of a batch."""
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # The arrays of the store are read-only, which torch warns about: copy them.
            writable = [np.array(waveform) for waveform in waveforms]
            return self.extractor(writable, sampling_rate=rate, return_tensors="pt")
        # Extract each clip separately: without a mask this extractor would also normalize over
        # the padding, and the amplitude of a clip would depend on the other clips in the batch.
        values = [
            self.extractor(waveform, sampling_rate=rate)["input_values"][0]
            for waveform in waveforms
        ]
        return self.extractor.pad(
            BatchFeature({"input_values": values}), padding=True, return_tensors="pt"
        )


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """The targets of a batch.

    Classes have ids (batch,), soft labels have shares (batch, classes), and dimensions have
    values (batch, dimensions).
    """
    if "shares" in clips[0]:
        return np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    return np.asarray([clip["labels"] for clip in clips])
