"""How well each class is recognised."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .saving import COLOURS

_SHOWN = {"precision": "precision", "recall": "recall", "f1": "F1"}
# On each of the colours.
_INK = ("white", "black", "white")


def per_class_figure(per_class: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Precision, recall and F1 of each class side by side, with the interval of the recall where the report has it."""
    figure = Figure(figsize=(2 + 1.05 * len(per_class), 4), layout="constrained")
    axes = figure.add_subplot()
    places, width = np.arange(len(per_class)), 0.26
    for i, (key, label) in enumerate(_SHOWN.items()):
        values = [row[key] for row in per_class.values()]
        axes.bar(places + (i - 1) * width, values, width, label=label, color=COLOURS[i])
        for place, value in zip(places, values, strict=True):
            text = f"{value:.2f}".removeprefix("0")
            axes.text(place + (i - 1) * width - 0.03 * (i == 1), 0.015, text, ha="center", fontsize=7, color=_INK[i])
    for place, row in zip(places, per_class.values(), strict=True):
        if row.get("recall_interval"):
            # Beside the middle, where the number stands.
            right = place + 0.09
            axes.vlines(right, *row["recall_interval"], color="black", linewidth=1.2)
            axes.hlines(row["recall_interval"], right - 0.03, right + 0.03, color="black", linewidth=1.2)
    axes.set_xticks(places, [f"{label}\n({row['support']})" for label, row in per_class.items()])
    axes.set(ylim=(0, 1), ylabel="score")
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
