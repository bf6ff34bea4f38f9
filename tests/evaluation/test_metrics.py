"""Metrics by hand and against scikit-learn's own names for them."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from transformers import EvalPrediction

from ser_hf.evaluation.metrics import (
    DEFINITIONS,
    NAMES,
    classification_metrics,
    confusion,
    per_class,
    trainer_metrics,
)

# Recalls 2/3, 1/2, 0; precisions 1/2, 1/2, 0.
LABELS, PREDICTIONS = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]


def test_by_hand():
    assert classification_metrics(LABELS, PREDICTIONS, 3) == pytest.approx(
        {
            "uar": (2 / 3 + 1 / 2 + 0) / 3,
            "wa": 3 / 6,
            "macro_f1": (4 / 7 + 1 / 2 + 0) / 3,
            "weighted_f1": (3 * 4 / 7 + 2 * 1 / 2 + 0) / 6,
        }
    )


def test_every_metric_has_a_name_and_a_definition():
    assert set(classification_metrics(LABELS, PREDICTIONS, 3)) == set(NAMES) == set(DEFINITIONS)


def test_a_class_that_the_part_lacks_does_not_count():
    # Recalls 1/2 and 1; the clip called 2 is a miss and makes no class of its own.
    measured = classification_metrics([0, 0, 1], [0, 2, 1], 3)
    assert measured["uar"] == pytest.approx(3 / 4)
    assert measured["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_uar_is_balanced_accuracy(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(5, 60, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    predictions = np.where(generator.random(60) < 0.5, labels, generator.choice(np.unique(labels), 60))
    expected = balanced_accuracy_score(labels, predictions)
    assert classification_metrics(labels, predictions, 5)["uar"] == pytest.approx(expected)


def test_per_class_by_hand():
    rows = per_class(LABELS, PREDICTIONS, ["angry", "happy", "sad", "fear"])
    assert rows["angry"] == pytest.approx({"precision": 1 / 2, "recall": 2 / 3, "f1": 4 / 7, "support": 3})
    assert rows["sad"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert rows["fear"]["support"] == 0


def test_confusion_has_true_classes_in_rows():
    assert confusion(LABELS, PREDICTIONS, 4) == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_the_trainer_hands_over_logits():
    logits = np.eye(3)[PREDICTIONS] - 5
    measured = trainer_metrics(EvalPrediction(logits, np.asarray(LABELS)))
    assert measured == classification_metrics(LABELS, PREDICTIONS, 3)
