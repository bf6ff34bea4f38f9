"""Adapts predictions to a speaker or recording without labels.

The embeddings of a group of clips (of a speaker, a folder or a recording) are shifted and scaled to
the statistics of the training speakers, which are saved beside the model's weights. The model's
last layer then predicts the adapted embeddings. Nothing is trained.

This is standardization per speaker (Schuller et al. 2010, IEEE Transactions on Affective Computing
1), applied to the last embedding at prediction. It uses other clips of the same group, so that it
is transductive: the figures do not compare with those of clips that are predicted one by one.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..loading.files import STATISTICS, find_file
from ..utils.errors import UserError
from .batches import last_layer
from .classifier import Classifier

logger = logging.getLogger(__name__)

# How clips are grouped.
Grouping = Literal["speaker", "folder", "recording"]

# A group with fewer clips is left alone, because its statistics are too uncertain
# (benchmarks/adaptation.py).
LEAST_CLIPS = 8
# The variance of a group is averaged with that of the training speakers, which counts as this
# number of clips (benchmarks/adaptation.py).
VARIANCE_CLIPS = 20
# The last layer must compute the model's logits from embeddings that are not adapted, up to this
# share of the largest logit. This number of clips is compared.
_TOLERANCE = 1e-3
_COMPARED = 16
# Features that hardly vary are not amplified: a share of the median deviation.
_LEAST_DEVIATION = 0.01
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class EmbeddingStatistics:
    """Statistics of the embeddings of the training speakers.

    Args:
        mean: the mean of the speakers' means, float32 (size,).
        deviation: the standard deviation of a clip from the mean of its speaker, float32 (size,).
        speakers, clips: the numbers of speakers and clips from which they were computed.
    """

    mean: np.ndarray
    deviation: np.ndarray
    speakers: int
    clips: int


@dataclasses.dataclass(frozen=True)
class Adapted:
    """Embeddings and logits after adaptation.

    Args:
        vectors: float32 (clips, size); those of groups that are too small are unchanged.
        logits: float32 (clips, labels).
        adapted: whether the group of each clip is large enough, bool (clips,).
        groups, adapted_groups: the numbers of all groups, and of those that are large enough.
    """

    vectors: np.ndarray
    logits: np.ndarray
    adapted: np.ndarray
    groups: int
    adapted_groups: int


def embedding_statistics(vectors: np.ndarray, speakers: Sequence[str]) -> EmbeddingStatistics:
    """Compute the statistics of embeddings over speakers, each of whom has the same weight.

    Args:
        vectors: (clips, size).
        speakers: the speaker of each clip.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    names, number = np.unique(np.asarray(speakers), return_inverse=True)
    means = []
    variances = []
    for i in range(len(names)):
        of_speaker = vectors[number == i]
        means.append(of_speaker.mean(axis=0))
        variances.append(of_speaker.var(axis=0))
    deviation = np.sqrt(np.mean(variances, axis=0))
    return EmbeddingStatistics(
        mean=np.mean(means, axis=0).astype(np.float32),
        deviation=_bounded(deviation).astype(np.float32),
        speakers=len(names),
        clips=len(vectors),
    )


def _bounded(deviation: np.ndarray) -> np.ndarray:
    """Raise the deviations of features that hardly vary; 1 if no feature varies."""
    positive = deviation[deviation > 0]
    if not len(positive):
        return np.ones_like(deviation)
    return np.maximum(deviation, _LEAST_DEVIATION * np.median(positive))


def save_statistics(statistics: EmbeddingStatistics, folder: Path) -> None:
    """Save statistics beside the weights of a model."""
    tensors = {"mean": statistics.mean, "deviation": statistics.deviation}
    metadata = {"speakers": str(statistics.speakers), "clips": str(statistics.clips)}
    save_file(tensors, folder / STATISTICS, metadata=metadata)


def read_statistics(classifier: Classifier) -> EmbeddingStatistics:
    """Read the statistics that training saved with a model.

    Raises:
        UserError: if the model has none, or they are damaged.
    """
    path = find_file(classifier.location, STATISTICS, classifier.commit, required=False)
    if path is None:
        raise UserError(
            f"--adapt: {classifier.source} has no statistics of its training speakers "
            f"({STATISTICS}); name recordings of its training corpus with --adapt-from"
        )
    try:
        with safe_open(path, framework="numpy") as saved:
            mean = saved.get_tensor("mean")
            deviation = saved.get_tensor("deviation")
            metadata = saved.metadata() or {}
        statistics = EmbeddingStatistics(
            mean=mean,
            deviation=deviation,
            speakers=int(metadata["speakers"]),
            clips=int(metadata["clips"]),
        )
        _check(statistics)
    except (SafetensorError, OSError, KeyError, ValueError):
        raise UserError(
            f"{path}: damaged statistics of embeddings; train the model again"
        ) from None
    return statistics


