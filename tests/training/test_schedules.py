"""Every schedule against a curve worked by hand or torch's own, its settings, and resuming in the middle of it."""

import io
import math

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from transformers import SchedulerType

from ser_hf.training.optimizer import (
    OWN,
    check_schedule,
    follows_metric,
    ignores_warmup,
    make_schedule,
    schedule_words,
)
from ser_hf.utils.errors import UserError

# What a word cannot do without.
NEEDED = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 0.02},
    "warmup_stable_decay": {"num_decay_steps": 4},
}
BASE, RATIO = 0.1, 25.0


def _optimizer(kind=torch.optim.SGD, **settings):
    """The base rate, and a group at a multiple of it."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(2)]
    groups[1]["lr"] = BASE * RATIO
    return kind(groups, lr=BASE, **settings)


def _make(word, optimizer, steps=12, warmup_steps=2, epochs=3.0, kwargs=None, greater_is_better=True):
    return make_schedule(
        word,
        optimizer,
        steps=steps,
        warmup_steps=0 if ignores_warmup(word) else warmup_steps,
        epochs=epochs,
        kwargs=NEEDED.get(word, {}) | (kwargs or {}),
        greater_is_better=greater_is_better,
    )


def _rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def _advance(word, optimizer, schedule, metric):
    optimizer.step()
    schedule.step(metric) if follows_metric(word) else schedule.step()


def _curve(word, steps=12, metrics=None, **settings):
    """The factors on the base rate that each optimiser step learns with; both groups must have the same."""
    optimizer = _optimizer(momentum=0.9)
    schedule = _make(word, optimizer, steps, **settings)
    factors = []
    for step in range(steps):
        rates = _rates(optimizer)
        assert rates[1] == pytest.approx(RATIO * rates[0], rel=1e-9), f"{word}, step {step}"
        factors.append(rates[0] / BASE)
        _advance(word, optimizer, schedule, metrics[step] if metrics else 0.5)
    return factors


def _cosine(progress):
    return 0.5 * (1 + math.cos(math.pi * progress))


RISE = [0.0, 0.5]
TEN = range(10)
FACTORS = {
    "linear": RISE + [1 - i / 10 for i in TEN],
    "cosine": RISE + [_cosine(i / 10) for i in TEN],
    "cosine_with_restarts": RISE + [_cosine(2 * i / 10 % 1) for i in TEN],
    "polynomial": RISE + [0.2 + 0.8 * (1 - i / 10) ** 2 for i in TEN],
    "constant": [1.0] * 12,
    "constant_with_warmup": RISE + [1.0] * 10,
    "inverse_sqrt": RISE + [math.sqrt(2 / i) for i in range(2, 12)],
    "cosine_with_min_lr": RISE + [0.1 + 0.9 * _cosine(i / 10) for i in TEN],
    "cosine_warmup_with_min_lr": [0.5, 1.0] + [0.2 + 0.8 * _cosine((i + 1) / 10) for i in TEN],
    "warmup_stable_decay": RISE + [1.0] * 6 + [_cosine(i / 4) for i in range(4)],
    # Four steps an epoch: after the second epoch a half, and the warm-up before.
    "step": RISE + [1.0] * 6 + [0.5] * 4,
}
SETTINGS = {
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"lr_end": 0.02, "power": 2.0},
    "step": {"step_size": 2, "gamma": 0.5},
}


@pytest.mark.parametrize("word", FACTORS)
def test_rates_follow_the_curve(word):
    assert _curve(word, kwargs=SETTINGS.get(word)) == pytest.approx(FACTORS[word], abs=1e-12)


def test_every_word_has_a_curve_and_they_are_those_of_transformers_and_ours():
    assert schedule_words() == [word.value for word in SchedulerType] + ["step", "one_cycle"]
    assert set(schedule_words()) == set(FACTORS) | {"one_cycle", "reduce_lr_on_plateau", "greedy"}
    assert set(OWN) == {"step", "one_cycle"}


def test_step_counts_epochs_that_are_no_whole_number_of_the_run():
    # Seven steps an epoch, and 17 in all: in floating point, an epoch is a little more than seven.
    assert 17 / (17 / 7) > 7
    found = _curve("step", 17, warmup_steps=0, epochs=17 / 7, kwargs={"step_size": 1})
    assert found == pytest.approx([1.0] * 7 + [0.1] * 7 + [0.01] * 3)


@pytest.mark.parametrize(
    "kwargs", [{}, {"pct_start": 0.5, "anneal_strategy": "linear"}, {"three_phase": True}, {"div_factor": 4}]
)
def test_one_cycle_is_torchs_at_each_groups_rate_and_keeps_its_last_rate(kwargs):
    ours, torchs = _optimizer(torch.optim.AdamW), _optimizer(torch.optim.AdamW)
    schedule = _make("one_cycle", ours, kwargs=kwargs)
    reference = OneCycleLR(torchs, [BASE, BASE * RATIO], total_steps=12, **kwargs)
    for _ in range(11):
        assert _rates(ours) == _rates(torchs)
        assert [group["betas"] for group in ours.param_groups] == [group["betas"] for group in torchs.param_groups]
        for optimizer in (ours, torchs):
            optimizer.step()
        schedule.step()
        reference.step()
    last = _rates(ours)
    assert last == _rates(torchs)
    assert last[0] == pytest.approx(BASE / kwargs.get("div_factor", 25) / 1e4)
    schedule.step()  # the Trainer does, after the last optimiser step
    assert _rates(ours) == schedule.get_last_lr() == last


def test_one_cycle_needs_a_momentum_to_cycle():
    with pytest.raises(UserError, match=r"^training\.lr_scheduler_kwargs: optimizer must support momentum"):
        _make("one_cycle", _optimizer(torch.optim.Adagrad))
    _make("one_cycle", _optimizer(torch.optim.Adagrad), kwargs={"cycle_momentum": False})


METRICS = [0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7]


def test_plateau_lowers_the_rate_when_the_metric_gets_no_better():
    optimizer = _optimizer()
    reference = ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=1, min_lr=[0.03, 0.03 * RATIO], eps=0)
    expected = []
    for metric in METRICS:
        expected.append(_rates(optimizer)[0] / BASE)
        optimizer.step()
        reference.step(metric)
    kwargs = {"factor": 0.5, "patience": 1, "min_lr": 0.03}
    found = _curve("reduce_lr_on_plateau", metrics=METRICS, kwargs=kwargs)
    assert found == pytest.approx(expected)
    assert found == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])


@pytest.mark.parametrize("word", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize(
    ("greater", "kwargs", "falls"),
    [(True, {}, False), (False, {}, True), (True, {"mode": "min"}, True), (False, {"mode": "max"}, False)],
)
def test_a_metric_that_rises_is_a_gain_where_greater_is_better(word, greater, kwargs, falls):
    rising = [i / 10 for i in range(12)]
    rates = _curve(word, metrics=rising, greater_is_better=greater, kwargs={"patience": 1} | kwargs)
    assert (rates[-1] < 1) is falls
    assert rates == sorted(rates, reverse=falls)


def test_greedy_lowers_and_raises_between_bounds_of_the_rate():
    down = _curve("greedy", 40, metrics=[0.5] * 40, kwargs={"patience": 0, "factor": 0.5})
    assert down[:4] == pytest.approx([1, 2, 1, 0.5])  # the first metric is a gain on none
    assert min(down) == pytest.approx(0.01)
    up = _curve("greedy", 12, metrics=[i / 10 for i in range(12)], kwargs={"patience": 0, "factor": 0.5})
    assert up[:3] == pytest.approx([1, 2, 4])
    assert max(up) == pytest.approx(10)
    bounds = {"min_lr": BASE / 2, "max_lr": BASE * 2, "patience": 0, "factor": 0.5}
    assert max(_curve("greedy", metrics=[i / 10 for i in range(12)], kwargs=bounds)) == pytest.approx(2)
    assert min(_curve("greedy", metrics=[0.5] * 12, kwargs=bounds)) == pytest.approx(0.5)


@pytest.mark.parametrize("word", schedule_words())
@pytest.mark.parametrize("stop", [1, 5])
def test_a_run_resumed_in_the_middle_learns_at_the_same_rates(word, stop):
    def start():
        optimizer = _optimizer(torch.optim.AdamW)
        return optimizer, _make(word, optimizer, kwargs={"patience": 1} if follows_metric(word) else {})

    def run(optimizer, schedule, steps):
        rates = []
        for step in steps:
            rates.append([(group["lr"], group["betas"]) for group in optimizer.param_groups])
            _advance(word, optimizer, schedule, METRICS[step])
        return rates

    optimizer, schedule = start()
    whole = run(optimizer, schedule, range(12))
    optimizer, schedule = start()
    run(optimizer, schedule, range(stop))
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), schedule.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    optimizer, schedule = start()
    optimizer.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    assert run(optimizer, schedule, range(stop, 12)) == whole[stop:]
    assert len({str(rates) for rates in whole}) > 1 or word == "constant"


def test_what_has_no_warm_up():
    without = {word for word in schedule_words() if ignores_warmup(word)}
    assert without == {"constant", "reduce_lr_on_plateau", "greedy", "one_cycle"}
    assert {word for word in schedule_words() if follows_metric(word)} == {"reduce_lr_on_plateau", "greedy"}


@pytest.mark.parametrize("word", schedule_words())
def test_a_good_schedule_passes_the_check(word):
    for warmup in (None, 0, *(() if ignores_warmup(word) else (0.05, 100))):
        check_schedule(word, NEEDED.get(word), warmup)
    check_schedule(word, NEEDED.get(word, {}) | SETTINGS.get(word, {}), None)


@pytest.mark.parametrize(
    ("word", "kwargs", "warmup", "message"),
    [
        ("cosin", {}, None, r"_type: expected one of linear, cosine, .*, step, one_cycle, got 'cosin'"),
        ("cosine", {"cycles": 2}, None, r"_kwargs\.cycles: cosine has no such setting; it takes num_cycles$"),
        ("one_cycle", {"max_lr": 2}, None, r"_kwargs\.max_lr: one_cycle has no such setting; it takes pct_start, "),
        ("cosine", {"num_cycles": "two"}, None, r"_kwargs\.num_cycles: expected a number, got the word 'two'"),
        ("greedy", {"min_lr": [1e-6, 1e-5]}, None, r"_kwargs\.min_lr: expected a number, got a list"),
        ("greedy", {"factor": 0}, None, r"_kwargs\.factor: 0.0 is not above 0"),
        ("reduce_lr_on_plateau", {"mode": "up"}, None, r"_kwargs\.mode: expected one of min, max"),
        ("reduce_lr_on_plateau", {"patience": -1}, None, r"_kwargs\.patience: -1 is not a number from 0"),
        ("polynomial", {"lr_end": float("inf")}, None, r"_kwargs\.lr_end: inf is not a number from 0"),
        ("step", {"gamma": 1.1}, None, r"_kwargs: gamma: 1.1 is above 1"),
        ("warmup_stable_decay", {}, None, r"_kwargs\.num_decay_steps: missing; warmup_stable_decay needs it"),
        ("warmup_stable_decay", {"num_decay_steps": 2.5}, None, r"_kwargs\.num_decay_steps: 2.5 is no whole number"),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 4, "decay_type": "log"},
            None,
            r"_kwargs: Unknown decay type: log, expected",
        ),
        ("cosine_with_min_lr", {}, None, r"_kwargs: cosine_with_min_lr needs min_lr \(a rate\) or min_lr_rate"),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 10}, None, r"_kwargs\.min_lr_rate: 10.0 is not a share"),
        ("one_cycle", {"pct_start": 2}, None, r"_kwargs: Expected float between 0 and 1 pct_start"),
        ("one_cycle", {"pct_start": 0.6, "three_phase": True}, None, r"_kwargs: pct_start: 0.6 leaves three_phase no"),
        ("constant", {}, 10, r"training\.warmup_steps: constant has none; use constant_with_warmup$"),
        ("one_cycle", {}, 0.1, r"training\.warmup_steps: one_cycle has none; its rise is .*pct_start$"),
        ("cosine", {}, -1, r"training\.warmup_steps: -1 is no number of steps"),
    ],
)
def test_what_is_wrong_is_told_before_there_is_a_model(word, kwargs, warmup, message):
    with pytest.raises(UserError, match=message):
        check_schedule(word, kwargs, warmup)


@pytest.mark.parametrize(
    ("word", "more", "message"),
    [
        (
            "polynomial",
            {"kwargs": {"lr_end": BASE}},
            r"_kwargs\.lr_end: 0.1 is not below training\.learning_rate, 0.1",
        ),
        ("greedy", {"kwargs": {"min_lr": 1}}, r"_kwargs\.min_lr: 1.0 is not below training\.learning_rate, 0.1"),
        ("greedy", {"kwargs": {"max_lr": 0.01}}, r"_kwargs\.max_lr: 0.01 is below training\.learning_rate, 0.1"),
        ("cosine", {"warmup_steps": 12}, r"training\.warmup_steps: 12 steps are the whole run, which has 12"),
        (
            "warmup_stable_decay",
            {"kwargs": {"num_decay_steps": 11}},
            r"_kwargs\.num_decay_steps: 11.0 is no whole number of the 10 steps",
        ),
    ],
)
def test_what_only_the_run_can_tell(word, more, message):
    with pytest.raises(UserError, match=message):
        _make(word, _optimizer(), **more)


def test_a_rate_of_nothing_is_told():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.0)
    with pytest.raises(UserError, match=r"^training\.learning_rate: 0.0 is not above 0"):
        _make("cosine", optimizer)


@pytest.mark.parametrize("word", [word for word in schedule_words() if word != "warmup_stable_decay"])
def test_a_run_of_one_step_does_not_spend_it_warming_up(word):
    optimizer = _optimizer(momentum=0.9)
    schedule = _make(word, optimizer, steps=1, warmup_steps=1)
    assert all(rate > 0 for rate in _rates(optimizer))
    _advance(word, optimizer, schedule, 0.5)


@pytest.mark.parametrize(("steps", "three_phase"), [(10, False), (10, True), (1, False)])
def test_one_cycle_may_rise_for_one_step_or_be_one(steps, three_phase):
    rates = _curve("one_cycle", steps, kwargs={"pct_start": 0.1, "three_phase": three_phase})
    assert all(map(math.isfinite, rates))
    if not three_phase and steps > 1:
        assert rates[0] == pytest.approx(1.0)
        assert rates == sorted(rates, reverse=True)
