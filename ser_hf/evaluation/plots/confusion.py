"""Confusion matrices: of all clips, and of each corpus by itself."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage


def confusion_figure(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Figure:
    """Shares of each true class (colour and per cent) with the counts below."""
    size = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.add_subplot()
    image = _draw_confusion(axes, counts, names, title)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure


def corpora_figure(confusions: Mapping[str, Sequence[Sequence[int]]], names: Sequence[str]) -> Figure:
    """The confusion of each corpus side by side, two in a row, in shares of its own true classes. A class that a
    corpus does not have is a grey row: what stands in its column was called by a label of other corpora."""
    columns = min(2, len(confusions))
    rows = -(-len(confusions) // columns)
    size = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(columns * size + 0.6, rows * size), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (corpus, counts) in zip(panels, confusions.items(), strict=False):
        image = _draw_confusion(axes, counts, names, f"{corpus} ({np.sum(counts)} predictions)", absent=True)
    for axes in panels[len(confusions) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=panels.tolist(), shrink=0.5, label="share of the true class")
    return figure


def _draw_confusion(
    axes: Axes, counts: Sequence[Sequence[int]], names: Sequence[str], title: str, absent: bool = False
) -> AxesImage:
    """`absent` greys the rows of classes without a clip, of which there are no shares to show."""
    counts = np.asarray(counts)
    clips = counts.sum(axis=1)
    shares = counts / np.maximum(clips[:, None], 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in np.flatnonzero(clips == 0):
        if absent:
            axes.axhspan(i - 0.5, i + 0.5, color="0.9")
    for (i, j), share in np.ndenumerate(shares):
        if clips[i] or not absent:
            colour = "white" if share > 0.55 else "black"
            axes.text(j, i, f"{share:.0%}\n{counts[i, j]}", ha="center", va="center", color=colour, fontsize=8)
    # Names come from files and recipes: a dollar sign in one is no formula.
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    return image
