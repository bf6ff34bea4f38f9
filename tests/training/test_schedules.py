"""Learning rate schedules, against those of transformers and torch."""

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from transformers import SchedulerType, get_scheduler

from ser_hf.training.schedules import (
    WITHOUT_WARMUP,
    check_schedule,
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


def test_names_are_those_of_transformers_and_one_cycle():
    assert schedule_names() == [name.value for name in SchedulerType] + ["one_cycle"]


@pytest.mark.parametrize(
    "name", [name for name in schedule_names() if name not in (*BY_METRIC, "one_cycle")]
)
def test_schedules_of_transformers_are_theirs(name):
    ours = _optimizer()
    theirs = _optimizer()
    warmup = 0 if name in WITHOUT_WARMUP else 2
    kwargs = NEEDED.get(name, {})
    check_schedule(name, kwargs, warmup)
    own = make_schedule(name, ours, steps=12, warmup_steps=warmup, kwargs=kwargs)
    assert _rates(ours, own, 12) == _rates(
        theirs, get_scheduler(name, theirs, warmup, 12, kwargs), 12
    )


@pytest.mark.parametrize(
    "kwargs", [{}, {"pct_start": 0.5, "anneal_strategy": "linear"}, {"three_phase": True}]
)
def test_one_cycle_is_torchs_at_each_groups_rate(kwargs):
    ours = _optimizer()
    theirs = _optimizer()
    own = make_schedule("one_cycle", ours, steps=12, warmup_steps=0, kwargs=kwargs)
    reference = OneCycleLR(theirs, [BASE, BASE * RATIO], total_steps=12, **kwargs)
    assert _rates(ours, own, 12) == _rates(theirs, reference, 12)


@pytest.mark.parametrize("name", BY_METRIC)
@pytest.mark.parametrize("greater", [True, False])
def test_a_metric_that_gets_worse_lowers_the_rate(name, greater):
    optimizer = _optimizer()
    settings = {"kwargs": {"patience": 1}, "greater_is_better": greater}
    schedule = make_schedule(name, optimizer, steps=12, warmup_steps=0, **settings)
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
        make_schedule("cosine", _optimizer(), steps=12, warmup_steps=12)
    optimizer = _optimizer()
    make_schedule("cosine", optimizer, steps=1, warmup_steps=1)
    assert optimizer.param_groups[0]["lr"] == BASE
