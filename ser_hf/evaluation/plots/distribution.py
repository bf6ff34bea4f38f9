"""How many clips of each class every part has."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .saving import COLOURS


def distribution_figure(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> Figure:
    """Clips per class in each part: bars side by side, or a table with shades where there are many parts (folds)."""
    if len(counts) > len(COLOURS):
        return _counts_table(counts, names)
    figure = Figure(figsize=(2 + len(names), 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(counts)
    for i, (part, values) in enumerate(counts.items()):
        places = np.arange(len(names)) + (i - (len(counts) - 1) / 2) * width
        bars = axes.bar(places, values, width, label=f"{part} ({sum(values)})", color=COLOURS[i % len(COLOURS)])
        axes.bar_label(bars, fontsize=7)
    # Names come from files and recipes: a dollar sign in one is no formula.
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set(ylabel="clips", title="Clips per class")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(counts), frameon=False)
    return figure


def _counts_table(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> Figure:
    values = np.asarray(list(counts.values()))
    figure = Figure(figsize=(3 + 0.8 * len(names), 1.5 + 0.35 * len(counts)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="Blues", vmin=0, aspect="auto")
    for (i, j), count in np.ndenumerate(values):
        colour = "white" if count > 0.6 * values.max() else "black"
        axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set_yticks(range(len(counts)), [f"{part} ({sum(own)})" for part, own in counts.items()], parse_math=False)
    axes.set_title("Clips per class")
    return figure
