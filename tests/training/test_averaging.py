"""Averaged weights: their values, that they leave the trained weights as they are, and that they resume."""

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerControl, TrainerState, set_seed

from ser_hf.models import CRNNForAudioClassification
from ser_hf.testing import tiny_config
from ser_hf.training.averaging import TRAINED_WEIGHTS, WeightAverage, recompute_batch_norm


def _line(weight=0.0):
    """One weight without a bias."""
    line = nn.Linear(1, 1, bias=False)
    _set(line, weight)
    return line


def _set(line, weight):
    with torch.no_grad():
        line.weight.fill_(weight)


def _averaged(average):
    """A copy of the model inside `applied`."""
    with average.applied():
        return _weights(average._model)


def _weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _same(some, others):
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def _of(model, *weights, kind="ema", **settings):
    """An average of a one-weight model that had these weights."""
    average = WeightAverage(model, kind, **settings)
    for weight in weights:
        _set(model, weight)
        average.update()
    return average


def test_the_exponential_average_by_hand():
    model = _line()
    average = _of(model, 8.0)
    assert _averaged(average)["weight"].item() == 8.0, "the first step's weights as they are"
    _set(model, -1.0)
    average.update()
    # (1 + 1) / (10 + 1) of 8 and 9/11 of -1.
    assert _averaged(average)["weight"].item() == pytest.approx((16 - 9) / 11)
    _set(model, 2.0)
    average.update()
    # (1 + 2) / (10 + 2) of that.
    assert _averaged(average)["weight"].item() == pytest.approx(7 / 44 + 1.5)


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


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_tied_frozen_and_integer_tensors(kind):
    model = _Everything()
    average, before = WeightAverage(model, kind), _weights(model)
    for step in (2, 4):
        model.change(step)
        average.update()
    # After steps to 2 and 6: plain mean, or 2/11 of the first.
    mean = 4 if kind == "swa" else 2 + 4 * 9 / 11
    after = _averaged(average)
    for name in ("first.weight", "first.bias", "tied.weight", "tied.bias", "running"):
        torch.testing.assert_close(after[name], before[name] + mean)
    assert after["steps"].item() == 2
    assert torch.equal(after["frozen.weight"], before["frozen.weight"])


def test_the_trained_weights_come_back():
    model = _Everything()
    average = WeightAverage(model, "ema")
    for step in (1, 2):
        model.change(step / 3)
        average.update()
    tensors, trained = list(model.state_dict(keep_vars=True).values()), _weights(model)
    assert not _same(_averaged(average), trained)
    assert _same(_weights(model), trained)
    assert all(new is old for new, old in zip(model.state_dict(keep_vars=True).values(), tensors, strict=True))


# Callbacks


def _step(average, step, epoch, max_steps=8, skipped=False):
    state = TrainerState(global_step=step, epoch=epoch, max_steps=max_steps)
    average.on_optimizer_step(None, state, TrainerControl(), optimizer=SimpleNamespace(step_was_skipped=skipped))
    average.on_step_end(None, state, TrainerControl())


@pytest.mark.parametrize(("start", "taken"), [(0.0, [2, 4, 6, 7]), (0.5, [4, 6, 7]), (0.6, [6, 7]), (1.0, [7])])
def test_the_stochastic_average_takes_the_ends_of_late_epochs(start, taken):
    """Seven steps in epochs of two: the last step counts although its epoch is cut short."""
    average, seen = _of(_line(), kind="swa", start=start), []
    for step in range(1, 8):
        before = average.averaged
        _step(average, step, step / 2, max_steps=7)
        seen += [step] * (average.averaged - before)
    assert seen == taken


@pytest.mark.parametrize(
    ("load_best", "best", "left"), [(False, "folder", 1.5), (True, None, 1.5), (True, "folder", 9.0)]
)
def test_the_end_of_training_leaves_the_average_or_the_best_checkpoint(load_best, best, left):
    model = _line()
    average = _of(model, 1.0, 2.0, kind="swa")
    _set(model, 9.0)
    arguments = SimpleNamespace(load_best_model_at_end=load_best)
    average.on_train_end(arguments, TrainerState(best_model_checkpoint=best), TrainerControl())
    assert model.weight.item() == left
    _set(model, 4.0)
    with average.applied():
        assert model.weight.item() == 4.0, "the average has no part in what comes after"
    assert model.weight.item() == 4.0


# Checkpoints


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_checkpoint_resumes_the_average(kind, tmp_path):
    model = _Everything()
    average = WeightAverage(model, kind)
    for step in (1, 2, 3):
        model.change(step / 7)
        average.update()
    evaluated, other = _averaged(average), copy.deepcopy(model)
    average.save(tmp_path)
    assert set(load_file(tmp_path / TRAINED_WEIGHTS)) == {
        "first.weight",
        "first.bias",
        "tied.bias",
        "running",
        "steps",
    }
    resumed = WeightAverage(other, kind)
    other.load_state_dict(evaluated)  # the Trainer loads the model's file, which has the average
    resumed.load(tmp_path)
    assert _same(_weights(other), _weights(model))
    for each in (average, resumed):
        each._model.change(0.3)
        each.update()
    assert _same(_averaged(average), _averaged(resumed))


# Batch normalization


def _noise(clips, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        {"input_values": torch.randn(clip, 6000, generator=generator) * (clip + 1)} for clip in range(2, 2 + clips)
    ]


def _crnn():
    set_seed(0)
    return CRNNForAudioClassification(tiny_config("crnn"))


def test_statistics_are_the_means_over_all_batches():
    model = _crnn()
    assert model.config.time_masks, "augmentation must not happen"
    assert model.stack.blocks[0].dropout.p, "nor dropout"
    norm, rows = model.stack.blocks[0].norm, []

    def note(module, inputs):
        features, mask = inputs
        real = features.movedim(1, -1)[mask].flatten(0, -2)
        rows.append(torch.stack([real.mean(dim=0), real.var(dim=0)]))

    hook = norm.register_forward_pre_hook(note)
    before = torch.get_rng_state()
    recompute_batch_norm(model, lambda: _noise(3, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    hook.remove()
    mean, variance = torch.stack(rows).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.num_batches_tracked == 3
    assert norm.momentum is not None


def test_the_stochastic_average_has_new_statistics():
    model, walks = _crnn().train(), []

    def batches():
        walks.append(1)
        return _noise(3, seed=1)

    average = WeightAverage(model, "swa", batches=batches)
    for step in (1, 2):
        for parameter in model.parameters():
            parameter.data += 0.01 * step
        average.update()
    trained, evaluated = _weights(model), _averaged(average)
    assert _same(_weights(model), trained)
    by_hand = _crnn()
    by_hand.load_state_dict(evaluated)
    recompute_batch_norm(by_hand, lambda: _noise(3, seed=1))
    assert _same(_weights(by_hand), evaluated)
    assert not torch.equal(evaluated["stack.blocks.0.norm.running_var"], trained["stack.blocks.0.norm.running_var"])
    _averaged(average)
    assert len(walks) == 1, "computed once for each average"
    average.update()
    _averaged(average)
    assert len(walks) == 2
