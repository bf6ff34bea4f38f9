"""The leaderboard of a sweep: a table of all trials as CSV, and a page that stands alone as HTML."""

import csv
import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from .. import __version__
from ..evaluation.metrics import NAMES
from ..pages import template
from .folder import replace_text
from .parameters import written
from .rows import STATES, Row
from .study import Study

METRICS = ("uar", "wa", "macro_f1", "weighted_f1", "loss")
# Of the picture, in the units of its view box.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 280, 70, 12, 12, 56


def write_leaderboard(study: Study, name: str, judged_on: str) -> None:
    """Rewrites leaderboard.csv and leaderboard.html, each readable as a whole at any time.

    Args:
        name: the recipe's.
        judged_on: the part on which the recipe judges its model.
    """
    rows = study.rows()
    columns = list(dict.fromkeys(key for row in sorted(rows, key=lambda row: row.number) for key in row.shown))
    replace_text(study.folder.csv, table(rows, columns, study.search.metric))
    replace_text(study.folder.page, page(study, rows, columns, name, judged_on))


def table(rows: Sequence[Row], columns: Sequence[str], metric: str) -> str:
    """One line a trial: rank among the complete, what validation says, and the keys that the trial set."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measured = [f"validation_{name}" for name in METRICS]
    writer.writerow(
        ["rank", "trial", "state", f"judged_by_{metric}", *measured, "epochs", "seconds", *columns, "message"]
    )
    for rank, row in enumerate(rows, 1):
        writer.writerow(
            [
                rank if row.state == "complete" else "",
                row.number,
                row.state,
                "" if row.value is None else row.value,
                *(row.metrics.get(name, "") for name in METRICS),
                row.epochs or "",
                "" if row.seconds is None else f"{row.seconds:.1f}",
                *(_cell(row.shown[key]) if key in row.shown else "" for key in columns),
                _text(row.message),
            ]
        )
    return text.getvalue()


def _text(text: str) -> str:
    """What a spreadsheet would take for a formula has an apostrophe before it, as is usual there."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _cell(value: Any) -> str:
    return _text(written(value)) if isinstance(value, str) else written(value)


def page(study: Study, rows: Sequence[Row], columns: Sequence[str], name: str, judged_on: str) -> str:
    """The page as HTML, every string escaped."""
    metric = study.search.metric
    tested = study.test.done()
    return _template().render(
        version=__version__,
        name=name,
        search=study.search.search,
        asked=study.asked,
        lower_is_better=study.lower_is_better,
        metric=metric,
        title=NAMES.get(metric, metric),
        names=NAMES,
        rows=rows,
        columns=columns,
        counts={state: sum(row.state == state for row in rows) for state in STATES},
        winner=study.winner(),
        tested=tested,
        tested_row=tested and next(row for row in rows if row.number == tested["trial"]),
        judged_on=judged_on,
        importances=list(study.importances().items()),
        picture=picture(rows, study.lower_is_better),
        pages=_pages(study, rows),
        seconds=sum(row.seconds or 0.0 for row in rows),
    )


def _pages(study: Study, rows: Sequence[Row]) -> dict[int | str, str]:
    """Addresses of the reports that stand in this folder, of trials by number and of ``"best"``; trials of other
    machines have theirs there."""
    folders = {row.number: study.folder.trial(row.number) for row in rows} | {"best": study.folder.best}
    pages = {whose: folder / "report" / "index.html" for whose, folder in folders.items()}
    return {whose: page.relative_to(study.folder.path).as_posix() for whose, page in pages.items() if page.is_file()}


@functools.cache
def _template() -> jinja2.Template:
    return template(__package__, "leaderboard.html", figure=figure, short=short, duration=duration)


def figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else written(value)


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclasses.dataclass(frozen=True)
class Picture:
    """Value by trial: points and the best so far, in the units of a view box of `width` x `height`."""

    width: int
    height: int
    points: list[Mapping[str, Any]]
    best: str
    ticks: list[tuple[float, str]]
    numbers: list[tuple[float, str]]
    left: float
    right: float
    bottom: float


def picture(rows: Sequence[Row], lower_is_better: bool) -> Picture | None:
    """None for fewer than two values."""
    valued = sorted((row for row in rows if row.value is not None), key=lambda row: row.number)
    if len(valued) < 2:
        return None
    values = [row.value for row in valued]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.01
    low, high = low - margin, high + margin
    last = max(row.number for row in valued)

    def across(number: float) -> float:
        return round(_LEFT + 8 + (_WIDTH - _LEFT - _RIGHT - 16) * number / max(last, 1), 1)

    def down(value: float) -> float:
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low), 1)

    steps, best = [], None
    for row in valued:
        if row.state == "complete" and (best is None or (row.value < best if lower_is_better else row.value > best)):
            if best is not None:
                steps.append((across(row.number), down(best)))
            best = row.value
            steps.append((across(row.number), down(best)))
    if best is not None:
        steps.append((across(last), down(best)))
    ticks = [low + (high - low) * share for share in (0.1, 0.5, 0.9)]
    numbers = sorted({round(last * share / 4) for share in range(5)})
    return Picture(
        _WIDTH,
        _HEIGHT,
        [
            {
                "x": across(row.number),
                "y": down(row.value),
                "state": row.state,
                "number": row.number,
                "value": row.value,
            }
            for row in valued
        ],
        " ".join(f"{x},{y}" for x, y in steps),
        [(down(value), f"{value:.3f}") for value in ticks],
        [(across(number), str(number)) for number in numbers],
        _LEFT,
        _WIDTH - _RIGHT,
        _HEIGHT - _BOTTOM,
    )
