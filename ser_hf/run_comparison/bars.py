"""The picture of a comparison: one bar a run, with its interval and the seeds or folds it is the mean of."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..evaluation.metrics import NAMES
from ..evaluation.plots import COLOURS
from .text import shortened

# Letters of a name in one line. Of what is longer than two lines the middle is left out, dots at the end of the first.
_WIDTH = 34


def bars_figure(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Runs from top to bottom in their order, `ser_hf.run_comparison.rows.row_of` each."""
    short = shortened([row["name"] for row in rows], 2 * _WIDTH - 3)
    names = ["\n".join(textwrap.wrap(short[row["name"]], _WIDTH, break_on_hyphens=False)) for row in rows]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(8.5, 1.2 + 0.12 * lines + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    values = np.array([row["metrics"][metric] for row in rows])
    leaky = [bool(row["protocol"]["leak"] or row["protocol"]["heard_before"]) for row in rows]
    # Hatching is drawn in the edge's colour: stripes of the ground would vanish on a clear one.
    with matplotlib.rc_context({"hatch.linewidth": 1.2}):
        bars = axes.barh(
            places, values, 0.62, color=[COLOURS[1] if leak else COLOURS[0] for leak in leaky], alpha=0.75
        )
    for bar, leak in zip(bars, leaky, strict=True):
        bar.set_hatch("//" if leak else "")
    ends = values.copy()
    for place, row in zip(places, rows, strict=True):
        if metric in row["intervals"]:
            low, high = row["intervals"][metric]
            axes.plot([low, high], [place, place], color="black", linewidth=1.4)
            axes.plot([low, high], [place, place], "|", color="black", markersize=7)
            ends[place] = max(ends[place], high)
        points = row["values"].get(metric, [])
        if len(points) > 1:
            axes.plot(
                points, [place + 0.17] * len(points), "o", color="white", markeredgecolor="black", markersize=3.6
            )
            ends[place] = max(ends[place], *points)
        axes.text(ends[place] + 0.012, place, f"{values[place]:.3f}", va="center", fontsize=9)
    chance = _chance(rows) if metric == "uar" else None
    handles = []
    if chance is not None:
        handles.append(axes.axvline(chance, color="0.35", linestyle=":", linewidth=1.2, label=f"chance {chance:.3f}"))
    if any(leaky):
        handles.append(Patch(facecolor=COLOURS[1], alpha=0.75, hatch="//", label="speakers heard before: flattered"))
    # Names come from recipes and folders: a dollar sign in one is no formula.
    axes.set_yticks(places, names, parse_math=False, fontsize=9)
    axes.set(xlim=(0, max(1.0, ends.max() + 0.09)), xlabel=_axis(rows, metric))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _axis(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    confidences = {row["confidence"] for row in rows if metric in row["intervals"]}
    words = [NAMES[metric]]
    if len(confidences) == 1:
        words.append(f"lines: {100 * confidences.pop():g} % intervals")
    kinds = {row["repeats"]["kind"] for row in rows if row["repeats"] and row["repeats"]["number"] > 1}
    if kinds:
        words.append(f"points: {' or '.join(sorted(kinds))}")
    return f"{words[0]} ({', '.join(words[1:])})" if len(words) > 1 else words[0]


def _chance(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """UAR of guessing, where all runs know the same number of classes."""
    counts = {len(row["labels"]) for row in rows}
    return 1 / counts.pop() if len(counts) == 1 else None
