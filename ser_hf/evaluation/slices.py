"""Slices: the same judgement for parts of the test clips, so that a good average hides nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .metrics import classification_metrics

COLUMNS = ("corpus", "speaker", "sex", "intensity", "sentence")


def slice_metrics(
    columns: Mapping[str, Sequence], labels: np.ndarray, predictions: np.ndarray, classes: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """{column: {value: {clips, uar, wa, macro_f1, weighted_f1}}} for each of `COLUMNS` that tells clips apart."""
    slices = {}
    for column in COLUMNS:
        values = np.asarray([str(value) for value in columns[column]])
        present = sorted(set(values) - {"None"})
        if len(present) < 2:
            continue
        slices[column] = {}
        for value in present:
            own = values == value
            measured = classification_metrics(labels[own], predictions[own], classes)
            slices[column][value] = {"clips": int(own.sum()), **measured}
    return slices
