"""The loss by hand: weights, smoothing, and the divisor that accumulation and processes share."""

import math

import pytest
import torch

from ser_hf.training.loss import ClassificationLoss, balanced_weights

LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
LABELS = torch.tensor([0, 1])
# Probabilities of the true classes: 3/4 and 1/2.
FIRST, SECOND = math.log(4 / 3), math.log(2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (FIRST + SECOND) / 2),
        ({"class_weights": [1.5, 0.5]}, (1.5 * FIRST + 0.5 * SECOND) / 2),
        # 0.9 of the weight on the true class, 0.1 shared by both.
        ({"label_smoothing": 0.2}, (0.9 * FIRST + 0.1 * math.log(4) + SECOND) / 2),
    ],
)
def test_cross_entropy_by_hand(settings, expected):
    assert ClassificationLoss(**settings)({"logits": LOGITS}, LABELS).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("items", [8, torch.tensor(8)])
def test_the_sum_is_divided_by_the_clips_of_the_whole_step(items):
    loss = ClassificationLoss()({"logits": LOGITS}, LABELS, num_items_in_batch=items)
    assert loss.item() == pytest.approx((FIRST + SECOND) / 8, rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"class_weights": [0.5, 2.0, 1.0]}, {"label_smoothing": 0.1}])
def test_micro_batches_add_up_to_the_whole_batch(settings):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels, loss = torch.tensor([0, 1, 2, 0, 0, 1]), ClassificationLoss(**settings)
    parts = [loss({"logits": logits[rows]}, labels[rows], 6) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    torch.testing.assert_close(sum(parts), loss({"logits": logits}, labels))


def test_half_precision_logits_are_summed_in_float32():
    assert ClassificationLoss()({"logits": LOGITS.bfloat16()}, LABELS).dtype == torch.float32


def test_balanced_weights_by_hand():
    assert balanced_weights([0, 0, 0, 1, 1, 2], 3) == pytest.approx([6 / 9, 6 / 6, 6 / 3])


def test_balanced_weights_average_one_over_the_clips():
    labels = [0] * 7 + [1] * 2 + [2]
    weights = balanced_weights(labels, 3)
    assert sum(weights[label] for label in labels) == pytest.approx(len(labels))
