"""Several targets of one model: layout, losses, metrics, and the Trainer that packs them."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss
from transformers import EvalPrediction

from ser_hf.evaluation.metrics import all_metrics
from ser_hf.loading.batches import WindowLogits, merge
from ser_hf.training.loss import ClassificationLoss, DimensionLoss
from ser_hf.training.targets import (
    TargetLayout,
    TargetMetrics,
    TargetsLoss,
    TargetTerm,
    packed_outputs,
)

NAN = float("nan")
LAYOUT = TargetLayout.of({"emotions": (3, None), "dimensions": (2, "regression")}, {"sex": 2})
# The first clip has all targets, the second no class, the third no ratings and no sex.
TARGETS = torch.tensor(
    [
        [0.0, 1.0, 0.0, 0.2, 0.8, 1.0, 0.0],
        [NAN, NAN, NAN, 0.5, 0.1, 0.0, 1.0],
        [1.0, 0.0, 0.0, NAN, NAN, NAN, NAN],
    ]
)
LOGITS = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))


def loss_of(weights=(1.0, 1.0, 1.0), shares=(2 / 3, 2 / 3, 2 / 3)):
    emotions, dimensions, sex = LAYOUT.blocks
    return TargetsLoss(
        [
            TargetTerm(emotions, ClassificationLoss(), weights[0], shares[0]),
            TargetTerm(dimensions, DimensionLoss("mse"), weights[1], shares[1]),
            TargetTerm(sex, ClassificationLoss(), weights[2], shares[2]),
        ]
    )


def test_blocks_are_side_by_side():
    assert [block.columns for block in LAYOUT.blocks] == [slice(0, 3), slice(3, 5), slice(5, 7)]
    assert LAYOUT.width == 7
    assert [block.measured for block in LAYOUT.blocks] == [True, True, False]
    has_class = LAYOUT.block("emotions").has_target(TARGETS.numpy())
    assert has_class.tolist() == [True, False, True]


def test_a_clip_counts_only_in_the_losses_of_its_targets():
    classes = cross_entropy(LOGITS[[0, 2], :3], torch.tensor([1, 0]))
    ratings = mse_loss(LOGITS[:2, 3:5], TARGETS[:2, 3:5])
    sex = cross_entropy(LOGITS[:2, 5:], torch.tensor([0, 1]))
    loss = loss_of((1.0, 2.0, 0.1))({"logits": LOGITS}, TARGETS)
    torch.testing.assert_close(loss, classes + 2 * ratings + 0.1 * sex)


def test_micro_batches_add_up_to_the_step():
    loss = loss_of()
    parts = [loss({"logits": LOGITS[i : i + 1]}, TARGETS[i : i + 1], 21) for i in range(3)]
    torch.testing.assert_close(sum(parts), loss({"logits": LOGITS}, TARGETS))


def test_a_batch_without_a_target_has_gradients_of_all_heads():
    logits = LOGITS[2:].clone().requires_grad_()
    loss_of()({"logits": logits}, TARGETS[2:]).backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, 3:] == 0).all()
    assert (logits.grad[:, :3] != 0).any()


def test_windows_are_merged_by_the_kind_of_each_target():
    rows = [0, 0, 1]
    lengths = [100, 300, 200]
    logits = LOGITS.numpy()
    clips, merged = LAYOUT.merge(rows, lengths, logits)
    assert list(clips) == [0, 1]
    np.testing.assert_allclose(merged[:, :3], merge(rows, lengths, logits[:, :3])[1])
    np.testing.assert_allclose(merged[0, 3:5], 0.25 * logits[0, 3:5] + 0.75 * logits[1, 3:5])
    windows = LAYOUT.windows(WindowLogits(rows, lengths, logits), "dimensions")
    np.testing.assert_array_equal(windows.logits, logits[:, 3:5])
    only = windows.only(np.array([False, True, True]))
    assert (list(only.rows), list(only.lengths)) == ([0, 1], [300, 200])


def test_metrics_are_of_the_clips_that_have_the_target():
    targets = np.repeat(TARGETS.numpy(), 4, axis=0)
    logits = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32)
    measured = TargetMetrics(LAYOUT, {})(EvalPrediction(logits, targets))
    classes = [*range(4), *range(8, 12)]
    expected = all_metrics(targets[classes, :3].argmax(axis=1), logits[classes, :3], names=["uar"])
    assert measured["uar"] == pytest.approx(expected["uar"])
    ratings = all_metrics(targets[:8, 3:5], logits[:8, 3:5], names=["ccc"])
    assert measured["ccc"] == pytest.approx(ratings["ccc"])
    assert measured["uar_ccc"] == pytest.approx((measured["uar"] + measured["ccc"]) / 2)


def test_outputs_are_packed_in_the_order_of_the_targets():
    outputs = {"logits": LOGITS[:, :3], "ratings": LOGITS[:, 3:5], "auxiliary": LOGITS[:, 5:]}
    torch.testing.assert_close(packed_outputs(outputs), LOGITS)
    assert packed_outputs({"logits": LOGITS}) is LOGITS
