"""Counts of training batches: which clips are counted, and scores that equal those of evaluation
(several processes: test_two_processes.py)."""

import numpy as np
import pytest
import torch

from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.training.callbacks import TrainingCounts


def _logits(predictions, classes=3):
    return torch.eye(classes)[torch.tensor(predictions)]


def test_batches_are_counted_until_taken():
    counts = TrainingCounts(3)
    counts.add(_logits([0, 2, 2]), torch.tensor([0, 1, 2]))
    counts.add(_logits([2, 0]), torch.tensor([1, 1]))
    taken = counts.take()
    assert taken.dtype == torch.int64
    assert taken.tolist() == [[1, 0, 0], [1, 0, 2], [0, 0, 1]]
    counts.add(_logits([1]), torch.tensor([0]))
    assert counts.take().tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert taken.sum() == 5, "what was taken stays"


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("absent", [False, True])
def test_scores_are_those_of_evaluation(classes, absent):
    generator = np.random.default_rng(classes)
    labels, predictions = generator.integers(classes, size=(2, 200))
    predictions[predictions == 0] = 1
    if absent:
        labels[labels == 1] = 0
    expected = classification_metrics(labels, predictions, classes)
    counts = TrainingCounts(classes)
    counts.add(_logits(predictions.tolist(), classes), torch.tensor(labels))
    measured = counts.scores()
    assert set(measured) == {"uar", "macro_f1", "wa"}
    for name, value in measured.items():
        assert value == pytest.approx(expected[name], rel=1e-12)
