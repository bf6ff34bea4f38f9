"""Averaged weights: what they are, that they come and go without a trace, and that a resumed run has the same."""

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
from ser_hf.utils.errors import UserError


def _line(weight=0.0, dtype=torch.float32):
    """One weight without a bias."""
    line = nn.Linear(1, 1, bias=False, dtype=dtype)
    _set(line, weight)
    return line


def _set(line, weight):
    with torch.no_grad():
        line.weight.fill_(weight)


def _averaged(average, model):
    """What the model holds inside `applied`, copied."""
    with average.applied(model):
        return _weights(model)


def _weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _same(some, others):
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


def _of(model, *weights, kind="ema", **settings):
    """An average of a one-weight model that went through `weights`."""
    average = WeightAverage(kind, **settings)
    average.attach(model)
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


def test_the_stochastic_average_is_the_mean():
    model, weights = _line(), [3.0, -1.5, 7.25, 0.5]
    average = _of(model, *weights, kind="swa")
    assert _averaged(average, model)["weight"].item() == pytest.approx(sum(weights) / 4)


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
    def learn(self, step):
        for tensor in (self.first.weight, self.first.bias, self.tied.bias, self.running):
            tensor.add_(step)
        self.steps.add_(1)


@pytest.mark.parametrize("kind", WeightAverage.KINDS)
def test_tied_frozen_and_whole_numbers(kind):
    model, average = _Everything(), WeightAverage(kind)
    before = _weights(model)
    frozen = model.frozen.weight.data_ptr()
    average.attach(model)
    for step in (2, 4):
        model.learn(step)
        average.update()
    # After steps to 2 and 6: plain mean, or 2/11 of the first.
    mean = 4 if kind == "swa" else 2 + 4 * 9 / 11
    after = _averaged(average, model)
    for name in ("first.weight", "first.bias", "tied.weight", "tied.bias", "running"):
        torch.testing.assert_close(after[name], before[name] + mean)
    assert after["steps"].item() == 2
    assert torch.equal(after["frozen.weight"], before["frozen.weight"])
    assert model.frozen.weight.data_ptr() == frozen
    assert model.tied.weight is model.first.weight


