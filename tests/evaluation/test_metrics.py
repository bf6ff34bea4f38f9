"""Metrics compared with results by hand and by scikit-learn, also of many resamples at once."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from support.predictions import guesses
from transformers import EvalPrediction

from ser_hf.evaluation import metrics
from ser_hf.evaluation.calibration import reliability
from ser_hf.evaluation.outputs import Outputs
from ser_hf.evaluation.probabilities import clipped
from ser_hf.evaluation.tasks import EMOTIONS

# Recalls 2/3, 1/2, 0; precisions 1/2, 1/2, 0.
LABELS = [0, 0, 0, 1, 1, 2]
PREDICTIONS = [0, 0, 1, 1, 0, 0]


def test_by_hand():
    measured = metrics.classification_metrics(LABELS, PREDICTIONS, 3)
    recalls = {"uar": (2 / 3 + 1 / 2 + 0) / 3, "wa": 3 / 6}
    f1 = {"macro_f1": (4 / 7 + 1 / 2 + 0) / 3, "weighted_f1": (3 * 4 / 7 + 2 * 1 / 2 + 0) / 6}
    assert measured == pytest.approx(recalls | f1)
    logits = np.eye(3)[PREDICTIONS] - 5
    assert metrics.compute_metrics(EvalPrediction(logits, np.asarray(LABELS))) == measured


def test_every_metric_has_a_name_and_a_definition():
    votes = np.full((6, 3), 1 / 3)
    assert list(metrics.all_metrics(LABELS, np.full((6, 3), 1 / 3), votes)) == list(
        metrics.definitions(EMOTIONS)
    )
    assert list(metrics.classification_metrics(LABELS, PREDICTIONS, 3)) == list(EMOTIONS.headline)


def test_a_class_without_clips_is_left_out():
    # Recalls 1/2 and 1; the clip predicted as class 2 is an error, and class 2 has no recall.
    measured = metrics.classification_metrics([0, 0, 1], [0, 2, 1], 3)
    assert measured["uar"] == pytest.approx(3 / 4)
    assert measured["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def scikit_learn(labels, probabilities):
    """The metrics that scikit-learn has, over the classes that occur."""
    predictions = probabilities.argmax(axis=1)
    classes = range(probabilities.shape[1])
    present = np.unique(labels)
    f1 = {
        name: sk.f1_score(labels, predictions, labels=present, average=name)
        for name in ("macro", "weighted")
    }
    found = {
        "uar": sk.recall_score(labels, predictions, labels=present, average="macro"),
        "wa": sk.accuracy_score(labels, predictions),
        "macro_f1": f1["macro"],
        "weighted_f1": f1["weighted"],
        "micro_f1": sk.f1_score(labels, predictions, labels=classes, average="micro"),
        "kappa": sk.cohen_kappa_score(labels, predictions, labels=classes),
        "mcc": sk.matthews_corrcoef(labels, predictions),
        "log_loss": sk.log_loss(labels, clipped(probabilities), labels=classes),
    }
    if len(present) > 1:
        found["auroc"] = sk.roc_auc_score(labels[:, None] == present, probabilities[:, present])
    if len(classes) > 2:
        found["top2_accuracy"] = sk.top_k_accuracy_score(labels, probabilities, k=2, labels=classes)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("clips", "classes"), [(12, 4), (60, 3), (30, 2)])
def test_every_resample_is_measured_as_its_clips_are(clips, classes):
    labels, (shares,) = guesses(clips, classes)
    shares = shares.round(1).clip(0.05)  # so that there are ties
    shares /= shares.sum(axis=1, keepdims=True)
    votes = np.random.default_rng(2).dirichlet([1.0] * classes, size=clips).astype(np.float32)
    votes[::3] = np.nan
    counts = np.random.default_rng(1).multinomial(
        clips, np.full(clips, 1 / clips), size=40 if clips == 12 else 15
    )
    outputs = Outputs.of_probabilities(labels, shares, votes)
    values = metrics.compute(outputs, counts, list(metrics.definitions(EMOTIONS)))
    lacking = 0
    for i, resample in enumerate(counts):
        drawn = np.repeat(np.arange(clips), resample)
        lacking += len(set(labels[drawn])) < classes
        expected = metrics.all_metrics(labels[drawn], shares[drawn], votes[drawn])
        for name, value in scikit_learn(labels[drawn], shares[drawn]).items():
            assert expected[name] == pytest.approx(value, nan_ok=True), name
        assert set(values) == set(expected)
        for name, own in values.items():
            assert own[i] == pytest.approx(
                np.nan if expected[name] is None else expected[name], nan_ok=True
            ), name
    assert lacking or clips > 12, "some resample should lack a class"


def test_an_empty_resample_is_undefined_without_a_warning():
    labels, (shares,) = guesses(6, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = metrics.compute(Outputs.of_probabilities(labels, shares), np.zeros((1, 6)))
    assert all(np.isnan(own).all() for own in values.values())


def test_probabilities_by_hand():
    # Right, wrong but second, wrong and last.
    labels = np.array([0, 1, 2])
    shares = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]])
    measured = metrics.all_metrics(labels, shares)
    assert measured["wa"] == measured["micro_f1"] == pytest.approx(1 / 3)
    assert measured["top2_accuracy"] == pytest.approx(2 / 3)
    assert measured["log_loss"] == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())
    squares = [0.3**2 + 0.2**2 + 0.1**2, 0.5**2 + 0.7**2 + 0.2**2, 0.6**2 + 0.3**2 + 0.9**2]
    assert measured["brier"] == pytest.approx(np.mean(squares))
    # Each clip is in another bin: |1 - 0.7|, |0 - 0.5|, |0 - 0.6|.
    assert measured["ece"] == pytest.approx((0.3 + 0.5 + 0.6) / 3)
    # For class 0 both others rank below; for class 1 one ties, one ranks below; for class 2 one
    # ties, one ranks above.
    assert measured["auroc"] == pytest.approx((1 + 0.75 + 0.25) / 3)
    # All predictions are class 0: 1 in 3 is right, as by chance.
    assert (measured["kappa"], measured["mcc"]) == (pytest.approx(0), 0)


def test_raters_by_hand():
    votes = np.array([[0.5, 0.5], [1.0, 0.0], [np.nan, np.nan]])
    shares = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]])
    measured = metrics.all_metrics(np.array([0, 0, 0]), shares, votes)
    assert measured["kl"] == pytest.approx((0 + np.log(2)) / 2)
    assert measured["cosine"] == pytest.approx((1 + 1 / np.sqrt(2)) / 2)
    nobody = metrics.all_metrics(np.array([0, 0, 0]), shares, np.full((3, 2), np.nan))
    assert nobody["kl"] is None
    assert nobody["cosine"] is None


def test_metrics_that_one_class_leaves_undefined_are_none_without_a_warning(recwarn):
    measured = metrics.all_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]))
    assert [name for name, value in measured.items() if value is None] == [
        "top2_accuracy",
        "kappa",
        "auroc",
    ]
    assert not recwarn.list


def test_a_certain_error_has_a_finite_log_loss():
    measured = metrics.all_metrics(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32))
    assert measured["log_loss"] == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2, rel=1e-3)


def test_reliability_by_hand():
    # 0.2 is a bound of fifteen bins, and belongs to the bin below it.
    shares = np.array([[0.2] * 5, [0.9, 0.1, 0, 0, 0], [0.95, 0.05, 0, 0, 0]])
    bins = reliability(np.array([0, 0, 1]), shares)
    filled = {round(own.high * 15): own for own in bins if own.clips}
    assert sorted(filled) == [3, 14, 15]
    assert filled[3].accuracy == 1
    assert filled[15].to_dict() == {
        "low": 14 / 15,
        "high": 1,
        "clips": 1,
        "confidence": pytest.approx(0.95),
        "accuracy": 0,
    }
    assert metrics.all_metrics([0, 0, 1], shares)["ece"] == pytest.approx((0.8 + 0.1 + 0.95) / 3)
    assert sum(own.clips for own in bins) == 3
