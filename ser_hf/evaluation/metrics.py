"""Metrics of a classifier, through scikit-learn, each under the name that the field uses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

# Shown beside the figures wherever they stand, because papers swap them.
DEFINITIONS = {
    "uar": "unweighted average recall: the mean over classes of the share of each class's clips that is recognised",
    "wa": "weighted accuracy: the share of all clips that is recognised (plain accuracy)",
    "macro_f1": "the mean over classes of the harmonic mean of precision and recall",
    "weighted_f1": "the same, each class weighted by its number of clips",
}
NAMES = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1", "weighted_f1": "weighted F1"}


def classification_metrics(labels: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of predicted class ids.

    UAR and macro-F1 run over the classes that occur in `labels`; a class that is never predicted counts as zero.
    """
    present = sorted(set(np.asarray(labels).tolist()))
    common = {"labels": present, "zero_division": 0}
    return {
        "uar": float(recall_score(labels, predictions, average="macro", **common)),
        "wa": float(accuracy_score(labels, predictions)),
        "macro_f1": float(f1_score(labels, predictions, average="macro", **common)),
        "weighted_f1": float(f1_score(labels, predictions, average="weighted", **common)),
    }


def per_class(labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support (clips) of each class."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(names, precision, recall, f1, support, strict=True)
    }


def confusion(labels: Sequence[int], predictions: Sequence[int], classes: int) -> list[list[int]]:
    """Counts, one row a true class, one column a predicted one."""
    return confusion_matrix(labels, predictions, labels=range(classes)).tolist()


def trainer_metrics(prediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: from an `EvalPrediction` of logits (clips, classes)."""
    logits = np.asarray(prediction.predictions)
    return classification_metrics(prediction.label_ids, logits.argmax(axis=1), logits.shape[1])
