"""Emotion over time as a picture: the probabilities of a recording, stacked."""

import os

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from .tables import matrix, read_facts
from .timeline import smooth

# Okabe and Ito (2008), told apart by colour-blind readers too; more labels than that begin again, hatched.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")


def timeline_figure(table: pa.Table) -> Figure:
    """The smoothed probabilities of one recording's windows, one on top of the other, over its seconds. Labels whose
    probabilities do not add up to one are lines instead.

    Args:
        table: of all windows of one recording, as `ser_hf.prediction.tables.table` makes it.
    """
    facts, table = read_facts(table.schema), smooth(table)
    shares = matrix(table, "probabilities")
    bounds = np.append(table["start"].to_numpy(), table["end"].to_numpy()[-1])
    figure = Figure(figsize=(min(6 + (bounds[-1] - bounds[0]) / 30, 16), 4), layout="constrained")
    axes = figure.add_subplot()
    below = np.zeros(len(shares))
    for i, label in enumerate(facts["labels"]):
        colour, hatch = _COLOURS[i % len(_COLOURS)], "//" if i >= len(_COLOURS) else None
        if facts["multi_label"]:
            style = "--" if hatch else "-"
            axes.stairs(shares[:, i], bounds, baseline=None, color=colour, linestyle=style, linewidth=2, label=label)
            continue
        above = below + shares[:, i]
        axes.stairs(
            above, bounds, baseline=below, fill=True, color=colour, hatch=hatch, edgecolor="white", label=label
        )
        below = above
    axes.set(xlim=(bounds[0], bounds[-1]), ylim=(0, 1), xlabel="seconds", ylabel="probability")
    axes.set_title(os.path.basename(table["path"][0].as_py()), parse_math=False)  # a name may hold two dollar signs
    # The labels in the order in which they lie.
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], loc="outside right upper", frameon=False)
    return figure
