"""Metrics by hand and against scikit-learn's own names for them."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from support.predictions import guesses
from transformers import EvalPrediction

from ser_hf.evaluation.metrics import (
    DEFINITIONS,
    HEADLINE,
    NAMES,
    all_metrics,
    calibration_error,
    classification_metrics,
    confusion,
    per_class,
    reliability,
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
    votes = np.full((6, 3), 1 / 3)
    assert list(all_metrics(LABELS, np.full((6, 3), 1 / 3), votes)) == list(NAMES) == list(DEFINITIONS)
    assert list(classification_metrics(LABELS, PREDICTIONS, 3)) == list(HEADLINE)


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


def test_probabilities_by_hand():
    # Right, wrong but second, wrong and last.
    labels = np.array([0, 1, 2])
    answers = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]])
    measured = all_metrics(labels, answers)
    assert measured["wa"] == measured["micro_f1"] == pytest.approx(1 / 3)
    assert measured["top2_accuracy"] == pytest.approx(2 / 3)
    assert measured["log_loss"] == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())
    squares = [0.3**2 + 0.2**2 + 0.1**2, 0.5**2 + 0.7**2 + 0.2**2, 0.6**2 + 0.3**2 + 0.9**2]
    assert measured["brier"] == pytest.approx(np.mean(squares))
    # Each clip falls into a bin of its own: |1 - 0.7|, |0 - 0.5|, |0 - 0.6|.
    assert measured["ece"] == pytest.approx((0.3 + 0.5 + 0.6) / 3)
    # Of class 0 both others lie below; of class 1 one other ties, one lies below; of class 2 one ties, one lies above.
    assert measured["auroc"] == pytest.approx((1 + 0.75 + 0.25) / 3)
    # All answers are class 0: 1 in 3 is right, as chance has it.
    assert (measured["kappa"], measured["mcc"]) == (pytest.approx(0), 0)


def test_raters_by_hand():
    votes = np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, np.nan]])
    answers = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]])
    measured = all_metrics(np.array([0, 0, 0]), answers, votes)
    assert measured["kl"] == pytest.approx((0 + np.log(2)) / 2)
    assert measured["cosine"] == pytest.approx((1 + 1 / np.sqrt(2)) / 2)
    nobody = all_metrics(np.array([0, 0, 0]), answers, np.full((3, 2), np.nan))
    assert nobody["kl"] is None
    assert nobody["cosine"] is None


def test_what_one_class_leaves_undefined_is_none_and_nothing_warns(recwarn):
    measured = all_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]))
    assert [name for name, value in measured.items() if value is None] == ["top2_accuracy", "kappa", "auroc"]
    assert not recwarn.list


def test_a_certain_error_costs_much_and_not_everything():
    measured = all_metrics(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32))
    assert measured["log_loss"] == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2, rel=1e-3)


def test_reliability_by_hand():
    # 0.2 lies on a bound of fifteen bins, and belongs to the bin below it.
    answers = np.array([[0.2] * 5, [0.9, 0.1, 0, 0, 0], [0.95, 0.05, 0, 0, 0]])
    bins = reliability(np.array([0, 0, 1]), answers)
    filled = {round(own["high"] * 15): own for own in bins if own["clips"]}
    assert sorted(filled) == [3, 14, 15]
    assert filled[3]["accuracy"] == 1
    assert filled[15] == {"low": 14 / 15, "high": 1, "clips": 1, "confidence": pytest.approx(0.95), "accuracy": 0}
    assert calibration_error(bins) == pytest.approx((0.8 + 0.1 + 0.95) / 3)
    assert sum(own["clips"] for own in bins) == 3


def test_answers_that_are_as_sure_as_they_are_right_are_calibrated():
    generator = np.random.default_rng(0)
    answers = generator.dirichlet([1.0] * 4, size=20000)
    labels = (answers.cumsum(axis=1) < generator.random(20000)[:, None]).sum(axis=1)
    assert all_metrics(labels, answers)["ece"] < 0.015
    sharpened = answers**3 / (answers**3).sum(axis=1, keepdims=True)
    assert all_metrics(labels, sharpened)["ece"] > 0.1


def test_scikit_learn_agrees_on_the_areas():
    labels, (answers,) = guesses(200, 5)
    expected = roc_auc_score(labels, answers, multi_class="ovr", labels=range(5))
    assert all_metrics(labels, answers)["auroc"] == pytest.approx(expected)