def test_the_weights_that_learn_come_back_to_the_bit():
    model = _Everything()
    average = WeightAverage("ema")
    average.attach(model)
    for step in (1, 2):
        model.learn(step / 3)
        average.update()
    objects, learning = list(model.state_dict(keep_vars=True).values()), _weights(model)
    with average.applied(model):
        assert not _same(_weights(model), learning)
    assert _same(_weights(model), learning)
    with pytest.raises(RuntimeError, match="in the middle"), average.applied(model):
        raise RuntimeError("in the middle")
    assert _same(_weights(model), learning)
    assert all(new is old for new, old in zip(model.state_dict(keep_vars=True).values(), objects, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WeightAverage("polyak"), "average 'polyak' is none of ema, swa"),
        (lambda: WeightAverage("swa").attach(nn.BatchNorm1d(2)), "give batches"),
        (lambda: _of(_line(), 1.0).applied(_line()).__enter__(), "another model"),
        (lambda: recompute_batch_norm(nn.BatchNorm1d(2), list), "no batches"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Callbacks


def _step(average, step, epoch, max_steps=8, skipped=False):
    state = TrainerState(global_step=step, epoch=epoch, max_steps=max_steps)
    average.on_optimizer_step(None, state, TrainerControl(), optimizer=SimpleNamespace(step_was_skipped=skipped))
    average.on_step_end(None, state, TrainerControl())


def test_the_exponential_average_takes_every_step_that_was_made():
    average = _of(_line())
    _step(average, 1, 0.25)
    _step(average, 2, 0.5, skipped=True)
    _step(average, 3, 0.75)
    assert average.averaged == 2


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
    with average.applied(model):
        assert model.weight.item() == 4.0, "the average has no part in what comes after"
    assert model.weight.item() == 4.0


# Checkpoints


def _resumed(average, model, folder):
    """Saves as the Trainer does; an average that goes on from there with its own model."""
    judged = _averaged(average, model)
    average.save(folder)
    other = copy.deepcopy(model)
    resumed = WeightAverage(average.kind, average.decay, average.start, average.batches)
    resumed.attach(other)
    other.load_state_dict(judged)
    resumed.load(folder)
    assert _same(_weights(other), _weights(model))
    assert _same(_averaged(resumed, other), judged)
    assert resumed.averaged == average.averaged
    return resumed


@pytest.mark.parametrize("kind", WeightAverage.KINDS)
def test_a_checkpoint_has_all_that_resuming_needs(kind, tmp_path):
    model = _Everything()
    average = WeightAverage(kind)
    average.attach(model)
    for step in (1, 2, 3):
        model.learn(step / 7)
        average.update()
    resumed = _resumed(average, model, tmp_path)
    assert set(load_file(tmp_path / TRAINED_WEIGHTS)) == {
        f"learning.{name}" for name in ("first.weight", "first.bias", "tied.bias", "running", "steps")
    }
    for each in (average, resumed):
        each._model.learn(0.3)
        each.update()
    assert _same(_averaged(average, model), _averaged(resumed, resumed._model))


def test_checkpoints_of_other_trainings_are_refused(tmp_path):
    model = _line()
    average = _of(model, 1.0)
    with pytest.raises(UserError, match=r"learning\.safetensors is missing: .* without training\.average"):
        average.load(tmp_path)
    average.save(tmp_path)
    with pytest.raises(UserError, match=r"began with training\.average\.kind ema, not swa"):
        _of(model, kind="swa").load(tmp_path)
    other = WeightAverage("ema")
    other.attach(nn.Linear(1, 1))
    with pytest.raises(UserError, match="other trainable weights"):
        other.load(tmp_path)
    (tmp_path / TRAINED_WEIGHTS).write_bytes(b"torn")
    with pytest.raises(UserError, match=r"learning\.safetensors cannot be read"):
        average.load(tmp_path)


# Batch normalisation


def _noise(clips, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        {"input_values": torch.randn(clip, 6000, generator=generator) * (clip + 1)} for clip in range(2, 2 + clips)
    ]


def _crnn(**settings):
    set_seed(0)
    return CRNNForAudioClassification(tiny_config("crnn", **settings))


def _means_and_variances(model, norm):
    """Of what a layer of batch normalisation gets to see while only such layers are in training mode, by batch."""
    rows = []

    def note(module, inputs):
        features, mask = inputs
        real = features.movedim(1, -1)[mask].flatten(0, -2)
        rows.append(torch.stack([real.mean(dim=0), real.var(dim=0)]))

    hook = norm.register_forward_pre_hook(note)
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        for batch in _noise(3, seed=1):
            model(**batch)
    hook.remove()
    return torch.stack(rows)


def test_statistics_are_the_means_over_all_batches():
    model = _crnn()
    assert model.config.time_masks, "augmentation has to be there to be seen left out"
    assert model.stack.blocks[0].dropout.p
    recompute_batch_norm(model, lambda: _noise(3, seed=1))
    for index in (0, 1):
        norm = model.stack.blocks[index].norm
        twin = copy.deepcopy(model)
        mean, variance = _means_and_variances(twin, twin.stack.blocks[index].norm).mean(dim=0)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        assert norm.num_batches_tracked == 3


def test_the_stochastic_average_has_statistics_of_its_own(tmp_path):
    model, walks = _crnn().train(), []

    def batches():
        walks.append(1)
        return _noise(3, seed=1)

    average = WeightAverage("swa", batches=batches)
    average.attach(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for batch in _noise(2, seed=2):
            model(**batch, labels=torch.zeros(len(batch["input_values"]), dtype=torch.long)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        average.update()
    learning = _weights(model)
    judged = _averaged(average, model)
    assert _same(_weights(model), learning)
    by_hand = _crnn()
    by_hand.load_state_dict(judged)
    recompute_batch_norm(by_hand, lambda: _noise(3, seed=1))
    assert _same(_weights(by_hand), judged)
    assert not torch.equal(judged["stack.blocks.0.norm.running_var"], learning["stack.blocks.0.norm.running_var"])
    # Walked over once, for as long as the average stays, also in a run that goes on from its checkpoint.
    assert _same(_averaged(average, model), judged)
    resumed = _resumed(average, model, tmp_path)
    assert len(walks) == 1
    average.update()
    _averaged(average, model)
    _averaged(resumed, resumed._model)
    assert len(walks) == 2


# A training
