"""The trials of a sweep as people read them: which count, in which order, and what their failures say."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

# So many failures alike, one after the other, are no trial's own.
ALIKE = 3
STATES = ("complete", "pruned", "running", "failed")
_WORDS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.FAIL: "failed",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial as the leaderboard has it. `value` is what validation says of it, of a pruned one the best so far."""

    number: int
    state: str
    value: float | None
    shown: dict[str, Any]
    settings: dict[str, Any]
    epochs: int
    seconds: float | None
    metrics: dict[str, float]
    interval: list[float] | None
    folds: int
    message: str
    cause: str | None


def counting(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Of each point one trial: the first that did not fail, or the latest failure. Withdrawn ones do not count."""
    held: dict[str, FrozenTrial] = {}
    for trial in trials:
        point = trial.user_attrs["point"]
        free = point not in held or held[point].state == TrialState.FAIL
        if free and "withdrawn" not in trial.user_attrs:
            held[point] = trial
    return sorted(held.values(), key=lambda trial: trial.number)


def as_row(trial: FrozenTrial, lower_is_better: bool) -> Row:
    attributes, value = trial.user_attrs, trial.value if trial.state == TrialState.COMPLETE else None
    if trial.state == TrialState.PRUNED:
        value = (min if lower_is_better else max)(trial.intermediate_values.values(), default=None)
    return Row(
        trial.number,
        _WORDS[trial.state],
        value,
        attributes.get("shown", {}),
        attributes.get("settings", {}),
        max(trial.intermediate_values, default=0),
        attributes.get("seconds"),
        attributes.get("metrics", {}),
        attributes.get("interval"),
        attributes.get("judged", {}).get("folds", 1),
        attributes.get("message", ""),
        attributes.get("cause"),
    )


def ranked(trials: Iterable[FrozenTrial], lower_is_better: bool) -> list[Row]:
    """Complete trials from the best on, then pruned, running and failed ones."""
    sign = 1 if lower_is_better else -1

    def rank(row: Row) -> tuple:
        return STATES.index(row.state), math.inf if row.value is None else sign * row.value, row.number

    return sorted((as_row(trial, lower_is_better) for trial in trials), key=rank)


def alike(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The failures at the end of the trials that have ended, if they are three or more with one message but for its
    numbers."""
    ended = sorted((t for t in trials if t.state.is_finished()), key=lambda t: (t.datetime_complete, t.number))
    last: list[FrozenTrial] = []
    for trial in reversed(ended):
        if trial.state != TrialState.FAIL or (last and _outline(trial) != _outline(last[0])):
            break
        last.append(trial)
    return last if len(last) >= ALIKE else []


def _outline(trial: FrozenTrial) -> str:
    return re.sub(r"[\d.e+-]*\d", "#", trial.user_attrs.get("message", ""))
