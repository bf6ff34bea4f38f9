"""The losses compared to torch and by hand: weights, distributions, factors, the divisor."""

import math

import numpy as np
import pytest
import torch
from support.close import assert_near
from support.testing import tiny_config
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ser_hf.evaluation.metrics import all_metrics
from ser_hf.loading.batches import merge
from ser_hf.models import ARCHITECTURES
from ser_hf.training.loss import (
    ClassificationLoss,
    DimensionLoss,
    MultiLabelLoss,
    class_weights,
)
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


def batch(clips=8, dimensions=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values, targets = torch.rand(2, clips, dimensions, generator=generator)
    return values.requires_grad_(), targets


def test_the_loss_is_one_less_the_ccc_of_the_metrics():
    values, targets = batch()
    ccc = all_metrics(targets.numpy(), values.detach().numpy())["ccc"]
    assert DimensionLoss()({"logits": values}, targets).item() == pytest.approx(1 - ccc, abs=1e-6)
    squared = torch.nn.functional.mse_loss(values, targets).item()
    assert DimensionLoss("mse")({"logits": values}, targets).item() == pytest.approx(
        squared, rel=1e-6
    )
    both = DimensionLoss("ccc_mse")({"logits": values}, targets).item()
    assert both == pytest.approx(1 - ccc + squared, abs=1e-6)


def test_the_gradient_is_that_of_the_definition():
    values, targets = batch()
    DimensionLoss()({"logits": values}, targets).backward()
    exact = values.detach().double().requires_grad_()
    own = exact - exact.mean(0)
    other = targets.double() - targets.double().mean(0)
    spread = (
        own.square().mean(0)
        + other.square().mean(0)
        + (exact.mean(0) - targets.double().mean(0)) ** 2
    )
    (1 - 2 * (own * other).mean(0) / spread).mean().backward()
    torch.testing.assert_close(values.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)


def test_weights_favor_a_dimension():
    values, targets = batch()
    each = [DimensionLoss()({"logits": values[:, [i]]}, targets[:, [i]]).item() for i in range(3)]
    names = ["a", "b", "c"]
    options = {"dimensions": "ccc", "weights": {"a": 3.0, "b": 0.0}}
    loss = DimensionLoss.from_options(options, names, [])
    assert loss({"logits": values}, targets).item() == pytest.approx(
        (3 * each[0] + each[2]) / 4, rel=1e-5
    )


def test_micro_batches_count_by_their_clips():
    values, targets = batch(8)
    parts = [slice(0, 6), slice(6, 8)]
    alone = [DimensionLoss()({"logits": values[own]}, targets[own]).item() for own in parts]
    step = [
        DimensionLoss()({"logits": values[own]}, targets[own], targets.numel()).item()
        for own in parts
    ]
    assert sum(step) == pytest.approx((6 * alone[0] + 2 * alone[1]) / 8, rel=1e-6)


def test_a_clip_alone_has_no_gradient_and_no_nan():
    values, targets = batch(1)
    loss = DimensionLoss()({"logits": values}, targets)
    loss.backward()
    assert loss.item() == pytest.approx(1)
    torch.testing.assert_close(values.grad, torch.zeros_like(values))


def test_values_of_windows_are_averaged_by_duration():
    rows, merged = merge(
        [0, 0, 1], [300, 100, 50], np.float32([[0.0, 1.0], [1.0, 1.0], [0.3, 0.4]]), "regression"
    )
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(merged, [[0.25, 1.0], [0.3, 0.4]], rtol=1e-6)


def test_a_network_computes_the_squared_error_of_dimensions():
    model = ARCHITECTURES["crnn"](tiny_config("crnn", labels=2, problem_type="regression")).eval()
    waveforms = torch.randn(3, 8000)
    targets = torch.rand(3, 2)
    with torch.no_grad():
        outputs = model(waveforms, labels=targets)
    torch.testing.assert_close(outputs.loss, torch.nn.functional.mse_loss(outputs.logits, targets))


SETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def test_the_loss_of_sets_is_binary_cross_entropy(draw):
    logits = draw(2, 3)
    loss = MultiLabelLoss()({"logits": logits}, SETS)
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(logits, SETS))
    weights = [2.0, 1.0, 0.5]
    weighted = MultiLabelLoss(weights)({"logits": logits}, SETS)
    expected = binary_cross_entropy_with_logits(logits, SETS, pos_weight=torch.tensor(weights))
    torch.testing.assert_close(weighted, expected)
    smoothed = MultiLabelLoss(label_smoothing=0.2)({"logits": logits}, SETS)
    expected = binary_cross_entropy_with_logits(logits, 0.8 * SETS + 0.1)
    torch.testing.assert_close(smoothed, expected)


def test_the_focal_loss_of_sets_by_hand(draw):
    logits = draw(2, 3)
    shares = logits.sigmoid()
    terms = SETS * (1 - shares) ** 1.5 * -shares.log()
    terms = terms + (1 - SETS) * shares**1.5 * -(1 - shares).log()
    loss = MultiLabelLoss(focal_gamma=1.5)({"logits": logits}, SETS)
    torch.testing.assert_close(loss, terms.mean())


def test_micro_batches_of_sets_add_up_to_the_step(draw):
    logits = draw(2, 3)
    loss = MultiLabelLoss([2.0, 1.0, 0.5], 0.1, 0.5)
    parts = [loss({"logits": logits[i : i + 1]}, SETS[i : i + 1], 6) for i in range(2)]
    torch.testing.assert_close(sum(parts), loss({"logits": logits}, SETS))


def test_balanced_weights_of_sets_count_clips_without_for_each_with():
    options = {"class_weights": "balanced", "label_smoothing": 0.0, "focal_gamma": 0.0}
    sets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
    loss = MultiLabelLoss.from_options(options, NAMES, sets)
    torch.testing.assert_close(loss.positive_weights, torch.tensor([3.0, 1.0, 1 / 3]))
    with pytest.raises(UserError, match=r"^training\.loss\.class_weights: .*angry"):
        MultiLabelLoss.from_options(options | {"class_weights": {"angry": 1.0}}, NAMES, sets)
    zero = dict.fromkeys(NAMES, 0.0)
    with pytest.raises(UserError, match=r"^training\.loss\.class_weights: every class"):
        MultiLabelLoss.from_options(options | {"class_weights": zero}, NAMES, sets)
