"""Averaged weights: their values, that they leave the trained weights as they are, and that they
resume.
"""

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support.close import assert_near
from torch import nn
from transformers import TrainerControl, TrainerState

from ser_hf.training.averaging import TRAINED_WEIGHTS, WeightAverage


def _line(weight=0.0):
    """One weight without a bias."""
    line = nn.Linear(1, 1, bias=False)
    _set(line, weight)
    return line


def _set(line, weight):
    with torch.no_grad():
        line.weight.fill_(weight)


def _averaged(average, model):
    """A copy of the model inside `applied`."""
    with average.applied():
        return _weights(model)


def _weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _same(some, others):
    return some.keys() == others.keys() and all(
        torch.equal(some[name], others[name]) for name in some
    )


def _of(model, *weights):
    """An average of a one-weight model that had these weights."""
    average = WeightAverage(model)
    for weight in weights:
        _set(model, weight)
        average.update()
    return average


def test_the_exponential_average_by_hand():
    model = _line()
    average = _of(model, 8.0)
    assert _averaged(average, model)["weight"].item() == 8.0, "the first step's weights as they are"
    _set(model, -1.0)
    average.update()
    # (1 + 1) / (10 + 1) of 8 and 9/11 of -1.
    assert _averaged(average, model)["weight"].item() == pytest.approx((16 - 9) / 11)
    _set(model, 2.0)
    average.update()
    # (1 + 2) / (10 + 2) of that.
    assert _averaged(average, model)["weight"].item() == pytest.approx(7 / 44 + 1.5)


class _Everything(nn.Module):
    """Tied and frozen weights, buffers saved and not, of every type."""

    def __init__(self):
        super().__init__()
        self.first, self.frozen = nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight
        self.register_buffer("running", torch.zeros(3))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("window", torch.ones(3), persistent=False)

    @torch.no_grad()
    def change(self, step):
        for tensor in (self.first.weight, self.first.bias, self.tied.bias, self.running):
            tensor.add_(step)
        self.steps.add_(1)


def test_tied_frozen_and_integer_tensors():
    model = _Everything()
    average = WeightAverage(model)
    before = _weights(model)
    for step in (2, 4):
        model.change(step)
        average.update()
    mean = 2 + 4 * 9 / 11  # after steps to 2 and 6: 2/11 of the first
    after = _averaged(average, model)
    for name in ("first.weight", "first.bias", "tied.weight", "tied.bias", "running"):
        assert_near(after[name], before[name] + mean)
    assert after["steps"].item() == 2
    assert torch.equal(after["frozen.weight"], before["frozen.weight"])


def test_the_trained_weights_are_restored():
    model = _Everything()
    average = WeightAverage(model)
    for step in (1, 2):
        model.change(step / 3)
        average.update()
    tensors = list(model.state_dict(keep_vars=True).values())
    trained = _weights(model)
    assert not _same(_averaged(average, model), trained)
    assert _same(_weights(model), trained)
    assert all(
        new is old
        for new, old in zip(model.state_dict(keep_vars=True).values(), tensors, strict=True)
    )


# Callbacks


@pytest.mark.parametrize("best", [True, False])
def test_the_end_of_training_leaves_the_best_checkpoint_or_else_the_average(best):
    model = _line()
    average = _of(model, 1.0, 2.0)
    _set(model, 9.0)
    average.on_train_end(
        SimpleNamespace(load_best_model_at_end=best), TrainerState(), TrainerControl()
    )
    assert model.weight.item() == (9.0 if best else _averaged(average, model)["weight"].item())
    _set(model, 4.0)
    with average.applied():
        assert model.weight.item() == 4.0, "the average has no part in what comes after"
    assert model.weight.item() == 4.0


# Checkpoints


def test_a_checkpoint_resumes_the_average(tmp_path):
    model = _Everything()
    average = WeightAverage(model)
    for step in (1, 2, 3):
        model.change(step / 7)
        average.update()
    evaluated = _averaged(average, model)
    other = copy.deepcopy(model)
    average.save(tmp_path)
    saved = set(load_file(tmp_path / TRAINED_WEIGHTS))
    assert saved == {"first.weight", "first.bias", "tied.bias", "running", "steps"}
    resumed = WeightAverage(other)
    other.load_state_dict(evaluated)  # the Trainer loads the model's file, which has the average
    resumed.load(tmp_path)
    assert _same(_weights(other), _weights(model))
    for each, own in ((average, model), (resumed, other)):
        own.change(0.3)
        each.update()
    assert _same(_averaged(average, model), _averaged(resumed, other))
