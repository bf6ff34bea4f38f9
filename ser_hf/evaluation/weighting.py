"""Counts and means under weights of the clips, for many resamples at once."""

import numpy as np
from scipy.sparse import csr_array


def one_hot(groups: np.ndarray, count: int, values: np.ndarray | None = None) -> csr_array:
    """A sparse matrix (clips, count) with 1, or the value of the clip, in the column of its group.

    `weights @ one_hot(...)`, (resamples, count), counts how often each group was drawn.
    """
    ones = np.ones(len(groups)) if values is None else np.asarray(values, np.float64)
    return csr_array(
        (ones, np.asarray(groups), np.arange(len(groups) + 1)), shape=(len(groups), count)
    )


def recalls(support: np.ndarray, recognized: np.ndarray) -> np.ndarray:
    """The recall of each class, (..., classes); nan for a class without clips.

    `mean_of_known` then leaves that class out of the mean.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, recognized / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis, without nan values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)
