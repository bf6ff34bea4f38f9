"""A map of embeddings, once for each thing that may order it: emotion, speaker, corpus."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .projection import NAMES

# Okabe and Ito (2008), told apart by colour-blind readers too, without the yellow, which is lost on white, and with a
# grey for their black, which is on dark pages. Markers tell groups of one colour apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6B6B6B")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
# More names than these are no legend but a list.
MOST_NAMED = 14


def embeddings_figure(
    points: np.ndarray,
    labels: Sequence[str],
    speakers: Sequence[str | None],
    corpora: Sequence[str | None],
    method: str,
) -> Figure:
    """The same points coloured by emotion, by speaker and, where there are several, by corpus. Where there are
    more than `MOST_NAMED`, as of speakers, no legend names them. None stands for what is not known, in light grey.

    Args:
        points: (clips, 2), of `ser_hf.evaluation.projection.project`.
        labels, speakers, corpora: of each clip, (clips,).
        method: a key of `ser_hf.evaluation.projection.NAMES`.
    """
    panels = {"emotion": labels, "speaker": speakers, "corpus": corpora}
    shown = {what: values for what, values in panels.items() if what != "corpus" or len(set(values) - {None}) > 1}
    figure = Figure(figsize=(4.6 * len(shown), 5.4), layout="constrained")
    # In an order that hides no group below another, the same each time.
    order = np.random.default_rng(0).permutation(len(points))
    for axes, (what, values) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        _draw(axes, np.asarray(points)[order], [values[i] for i in order])
        known = len(set(values) - {None})
        axes.set_title(f"by {what}" if known <= MOST_NAMED else f"by {what} ({known})")
    figure.suptitle(f"{NAMES[method]} of the embeddings of {len(points)} clips")
    return figure


def _draw(axes: Axes, points: np.ndarray, values: Sequence[str | None]) -> None:
    groups = sorted(set(values) - {None})
    number = {group: i for i, group in enumerate(groups)}
    of = np.asarray([number.get(value, -1) for value in values])
    size = float(np.clip(4000 / len(points), 5, 30))
    axes.scatter(*points[of < 0].T, s=size, color="0.75", linewidths=0)
    for i, group in enumerate(groups):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}
        axes.scatter(*points[of == i].T, s=size, alpha=0.8, linewidths=0, label=group, **look)
    if 0 < len(groups) <= MOST_NAMED:
        legend = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "frameon": False}
        axes.legend(**legend, ncols=3, fontsize=8, markerscale=max(1.0, (30 / size) ** 0.5))
    # Places are read against each other, and the axes have no unit.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
