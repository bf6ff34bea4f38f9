"""Counts and means under weights of the clips, for many resamples at once."""

import numpy as np
from scipy.sparse import csr_array


def one_hot(groups: np.ndarray, count: int, values: np.ndarray | None = None) -> csr_array:
    """Sparse (clips, count) matrix with 1, or the clip's value, in the column of its group.
    `weights @ one_hot(...)`, (resamples, count), counts how often each group was drawn."""
    ones = np.ones(len(groups)) if values is None else np.asarray(values, np.float64)
    return csr_array(
        (ones, np.asarray(groups), np.arange(len(groups) + 1)), shape=(len(groups), count)
    )


def recalls(support: np.ndarray, recognized: np.ndarray) -> np.ndarray:
    """Recall of each class, (..., classes); nan for a class without a clip, which means then leave
    out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, recognized / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, nan values left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)
