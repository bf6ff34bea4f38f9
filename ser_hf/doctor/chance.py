"""Comparison of predictions with chance, by a permutation test."""

import numpy as np

from ..evaluation.metrics import classification_metrics

_PERMUTATIONS = 2000


def uar(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The unweighted average recall of class ids, both (clips,)."""
    classes = int(max(labels.max(), predicted.max())) + 1
    return classification_metrics(labels, predicted, classes)["uar"]


def p_value(labels: np.ndarray, predicted: np.ndarray) -> float:
    """How often labels in a random order have at least the UAR of these predictions.

    It is the p-value of a one-sided permutation test (Ojala and Garriga 2010), at least
    1 / 2001.

    Args:
        labels, predicted: class ids, (clips,).
    """
    generator = np.random.default_rng(0)
    classes, ids = np.unique(labels, return_inverse=True)
    support = np.bincount(ids)
    hits_of_class = np.stack([predicted == label for label in classes], axis=1)

    def recall_sum(order: np.ndarray) -> float:
        hits = hits_of_class[np.arange(len(order)), order]
        return float((np.bincount(order, hits, minlength=len(classes)) / support).sum())

    observed = recall_sum(ids)
    reached = 0
    for _ in range(_PERMUTATIONS):
        reached += recall_sum(generator.permutation(ids)) >= observed - 1e-12
    return (reached + 1) / (_PERMUTATIONS + 1)
