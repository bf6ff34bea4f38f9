"""The leaderboard of a sweep: its trials as a CSV table and as an HTML page that needs no network."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.metrics import NAMES
from ..report.page import picture, template
from ..report.plots import svg
from ..report.views import duration
from .space import Search, short

STATES = ("complete", "pruned", "running", "failed")
METRICS = ("uar", "wa", "macro_f1", "weighted_f1")


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial. `value` is the metric on validation; of a pruned trial, the best one so far."""

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    epochs: int
    seconds: float | None
    message: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    interval: list[float] | None = None
    folds: int = 1


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Complete trials first, best first, then pruned, running and failed ones."""
    return sorted(
        rows, key=lambda row: (STATES.index(row.state), math.inf if row.value is None else -row.value, row.number)
    )


def leaderboard_csv(rows: Sequence[Row]) -> str:
    """One line a trial: its rank, its metrics on validation, and the keys that it sets."""
    table = [
        {
            "rank": rank if row.state == "complete" else None,
            "trial": row.number,
            "state": row.state,
            "objective": row.value,
            **{f"validation_{name}": row.metrics.get(name) for name in METRICS},
            "epochs": row.epochs or None,
            "seconds": None if row.seconds is None else round(row.seconds, 1),
            "message": row.message,
            **row.settings,
        }
        for rank, row in enumerate(rows, 1)
    ]
    return pd.DataFrame(table, dtype=object).to_csv(index=False)


def leaderboard_page(
    name: str, search: Search, rows: Sequence[Row], tested: dict[str, Any] | None, folder: Path
) -> str:
    """The page, which links the reports of the trials that are in `folder`."""
    folders = {row.number: f"trials/{row.number}" for row in rows} | {"best": "best"}
    pages = {key: f"{path}/report/index.html" for key, path in folders.items()}
    by_number = sorted(rows, key=lambda row: row.number)
    return template(__package__, "leaderboard.html", short=short, duration=duration).render(
        name=name,
        search=search,
        title=NAMES[search.metric],
        names=NAMES,
        rows=rows,
        columns=list(dict.fromkeys(key for row in by_number for key in row.settings)),
        counts={state: sum(row.state == state for row in rows) for state in STATES},
        winner=next((row for row in rows if row.state == "complete"), None),
        tested=tested,
        tested_row=tested and next((row for row in rows if row.number == tested["trial"]), None),
        chart=_chart([row for row in by_number if row.value is not None], NAMES[search.metric]),
        pages={key: path for key, path in pages.items() if (folder / path).is_file()},
        seconds=sum(row.seconds or 0.0 for row in rows),
    )


def _chart(rows: Sequence[Row], title: str) -> str | None:
    """The metric by trial with intervals, and the best so far, as the address of an SVG; None below two trials."""
    if len(rows) < 2:
        return None
    drawn = Figure(figsize=(7, 3), layout="constrained")
    axes = drawn.add_subplot()
    complete = [row for row in rows if row.state == "complete"]
    for row in rows:
        ends = [[abs(end - row.value)] for end in row.interval] if row.interval else None
        face = "C0" if row in complete else "none"
        axes.errorbar(row.number, row.value, ends, fmt="o", color="C0", markerfacecolor=face, elinewidth=0.8)
    best = [max(row.value for row in complete[: i + 1]) for i in range(len(complete))]
    axes.step([row.number for row in complete], best, color="C2", where="post")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="trial", ylabel=f"{title} on validation")
    return picture(title, svg(drawn), drawn.get_size_inches()).source
