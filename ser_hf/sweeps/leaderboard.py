"""The leaderboard of a sweep: its trials as a CSV table and as an HTML page that needs no network."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation.metrics import NAMES
from ..report.page import template
from ..report.views import duration
from .space import Search, short

STATES = ("complete", "pruned", "running", "failed")
METRICS = ("uar", "wa", "macro_f1", "weighted_f1", "loss")
# Size and margins of the chart, in the units of its view box.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 280, 70, 12, 12, 56


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial. `value` is the metric on validation; of a pruned trial, the best one so far."""

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


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """The trials of a sweep, ranked, with the result of the test and the importance of each parameter."""

    name: str
    search: Search
    rows: Sequence[Row]
    evaluated_on: str
    tested: dict[str, Any] | None
    importances: dict[str, float]

    @property
    def columns(self) -> list[str]:
        """The keys that any trial sets, in the order of the space."""
        rows = sorted(self.rows, key=lambda row: row.number)
        return list(dict.fromkeys(key for row in rows for key in row.shown))

    def csv(self) -> str:
        """One line a trial: its rank, its metrics on validation, and the keys that it sets."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        measured = [f"validation_{name}" for name in METRICS]
        writer.writerow(
            ["rank", "trial", "state", "objective", *measured, "epochs", "seconds", *self.columns, "message"]
        )
        for rank, row in enumerate(self.rows, 1):
            writer.writerow(
                [
                    rank if row.state == "complete" else "",
                    row.number,
                    row.state,
                    row.value,
                    *(row.metrics.get(name) for name in METRICS),
                    row.epochs or "",
                    None if row.seconds is None else f"{row.seconds:.1f}",
                    *(_cell(row.shown.get(key, "")) for key in self.columns),
                    _cell(row.message),
                ]
            )
        return text.getvalue()

    def html(self, folder: Path) -> str:
        """The page, which links the reports of the trials that are in `folder`."""
        folders = {row.number: f"trials/{row.number}" for row in self.rows} | {"best": "best"}
        pages = {key: f"{path}/report/index.html" for key, path in folders.items()}
        return template(__package__, "leaderboard.html", figure=_figure, short=short, duration=duration).render(
            name=self.name,
            search=self.search,
            title=NAMES.get(self.search.metric, self.search.metric),
            names=NAMES,
            rows=self.rows,
            columns=self.columns,
            counts={state: sum(row.state == state for row in self.rows) for state in STATES},
            winner=next((row for row in self.rows if row.state == "complete"), None),
            tested=self.tested,
            tested_row=self.tested and next((row for row in self.rows if row.number == self.tested["trial"]), None),
            evaluated_on=self.evaluated_on,
            importances=self.importances,
            chart=self.chart(),
            pages={key: path for key, path in pages.items() if (folder / path).is_file()},
            seconds=sum(row.seconds or 0.0 for row in self.rows),
        )

    def chart(self) -> dict[str, Any] | None:
        """Positions of the chart's points, of its line of the best so far and of its ticks; None below two values."""
        rows = sorted((row for row in self.rows if row.value is not None), key=lambda row: row.number)
        if len(rows) < 2:
            return None
        low, high = min(row.value for row in rows), max(row.value for row in rows)
        margin = 0.08 * (high - low) or 0.01
        low, high, last = low - margin, high + margin, max(1, rows[-1].number)
        better = min if self.search.metric == "loss" else max

        def x(number: float) -> float:
            return round(_LEFT + 8 + (_WIDTH - _LEFT - _RIGHT - 16) * number / last, 1)

        def y(value: float) -> float:
            return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low), 1)

        line, best = [], None
        for row in rows:
            if row.state == "complete":
                steps = [row.value] if best is None else [best, better(best, row.value)]
                line += [f"{x(row.number)},{y(value)}" for value in steps]
                best = steps[-1]
        return {
            "size": (_WIDTH, _HEIGHT),
            "axis": {"left": _LEFT, "right": _WIDTH - _RIGHT, "bottom": _HEIGHT - _BOTTOM},
            "points": [(x(row.number), y(row.value), row) for row in rows],
            "line": " ".join(line),
            "values": [(y(value), value) for value in (low + (high - low) * share for share in (0.1, 0.5, 0.9))],
            "numbers": [(x(number), number) for number in sorted({round(last * i / 4) for i in range(5)})],
        }


def ranked(rows: Sequence[Row], lower_is_better: bool) -> list[Row]:
    """Complete trials first, best first, then pruned, running and failed ones."""
    sign = 1 if lower_is_better else -1
    return sorted(
        rows,
        key=lambda row: (
            STATES.index(row.state),
            math.inf if row.value is None else sign * row.value,
            row.number,
        ),
    )


def _cell(value: Any) -> str:
    """A value as text; text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return str(value) if isinstance(value, float) else short(value)
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
