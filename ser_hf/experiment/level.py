"""Decides whether the speakers of a corpus differ in recording level (`audio.level: auto`)."""

import logging
import random
from collections.abc import Sequence

import numpy as np
import pandas as pd
from datasets import Dataset

from ..audio import WaveformStore
from ..corpora.targets import targets_of
from ..models.preparation import gated_loudness
from ..protocols import Split
from .recipe import Recipe

logger = logging.getLogger(__name__)

# `audio.level: auto` sets every clip to the same loudness if the speaker explains more than this
# share of the variance of loudness that emotions leave.
LEVEL_SHARE = 0.5
# A smaller standard deviation of the speakers' levels, dB, is left as it is.
_LEAST_SPREAD = 1.0
_MEASURED_CLIPS = 1000


def loudness_note(
    recipe: Recipe, dataset: Dataset, store: WaveformStore, splits: Sequence[Split]
) -> str | None:
    """The note for the report if `audio.level: auto` becomes `loudness`; None if it becomes null.

    All folds have one setting, so it becomes `loudness` only if each fold decides so. A fold
    decides by its training and validation clips: labels of test clips have no part in it.

    Args:
        store: the recordings at their original levels.
    """
    audio = recipe.audio
    # The level of each clip is normalized anyway by audio.normalize, and for encoders by the
    # extractor or the first layers.
    if audio.level != "auto" or audio.normalize or recipe.model.architecture == "encoder":
        return None
    share = min(level_shares(dataset, store, splits))
    finding = (
        f"Beyond its emotion, the speaker explains {share:.0%} of the variance of the clips' "
        "loudness"
    )
    if len(splits) > 1:
        finding += " or more in every fold"
    if share > LEVEL_SHARE:
        return (
            f"{finding}, so every clip was set to one loudness (audio.level: auto became loudness)."
        )
    logger.info("%s: audio.level: auto becomes null", finding)
    return None


def level_shares(dataset: Dataset, store: WaveformStore, splits: Sequence[Split]) -> list[float]:
    """The share that the speaker explains of the variance of loudness that emotions leave.

    It is measured on the training and validation clips of each split, of at most `_MEASURED_CLIPS`
    clips in all. Where most speakers have few emotions, the share of the speaker alone would be
    that of the emotion, which is a cue that must stay.

    Returns:
        For each split the share, from 0 to 1; 0 if it is undefined.
    """
    rows_of_split = [set(split.rows["train"]) | set(split.rows["validation"]) for split in splits]
    rows = sorted(set().union(*rows_of_split))
    rows = random.Random(0).sample(rows, min(len(rows), _MEASURED_CLIPS))
    loudness = {row: gated_loudness(store[row], store.sampling_rate) for row in rows}
    measured = sorted(row for row in rows if loudness[row] is not None)

    shares = []
    for rows_in_split in rows_of_split:
        chosen = [row for row in measured if row in rows_in_split]
        shares.append(
            partial_share(
                np.asarray([loudness[row] for row in chosen]),
                groups=_indicators(dataset.select(chosen)["speaker"][:]),
                others=_emotions(dataset, chosen),
                least_spread=_LEAST_SPREAD,
            )
        )
    return shares


def _emotions(dataset: Dataset, rows: Sequence[int]) -> np.ndarray:
    """What a model predicts of each clip, as columns of a least squares fit."""
    ratings = targets_of(dataset, rows)
    if ratings is not None and np.isfinite(ratings).all():
        return np.column_stack([np.ones(len(rows)), ratings])
    return _indicators(dataset.select(rows)["label"][:])


def _indicators(values: Sequence[object]) -> np.ndarray:
    """A column for each value, with 1 for its clips: (clips, values)."""
    return pd.get_dummies(pd.Series(values, dtype=object), dtype=float).to_numpy()


def partial_share(
    measure: np.ndarray, groups: np.ndarray, others: np.ndarray, least_spread: float = 1e-10
) -> float:
    """The share of the variance of a measure left by `others` that `groups` explain.

    It is the partial epsilon squared of two nested least squares fits, each with its degrees of
    freedom, so that many small groups explain nothing by chance.

    Args:
        measure: (clips,).
        groups, others: the columns of the fits, (clips, columns).
        least_spread: a smaller standard deviation of the groups counts as none.

    Returns:
        The share, from 0 to 1; 0 if it is undefined, for example with a group for each clip.
    """
    left = _residual_variance(measure, others)
    unexplained = _residual_variance(measure, np.hstack([others, groups]))
    if left is None or unexplained is None or left - unexplained < least_spread**2:
        return 0.0
    return max(0.0, 1 - unexplained / left)


def _residual_variance(measure: np.ndarray, columns: np.ndarray) -> float | None:
    """The residual variance of a least squares fit; None without degrees of freedom."""
    if len(measure) == 0:
        return None
    solution, _, rank, _ = np.linalg.lstsq(columns, measure, rcond=None)
    degrees = len(measure) - rank
    if degrees < 1:
        return None
    residuals = measure - columns @ solution
    return float(residuals @ residuals / degrees)
