"""The loss compared to torch and by hand: weights, distributions, factors, and the common divisor
of a step.
"""

import math

import numpy as np
import pytest
import torch
from support.close import assert_near
from torch.nn.functional import cross_entropy

from ser_hf.training.loss import ClassificationLoss, class_weights
from ser_hf.utils.errors import UserError

LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
LABELS = torch.tensor([0, 1])
# Probabilities of the true classes: 3/4 and 1/2.
FIRST = math.log(4 / 3)
SECOND = math.log(2)
EVERYTHING = {"class_weights": [0.5, 2.0, 1.0], "label_smoothing": 0.1, "focal_gamma": 1.5}
SETTINGS = [
    {},
    {"class_weights": [0.5, 2.0, 1.0]},
    {"label_smoothing": 0.1},
    {"focal_gamma": 2.0},
    EVERYTHING,
]
NAMES = ["angry", "happy", "sad"]


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (FIRST + SECOND) / 2),
        ({"class_weights": [1.5, 0.5]}, (1.5 * FIRST + 0.5 * SECOND) / 2),
        # 0.9 of the weight on the true class, 0.1 shared by both.
        ({"label_smoothing": 0.2}, (0.9 * FIRST + 0.1 * math.log(4) + SECOND) / 2),
        # (1 - 3/4) ** 2 and (1 - 1/2) ** 2.
        ({"focal_gamma": 2.0}, (FIRST / 16 + SECOND / 4) / 2),
        ({"focal_gamma": 0.5}, (FIRST / 2 + SECOND / math.sqrt(2)) / 2),
        (
            {"focal_gamma": 2.0, "class_weights": [1.5, 0.5]},
            (1.5 * FIRST / 16 + 0.5 * SECOND / 4) / 2,
        ),
    ],
)
def test_each_loss_by_hand(settings, expected):
    assert ClassificationLoss(**settings)({"logits": LOGITS}, LABELS).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_soft_labels_by_hand():
    """Each class's own factors: weight 1.5 and 0.5, and one minus its own probability."""
    shares = torch.tensor([[0.6, 0.4], [0.0, 1.0]])
    loss = ClassificationLoss([1.5, 0.5], focal_gamma=1.0)({"logits": LOGITS}, shares)
    clip = 1.5 * 0.6 * (1 / 4) * math.log(4 / 3) + 0.5 * 0.4 * (3 / 4) * math.log(4)
    assert loss.item() == pytest.approx((clip + 0.5 * (1 / 2) * math.log(2)) / 2, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize("soft", [False, True])
def test_the_cross_entropy_is_torchs(draw, smoothing, weights, soft):
    logits = 3 * draw(7, 3)
    labels = torch.tensor([0, 1, 2, 0, 0, 1, 2])
    labels = draw(7, 3).softmax(dim=1) if soft else labels
    gradients = []
    values = []
    for own in (True, False):
        leaf = logits.clone().requires_grad_()
        if own:
            value = ClassificationLoss(weights, smoothing)({"logits": leaf}, labels)
        else:
            tensor = None if weights is None else torch.tensor(weights)
            value = (
                cross_entropy(leaf, labels, tensor, reduction="sum", label_smoothing=smoothing) / 7
            )
        value.backward()
        values.append(value.detach())
        gradients.append(leaf.grad)
    assert_near(*values)
    assert_near(*gradients)


@pytest.mark.parametrize("items", [8, torch.tensor(8)])
def test_the_sum_is_divided_by_the_clips_of_the_whole_step(items):
    loss = ClassificationLoss()({"logits": LOGITS}, LABELS, num_items_in_batch=items)
    assert loss.item() == pytest.approx((FIRST + SECOND) / 8, rel=1e-6)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_micro_batches_add_up_to_the_whole_batch(draw, settings, soft):
    logits = draw(6, 3)
    labels = torch.tensor([0, 1, 2, 0, 0, 1])
    loss = ClassificationLoss(**settings)
    labels = torch.eye(3)[labels] if soft else labels
    items = (labels != -100).sum()
    parts = [
        loss({"logits": logits[rows]}, labels[rows], items)
        for rows in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    assert_near(sum(parts), loss({"logits": logits}, labels))


@pytest.mark.parametrize("gamma", [0.25, 1.0, 2.0])
def test_a_certain_clip_has_a_gradient(gamma):
    """A power below one has an infinite slope where the probability is one."""
    leaf = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = ClassificationLoss(focal_gamma=gamma)({"logits": leaf}, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(100.0)
    assert torch.isfinite(leaf.grad).all()
    assert_near(leaf.grad, torch.tensor([[0.0, 0.0], [-0.5, 0.5]]))


def test_given_weights_keep_their_ratios():
    weights = class_weights({"sad": 4, "angry": 1, "happy": 0}, [0] * 7 + [1] * 2 + [2], NAMES)
    assert weights == pytest.approx([10 / 11, 0, 40 / 11])


@pytest.mark.parametrize("kind", ["balanced", {"angry": 3, "happy": 0.2, "sad": 1}])
@pytest.mark.parametrize(
    "labels", [[0] * 7 + [1] * 2 + [2], np.asarray([0, 1, 2]), [1, 1, 0, 0, 0]]
)
def test_weights_average_one_over_the_clips(kind, labels):
    weights = class_weights(kind, labels, NAMES)
    assert sum(weights[label] for label in labels) / len(labels) == pytest.approx(1)


def test_a_class_without_clips_weighs_as_the_rarest():
    weights = class_weights("balanced", [0, 0, 0, 0, 2, 2], NAMES)
    assert weights[1] == weights[2] == 2 * weights[0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"angry": 1, "happy": 1},
            r"class_weights: expected a weight for each of angry, happy, sad, got angry, happy",
        ),
        (
            {"angry": 0, "happy": 0, "sad": 1},
            r"class_weights: every class with training clips weighs 0",
        ),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(UserError, match=rf"^training\.loss\.{message}"):
        class_weights(weights, [0, 0, 1], NAMES)
