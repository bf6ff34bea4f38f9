"""Windows of long clips, batches of them, and one prediction a clip from its windows."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from transformers import BatchFeature, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor


def pieces(samples: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the fewest consecutive windows of a clip, of equal length.

    Each has at most `window` samples.
    """
    count = max(1, math.ceil(samples / window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def batches(
    lengths: Sequence[int], size: int, padding_safe: bool, most: float = math.inf
) -> Iterator[tuple[int, int]]:
    """(begin, end) of batches of windows that are sorted by length.

    Args:
        lengths: samples of each window, ascending.
        size: the most windows of a batch.
        padding_safe: False for a model whose predictions change with padding; its batches hold
            windows of one length.
        most: the most samples of a batch, padding included.
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


@dataclasses.dataclass(frozen=True)
class WindowLogits:
    """The logits of windows, (windows, classes), with the row number and samples of each window."""

    rows: Sequence[int]
    lengths: Sequence[int]
    logits: np.ndarray

    def merged(self, problem_type: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers (clips,) and logits (clips, classes); see `merge`."""
        return merge(self.rows, self.lengths, self.logits, problem_type)


def firsts(rows: Sequence[int]) -> np.ndarray:
    """Index of the first entry of each row number, in their order, (clips,)."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray, problem_type: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of each clip's windows, weighted by duration.

    Of classes the result is the logarithm of the mean probabilities; of several labels
    (``multi_label_classification``) the same for each label by itself; of dimensions
    (``regression``) the mean value.

    Args:
        rows: row number of each window, (windows,).
        lengths: samples of each window, (windows,).
        logits: (windows, classes).

    Returns:
        Row numbers (clips,), each once, and logits (clips, classes); a single window keeps its
        logits.
    """
    if problem_type == "multi_label_classification":
        return _merge_labels(rows, lengths, logits)

    rows = np.asarray(rows)
    lengths = np.asarray(lengths, dtype=np.float64)
    first = firsts(rows)
    clips = rows[first]
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged

    for clip in np.flatnonzero(np.bincount(rows) > 1):
        of_clip = rows == clip
        shares = lengths[of_clip] / lengths[of_clip].sum()
        if problem_type == "regression":
            merged[clips == clip] = shares @ logits[of_clip]
        else:
            log_probabilities = log_softmax(logits[of_clip].astype(np.float64), axis=1)
            merged[clips == clip] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return clips, merged


def _merge_labels(
    rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the logits of labels that do not exclude each other: each label against its absence."""
    columns = []
    for label_logits in logits.T:
        absent_and_present = np.stack([np.zeros_like(label_logits), label_logits], axis=1)
        clips, merged = merge(rows, lengths, absent_and_present)
        columns.append(merged[:, 1] - merged[:, 0])
    return clips, np.stack(columns, axis=1)


class ClipCollator:
    """Loads the windows of clips, and pads them to a batch with the feature extractor.

    A clip is a mapping with `row`, `start` and `length` (samples), and `labels` or `shares`.

    Args:
        store: waveforms float32 (samples,) by row.
        shortest: samples; silence is added to shorter clips, as published models require it.
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
        """The inputs of a model, and `labels`."""
        waveforms = [self.lengthened(self.window(clip)) for clip in clips]
        return {**self.extract(waveforms), "labels": torch.from_numpy(labels_of(clips))}

    def window(self, clip: dict[str, Any]) -> np.ndarray:
        """The waveform of a clip's window."""
        return self.store[clip["row"]][clip["start"] : clip["start"] + clip["length"]]

    def lengthened(self, waveform: np.ndarray) -> np.ndarray:
        """The waveform with silence after it, if it is shorter than the model needs."""
        lacking = self.shortest - len(waveform)
        return np.pad(waveform, (0, lacking)) if lacking > 0 else waveform

    def extract(self, waveforms: list[np.ndarray]) -> BatchFeature:
        """Apply the feature extractor to the waveforms of a batch."""
        rate = self.extractor.sampling_rate
        if not isinstance(self.extractor, Wav2Vec2FeatureExtractor):
            # Copies: torch warns of arrays that are read-only, as the store's are.
            writable = [np.array(waveform) for waveform in waveforms]
            return self.extractor(writable, sampling_rate=rate, return_tensors="pt")
        # Each clip by itself: without a mask this extractor would normalize over the padding too,
        # and a clip's amplitude would depend on its neighbours in the batch.
        values = [
            self.extractor(waveform, sampling_rate=rate)["input_values"][0]
            for waveform in waveforms
        ]
        return self.extractor.pad(
            BatchFeature({"input_values": values}), padding=True, return_tensors="pt"
        )


def labels_of(clips: list[dict[str, Any]]) -> np.ndarray:
    """The targets of a batch.

    Class ids (batch,); of soft labels shares (batch, classes); of dimensions values (batch,
    dimensions).
    """
    if "shares" in clips[0]:
        return np.asarray([clip["shares"] for clip in clips], dtype=np.float32)
    return np.asarray([clip["labels"] for clip in clips])
