"""What each fold scored."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from .saving import COLOURS


def folds_figure(scores: Mapping[str, float], mean: float) -> Figure:
    """UAR of each fold, with the mean."""
    figure = Figure(figsize=(2 + 0.6 * len(scores), 4), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(list(scores), list(scores.values()), color=COLOURS[0])
    axes.bar_label(bars, fmt="%.2f", fontsize=8, label_type="center", color="white")
    axes.axhline(mean, color=COLOURS[1], linestyle="--", label=f"mean {mean:.3f}")
    axes.set(xlabel="fold", ylabel="UAR", ylim=(0, 1), title="UAR by fold")
    axes.legend()
    return figure
