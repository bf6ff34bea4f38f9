"""Learning rate schedules, against those of transformers and torch."""

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR, StepLR
from transformers import SchedulerType, get_scheduler

from ser_hf.training.schedules import (
    OF_TORCH,
    WITHOUT_WARMUP,
    check_schedule,
    count_in_steps,
    make_schedule,
    schedule_names,
)
from ser_hf.utils.errors import UserError

# Settings without a default.
NEEDED = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 0.02},
    "warmup_stable_decay": {"num_decay_steps": 4},
}
BY_METRIC = ("reduce_lr_on_plateau", "greedy")
BASE = 0.1
RATIO = 25.0


def _optimizer(kind=torch.optim.AdamW):
    """Two groups: the base rate, and a multiple of it."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(2)]
    groups[1]["lr"] = BASE * RATIO
    return kind(groups, lr=BASE)


def _rates(optimizer, schedule, steps, metrics=None):
    rates = []
    for step in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step(metrics[step]) if metrics else schedule.step()
    return rates


def _schedule(name, optimizer, warmup=0, kwargs=None, **further):
    """The schedule of a run of 12 steps, of which 3 are an epoch."""
    return make_schedule(
        name,
        optimizer,
        steps=12,
        steps_per_epoch=3,
        warmup_steps=warmup,
        kwargs=kwargs,
        **further,
    )


def test_names_are_those_of_transformers_and_of_torch():
    names = [name.value for name in SchedulerType]
    assert schedule_names() == [*names, "one_cycle", "step", "multi_step"]


@pytest.mark.parametrize(
    "name", [name for name in schedule_names() if name not in (*BY_METRIC, *OF_TORCH)]
)
def test_schedules_of_transformers_are_theirs(name):
    ours = _optimizer()
    theirs = _optimizer()
    warmup = 0 if name in WITHOUT_WARMUP else 2
    kwargs = NEEDED.get(name, {})
    check_schedule(name, kwargs, warmup)
    own = _schedule(name, ours, warmup, kwargs)
    assert _rates(ours, own, 12) == _rates(
        theirs, get_scheduler(name, theirs, warmup, 12, kwargs), 12
    )


@pytest.mark.parametrize(
    "kwargs", [{}, {"pct_start": 0.5, "anneal_strategy": "linear"}, {"three_phase": True}]
)
def test_one_cycle_is_torchs_at_each_groups_rate(kwargs):
    ours = _optimizer()
    theirs = _optimizer()
    own = _schedule("one_cycle", ours, kwargs=kwargs)
    reference = OneCycleLR(theirs, [BASE, BASE * RATIO], total_steps=12, **kwargs)
    assert _rates(ours, own, 12) == _rates(theirs, reference, 12)


@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_step_is_torchs_at_each_groups_rate(unit):
    ours = _optimizer()
    theirs = _optimizer()
    size = 3 if unit == "steps" else 1
    own = _schedule("step", ours, kwargs={"step_size": size, "gamma": 0.5, "unit": unit})
    reference = StepLR(theirs, step_size=3, gamma=0.5)
    assert _rates(ours, own, 12) == [
        pytest.approx(rates) for rates in _rates(theirs, reference, 12)
    ]


@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_multi_step_is_torchs_at_each_groups_rate(unit):
    ours = _optimizer()
    theirs = _optimizer()
    milestones = [6, 9] if unit == "steps" else [2, 3]
    own = _schedule("multi_step", ours, kwargs={"milestones": milestones, "unit": unit})
    reference = MultiStepLR(theirs, [6, 9])
    assert _rates(ours, own, 12) == [
        pytest.approx(rates) for rates in _rates(theirs, reference, 12)
    ]


def test_drops_count_from_the_start_of_the_warm_up():
    optimizer = _optimizer()
    kwargs = {"step_size": 5, "gamma": 0.1, "unit": "steps"}
    schedule = _schedule("step", optimizer, warmup=2, kwargs=kwargs)
    rates = [first / BASE for first, _ in _rates(optimizer, schedule, 12)]
    expected = [0, 0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert rates == pytest.approx(expected)


def test_drops_in_epochs_become_drops_in_steps():
    drops = count_in_steps("multi_step", {"milestones": [2, 3]}, steps_per_epoch=40)
    assert drops.model_dump() == {"gamma": 0.1, "unit": "steps", "milestones": [80, 120]}
    assert count_in_steps("multi_step", drops.model_dump(), steps_per_epoch=7) == drops


@pytest.mark.parametrize(
    ("name", "kwargs", "key"),
    [
        ("step", None, "step_size"),
        ("step", {"step_size": 0}, "step_size"),
        ("step", {"step_size": 2, "gamma": 1.5}, "gamma"),
        ("step", {"step_size": 2, "unit": "clips"}, "unit"),
        ("multi_step", {"milestones": []}, "milestones"),
        ("multi_step", {"milestones": [4, 2]}, "milestones"),
        ("multi_step", {"step_size": 2}, "step_size"),
    ],
)
def test_a_wrong_setting_of_drops_is_named(name, kwargs, key):
    with pytest.raises(UserError, match=rf"^training\.lr_scheduler_kwargs\.{key}: "):
        check_schedule(name, kwargs, 0)


@pytest.mark.parametrize("name", BY_METRIC)
@pytest.mark.parametrize("greater", [True, False])
def test_a_metric_that_gets_worse_lowers_the_rate(name, greater):
    optimizer = _optimizer()
    settings = {"kwargs": {"patience": 1}, "greater_is_better": greater}
    schedule = _schedule(name, optimizer, **settings)
    falling = [1 - step / 20 for step in range(12)]
    rates = _rates(optimizer, schedule, 12, falling if greater else falling[::-1])
    assert rates[-1][0] < BASE


@pytest.mark.parametrize(
    ("name", "kwargs", "warmup", "message"),
    [
        ("cosine", {"cycles": 2}, 0, r"_kwargs: cosine: .*unexpected keyword argument 'cycles'"),
        (
            "one_cycle",
            {"pct_start": 2},
            0,
            r"_kwargs: one_cycle: Expected float between 0 and 1 pct_start",
        ),
        ("warmup_stable_decay", {}, 0, r"_kwargs: warmup_stable_decay: .*num_decay_steps"),
    ],
)
def test_wrong_settings_are_refused_before_there_is_a_model(name, kwargs, warmup, message):
    with pytest.raises(UserError, match=message):
        check_schedule(name, kwargs, warmup)


def test_a_warm_up_leaves_steps_to_train():
    message = r"training\.warmup_steps: expected fewer than the 12 steps of the run, got 12"
    with pytest.raises(UserError, match=message):
        _schedule("cosine", _optimizer(), warmup=12)
    optimizer = _optimizer()
    make_schedule("cosine", optimizer, steps=1, steps_per_epoch=1, warmup_steps=1)
    assert optimizer.param_groups[0]["lr"] == BASE
