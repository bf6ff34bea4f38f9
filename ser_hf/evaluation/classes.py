"""Results of each class, and the confusion matrix. The only module of evaluation that needs
scikit-learn.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from .predictions import Predictions
from .sections import ClassScores, Counts


def per_class(
    labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]
) -> dict[str, ClassScores]:
    """Precision, recall, F1 and support (number of clips) of each class.

    Args:
        labels, predictions: class ids, (clips,).
        names: names of the classes.
    """
    columns = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    precisions, recalls, f1s, supports = (column.tolist() for column in columns)
    return {
        name: ClassScores(
            precision=precisions[i], recall=recalls[i], f1=f1s[i], support=supports[i]
        )
        for i, name in enumerate(names)
    }


def confusion(labels: Sequence[int], predictions: Sequence[int], classes: int) -> Counts:
    """Count clips, (classes, classes): one row per true class, one column per predicted class."""
    return confusion_matrix(labels, predictions, labels=range(classes)).tolist()


def pooled_classes(predictions: Predictions) -> tuple[dict[str, ClassScores], Counts]:
    """`per_class` and `confusion` over all runs; supports count each clip once."""
    runs = len(predictions.probabilities)
    names = predictions.names
    labels = np.tile(predictions.labels, runs)
    predicted = predictions.predicted.ravel()

    classes = per_class(labels, predicted, names)
    for scores in classes.values():
        scores.support //= runs
    return classes, confusion(labels, predicted, len(names))
