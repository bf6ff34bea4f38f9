"""Clips longer than a model takes, judged piece by piece: where the pieces lie, what becomes of their logits, and what
a reader of the figures is told."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from scipy.special import log_softmax, logsumexp


def pieces(samples: int, window: int) -> list[tuple[int, int]]:
    """(start, length) of the fewest pieces of a clip, one after the other, that are no longer than `window` samples.

    They are equally long, to a sample: a last piece of what is left over would be judged on next to nothing.
    """
    count = max(1, -(-samples // window))
    bounds = [i * samples // count for i in range(count + 1)]
    return [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False)]


def firsts(rows: Sequence[int]) -> np.ndarray:
    """Where each row number stands first, in the order in which they come, shape (clips,)."""
    return np.sort(np.unique(np.asarray(rows), return_index=True)[1])


def merge(rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (clips,), each once, and logits (clips, classes) of judged windows.

    Of several windows: the logarithm of their probabilities' mean, weighted by duration, which the softmax turns into
    that mean again. A single window's logits are left as they are.

    Args:
        rows: row number of each window, shape (windows,); those of one clip may stand anywhere.
        lengths: samples of each window, shape (windows,).
        logits: (windows, classes).
    """
    rows, lengths = np.asarray(rows), np.asarray(lengths, dtype=np.float64)
    first = firsts(rows)
    merged = logits[first]
    if len(first) == len(rows):
        return rows, merged
    clips, clip_of, counts = np.unique(rows, return_inverse=True, return_counts=True)
    for clip in np.flatnonzero(counts > 1):
        own = clip_of == clip
        shares = lengths[own] / lengths[own].sum()
        log_probabilities = log_softmax(logits[own].astype(np.float64), axis=1)
        merged[rows[first] == clips[clip]] = logsumexp(log_probabilities, axis=0, b=shares[:, None])
    return rows[first], merged


def told(
    name: str, part: Dataset, sampling_rate: int, window: int | None, longest: int | None = None, shortest: int = 0
) -> list[str]:
    """Sentences about clips of a part that are not judged as they are; none where all are.

    Args:
        name: of the part ("test").
        part: from `ser_hf.training.batches.part`.
        window: samples, as the part was made with.
        longest: samples that the model can take, None where there is no limit: why there are windows.
        shortest: samples below which silence is added.
    """
    rows = np.asarray(part["row"][:])
    clips, counts = np.unique(rows, return_counts=True)
    sentences = []
    if cut := int((counts > 1).sum()):
        limit = window == longest
        why = "that the model can take" if limit else "of evaluation.window"
        sentences.append(
            f"{_counted(cut, len(clips), name)} longer than the {window / sampling_rate:.2f} s {why}: judged in "
            "windows of at most that, probabilities averaged by duration; "
            f"pipeline {'cuts them off there' if limit else 'hears them whole'}"
        )
    if padded := int((np.asarray(part["length"][:]) < shortest).sum()):
        sentences.append(
            f"{_counted(padded, len(clips), name)} shorter than the {1000 * shortest / sampling_rate:.0f} ms that the "
            "model needs: heard with silence after them"
        )
    return sentences


def _counted(some: int, everyone: int, name: str) -> str:
    return f"{some} of {everyone} {name} clips {'is' if some == 1 else 'are'}"
