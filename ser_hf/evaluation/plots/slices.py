"""Where a model is good and where it is not: the score of every slice of the judged clips."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .saving import COLOURS

# Of more values than this the lowest and the highest are drawn.
MOST = 30
_LONGEST = 38


def slices_figure(slices: Mapping[str, Mapping[str, Mapping[str, Any]]], uar: float) -> Figure:
    """UAR of each value of each column as a dot, with its interval where the report has it, against that of all clips;
    one panel a column."""
    shown = {column: _shown(column, values) for column, values in slices.items()}
    heights = [0.45 + 0.3 * len(values) for values in shown.values()]
    figure = Figure(figsize=(7.5, sum(heights) + 0.4 * len(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    for axes, (column, values) in zip(panels, shown.items(), strict=True):
        _draw(axes, values, uar)
        told = f" (the {MOST // 2} lowest and highest of {len(slices[column])})" if len(slices[column]) > MOST else ""
        axes.set_title(column.replace("_", " ") + told, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel(f"UAR (dashed: {uar:.3f}, of all clips)")
    return figure


def _shown(column: str, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Speakers by their score, the lowest on top; other values as they come."""
    if column != "speaker" and len(values) <= MOST:
        return dict(values)
    ordered = sorted(values.items(), key=lambda item: item[1]["uar"])
    return dict(ordered if len(ordered) <= MOST else ordered[: MOST // 2] + ordered[-MOST // 2 :])


def _draw(axes: Axes, values: Mapping[str, Mapping[str, Any]], uar: float) -> None:
    axes.axvline(uar, color="0.4", linestyle="--", linewidth=1)
    for place, row in enumerate(values.values()):
        if row.get("interval"):
            axes.plot(row["interval"], [place, place], color=COLOURS[0], linewidth=2.5, alpha=0.45)
        axes.plot(row["uar"], place, "o", color=COLOURS[0], markersize=5, clip_on=False)
    names = [f"{_short(value)} ({row['clips']})" for value, row in values.items()]
    # Names come from files and tables: a dollar sign in one is no formula.
    axes.set_yticks(range(len(values)), names, parse_math=False, fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6))
    axes.grid(alpha=0.3, axis="x")


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
