"""The loss of dimensions equals its definition, whatever the micro-batches; new heads."""

import numpy as np
import pytest
import torch
from support.testing import tiny_config

from ser_hf.evaluation.metrics import all_metrics
from ser_hf.loading.batches import merge
from ser_hf.loading.build import start_at
from ser_hf.models import ARCHITECTURES
from ser_hf.training.loss import DimensionLoss


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


def test_a_new_head_starts_at_the_mean_and_a_trained_one_stays():
    model = ARCHITECTURES["crnn"](tiny_config("crnn", labels=2, problem_type="regression"))
    start_at(model, [0.3, 0.7])
    torch.testing.assert_close(model.classifier.bias.data, torch.tensor([0.3, 0.7]))
    start_at(model, [0.1, 0.1])
    torch.testing.assert_close(model.classifier.bias.data, torch.tensor([0.3, 0.7]))


def test_a_network_computes_the_squared_error_of_dimensions():
    model = ARCHITECTURES["crnn"](tiny_config("crnn", labels=2, problem_type="regression")).eval()
    waveforms = torch.randn(3, 8000)
    targets = torch.rand(3, 2)
    with torch.no_grad():
        outputs = model(waveforms, labels=targets)
    torch.testing.assert_close(outputs.loss, torch.nn.functional.mse_loss(outputs.logits, targets))