def _check(statistics: EmbeddingStatistics) -> None:
    """Raise a `ValueError` for values that are no statistics of embeddings."""
    mean = statistics.mean
    deviation = statistics.deviation
    if mean.ndim != 1 or mean.shape != deviation.shape:
        raise ValueError("mean and deviation: not two vectors of one size")
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise ValueError("mean or deviation: not finite, or not positive")


def adapt(
    classifier: Classifier,
    statistics: EmbeddingStatistics,
    vectors: np.ndarray,
    logits: np.ndarray,
    groups: Sequence[str | None],
    whole: np.ndarray,
) -> Adapted:
    """Move the embeddings of each group to the statistics of the training speakers.

    Args:
        vectors: embeddings, float32 (clips, size), see `ser_hf.inference.batches`.
        logits: logits, float32 (clips, labels). Groups that are too small keep theirs.
        groups: the group of each clip; clips without a group (None) are left alone.
        whole: whether a clip was processed in one window, bool (clips,). The logits of other clips
            are those of the mean of their windows' probabilities; after adaptation they are those
            of the mean embedding.

    Raises:
        UserError: if the statistics are of another model, or the model's last layer does not
            compute the logits.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape[1] != len(statistics.mean):
        raise UserError(
            f"--adapt: {classifier.source} has embeddings of {vectors.shape[1]} numbers and "
            f"statistics of {len(statistics.mean)}; train the model again"
        )
    _require_head(classifier, vectors, logits, whole)
    adapted_vectors = vectors.copy()
    adapted = np.zeros(len(vectors), dtype=bool)
    clips_of_group = _clips_of_group(groups)
    small_groups = []
    for name, clips in clips_of_group.items():
        if len(clips) < LEAST_CLIPS:
            small_groups.append(name)
            continue
        adapted_vectors[clips] = moved(vectors[clips], statistics)
        adapted[clips] = True
    _log_small_groups(small_groups)

    adapted_logits = np.array(logits, dtype=np.float32)
    if adapted.any():
        adapted_logits[adapted] = head_logits(classifier, adapted_vectors[adapted])
    return Adapted(
        vectors=adapted_vectors,
        logits=adapted_logits,
        adapted=adapted,
        groups=len(clips_of_group),
        adapted_groups=len(clips_of_group) - len(small_groups),
    )


def moved(vectors: np.ndarray, statistics: EmbeddingStatistics) -> np.ndarray:
    """Shift and scale the embeddings (clips, size) of one group, float32.

    The variance of the group is averaged with that of the training speakers, because a few clips
    do not determine it.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    clips = len(vectors)
    prior = statistics.deviation.astype(np.float64)
    variance = (clips * vectors.var(axis=0) + VARIANCE_CLIPS * prior**2) / (clips + VARIANCE_CLIPS)
    standardized = (vectors - vectors.mean(axis=0)) / np.sqrt(variance)
    return (standardized * prior + statistics.mean).astype(np.float32)


def _clips_of_group(groups: Sequence[str | None]) -> dict[str, list[int]]:
    """The positions of the clips of each group."""
    clips_of_group: dict[str, list[int]] = {}
    for position, name in enumerate(groups):
        if name is not None:
            clips_of_group.setdefault(name, []).append(position)
    return clips_of_group


def _log_small_groups(names: Sequence[str]) -> None:
    """Warn that groups are left alone; the warning names a few of them."""
    if not names:
        return
    listed = ", ".join(names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        listed += f" and {len(names) - _MOST_NAMED} more"
    logger.warning("not adapted, because of fewer than %d clips each: %s", LEAST_CLIPS, listed)


@torch.inference_mode()
def head_logits(classifier: Classifier, vectors: np.ndarray) -> np.ndarray:
    """Compute the logits of embeddings, float32 (clips, labels), with the model's last layer."""
    layer = last_layer(classifier.model)
    device = classifier.model.device
    batches = torch.from_numpy(np.ascontiguousarray(vectors)).split(1024)
    return torch.cat([layer(batch.to(device)).float().cpu() for batch in batches]).numpy()


def _require_head(
    classifier: Classifier, vectors: np.ndarray, logits: np.ndarray, whole: np.ndarray
) -> None:
    """Refuse a model whose logits are not the output of its last layer."""
    compared = np.flatnonzero(whole)[:_COMPARED]
    if not len(compared):
        return
    expected = logits[compared]
    computed = head_logits(classifier, vectors[compared])
    largest = max(1.0, float(np.abs(expected).max()))
    if computed.shape != expected.shape or np.abs(computed - expected).max() > _TOLERANCE * largest:
        raise UserError(
            f"--adapt: the logits of {classifier.source} are not the output of its last linear "
            "layer, so that this model cannot be adapted"
        )
