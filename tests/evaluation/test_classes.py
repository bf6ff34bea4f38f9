"""Results of each class, and the confusion matrix."""

import numpy as np
import pytest
from support.predictions import predictions_of

from ser_hf.evaluation.classes import confusion, per_class, pooled_classes

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 0, 1, 1, 0, 0]


def test_per_class_and_confusion_by_hand():
    rows = per_class(LABELS, PREDICTIONS, ["angry", "happy", "sad", "fear"])
    assert rows["angry"].to_dict() == pytest.approx(
        {"precision": 1 / 2, "recall": 2 / 3, "f1": 4 / 7, "support": 3}
    )
    assert rows["sad"].to_dict() == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert rows["fear"].support == 0
    assert confusion(LABELS, PREDICTIONS, 4) == [
        [2, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_pooled_runs_count_each_clip_once_in_supports_and_each_run_in_confusions():
    predictions = predictions_of(LABELS, np.stack([PREDICTIONS, LABELS]), 3)
    classes, counts = pooled_classes(predictions)
    supports = [scores.support for scores in classes.values()]
    assert supports == np.bincount(LABELS, minlength=3).tolist()
    assert np.sum(counts, axis=1).tolist() == [2 * support for support in supports]
