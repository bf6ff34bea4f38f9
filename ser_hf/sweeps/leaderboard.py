"""The leaderboard of a sweep: a table and a page of its trials, with the best one's test score."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from ..evaluation.metrics import NAMES
from ..report.page import template
from ..report.report import Report
from ..report.views import duration
from .space import Search, short

# The leaderboard lists trials in the order of these states.
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.FAIL: "failed",
}
KILLED = "its process was killed, perhaps because memory ran out"


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial. `value` is the validation metric; for a pruned trial, its best value so far.

    `settings` are the recipe keys that the trial sets, and `choices` what it chose in the space:
    values, and names of bundles in place of the keys that they set.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    choices: dict[str, Any]
    epochs: int
    seconds: float | None
    message: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    interval: list[float] | None = None
    folds: int = 1

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the trial in the leaderboard: names of bundles, then recipe keys."""
        bundles = {name: value for name, value in self.choices.items() if name not in self.settings}
        return bundles | self.settings


@dataclasses.dataclass(frozen=True)
class Tested:
    """The run of the best recipe, which was scored on the test split.

    Attributes:
        trial: the number of the best trial.
        trials: the number of complete trials at that time.
        settings: the recipe keys that the best trial set.
        report: the report of the run.
    """

    trial: int
    trials: int
    settings: dict[str, Any]
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; the report has the form of report.json."""
        return {
            "trial": self.trial,
            "trials": self.trials,
            "settings": self.settings,
            "report": self.report.to_dict(),
        }


def number_of(trial: FrozenTrial) -> int:
    """Return the number of a trial.

    A retried trial keeps the number of its first attempt, whose folder it continues.
    """
    return trial.system_attrs.get("failed_trial", trial.number)


def rows_of(trials: Sequence[FrozenTrial]) -> list[Row]:
    """Sort trials into rows: complete ones from best to worst, then pruned, running and failed."""
    order = list(STATES.values())
    rows = [_row(trial) for trial in trials]
    return sorted(rows, key=lambda row: (order.index(row.state), -(row.value or 0.0), row.number))


def _row(trial: FrozenTrial) -> Row:
    value = trial.value
    if trial.state == TrialState.PRUNED:
        value = max(trial.intermediate_values.values(), default=None)

    message = trial.user_attrs.get("message", "")
    if not message and trial.state == TrialState.FAIL:
        message = KILLED
    # The metrics, interval and folds of a complete trial.
    result = trial.user_attrs.get("result", {})
    return Row(
        number=number_of(trial),
        state=STATES[trial.state],
        value=value,
        settings=trial.user_attrs.get("settings", {}),
        choices=trial.user_attrs.get("choices", {}),
        epochs=max(trial.intermediate_values, default=0),
        seconds=None if trial.duration is None else trial.duration.total_seconds(),
        message=message,
        **result,
    )


def winner_of(rows: Sequence[Row]) -> Row | None:
    """Return the best complete trial of sorted rows."""
    if rows and rows[0].state == "complete":
        return rows[0]
    return None


def leaderboard_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """Return CSV with one line per trial: rank, these validation metrics, and the trial's keys."""
    lines = []
    for rank, row in enumerate(rows, 1):
        line: dict[str, Any] = {
            "rank": rank if row.state == "complete" else None,
            "trial": row.number,
            "state": row.state,
            "objective": row.value,
        }
        for name in metrics:
            line[f"validation_{name}"] = row.metrics.get(name)
        line["epochs"] = row.epochs or None
        line["seconds"] = None if row.seconds is None else round(row.seconds, 1)
        line["message"] = row.message
        lines.append(line | row.columns)
    return pd.DataFrame(lines, dtype=object).to_csv(index=False)


def leaderboard_page(
    name: str, search: Search, rows: Sequence[Row], tested: Tested | None, folder: Path
) -> str:
    """Return the page as HTML; it links the reports of trials that are in `folder`."""
    reports: dict[int | str, str] = {"best": "best/report/index.html"}
    for row in rows:
        reports[row.number] = f"trials/{row.number}/report/index.html"

    # The columns of any trial, in the order of the trials.
    columns: dict[str, None] = {}
    for row in sorted(rows, key=lambda row: row.number):
        columns |= dict.fromkeys(row.columns)

    tested_row = None
    if tested is not None:
        tested_row = next((row for row in rows if row.number == tested.trial), None)

    return template(__package__, "leaderboard.html", short=short, duration=duration).render(
        name=name,
        search=search,
        title=NAMES[search.metric],
        names=NAMES,
        rows=rows,
        columns=list(columns),
        counts={state: sum(row.state == state for row in rows) for state in STATES.values()},
        winner=winner_of(rows),
        tested=tested,
        tested_row=tested_row,
        pages={key: path for key, path in reports.items() if (folder / path).is_file()},
        seconds=sum(row.seconds or 0.0 for row in rows),
    )
