"""Pictures of a run, as matplotlib figures: confusion matrix, training curves, class distribution."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

# Blue, orange and green of Okabe and Ito (2008), told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73")


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
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return image


def curves_figure(history: Sequence[Mapping[str, Any]], metric: str = "uar") -> Figure:
    """Train and validation loss, UAR and macro-F1, and the learning rates; the checkpoint that was kept is marked.

    Scores of the training clips are those that they had while the network learnt. A network that scikit-learn has
    fitted has no epochs: its entries are the candidates of a grid, without rates.
    """
    axis = "candidate" if any("candidate" in entry for entry in history) else "epoch"
    rates = _learning_rates(history)
    figure = Figure(figsize=(14, 4) if rates else (10, 4), layout="constrained")
    losses, scores, *others = figure.subplots(1, 3 if rates else 2)
    trained = [(entry["epoch"], entry["train_loss"]) for entry in history if "train_loss" in entry]
    judged = [(entry["epoch"], entry["validation"]) for entry in history if "validation" in entry]
    if trained:
        losses.plot(*zip(*trained, strict=True), color=COLOURS[0], label="train")
    if judged:
        epochs = [epoch for epoch, _ in judged]
        losses.plot(epochs, [values["loss"] for _, values in judged], color=COLOURS[1], label="validation")
        scores.plot(epochs, [values["uar"] for _, values in judged], color=COLOURS[0], label="UAR")
        scores.plot(epochs, [values["macro_f1"] for _, values in judged], color=COLOURS[1], label="macro-F1")
        learnt = [(entry["epoch"], entry["train"]) for entry in history if entry.get("train")]
        for metric_shown, colour, label in (
            ("uar", COLOURS[0], "train UAR"),
            ("macro_f1", COLOURS[1], "train macro-F1"),
        ):
            if learnt:
                points = [(epoch, values[metric_shown]) for epoch, values in learnt]
                scores.plot(*zip(*points, strict=True), color=colour, linestyle=":", label=label)
        values = [validation[metric] for _, validation in judged]
        best = epochs[int(np.argmin(values) if metric == "loss" else np.argmax(values))]
        best = next((entry["epoch"] for entry in history if entry.get("kept")), best)
        for axes in (losses, scores, *others):
            axes.axvline(best, color=COLOURS[2], linestyle="--", linewidth=1, label=f"kept: {axis} {best:g}")
        scores.set_ylim(0, 1)
    losses.set(xlabel=axis, ylabel="loss", title="Loss")
    scores.set(xlabel=axis, ylabel="score", title="Scores (validation, and training in dots)")
    for axes in others:
        for colour, (name, points) in zip(itertools.cycle(COLOURS), rates.items(), strict=False):
            axes.plot(*zip(*points, strict=True), color=colour, label=name)
        axes.set(xlabel=axis, ylabel="learning rate", title="Learning rate")
        axes.set_yscale("log")
    for axes in (losses, scores, *others):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _learning_rates(history: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """(epoch, rate) of each group of parameters; where there is one group only, it is the model."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for entry in history:
        for key, rate in entry.items():
            if key.startswith("learning_rate") and rate > 0:
                groups.setdefault(key.removeprefix("learning_rate_"), []).append((entry["epoch"], rate))
    if len(groups) > 1:  # the library's own is one of them
        groups.pop("learning_rate", None)
    return {"model" if name == "learning_rate" else name: points for name, points in groups.items()}


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
    axes.set_xticks(range(len(names)), names)
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
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(counts)), [f"{part} ({sum(own)})" for part, own in counts.items()])
    axes.set_title("Clips per class")
    return figure


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


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG without touching pyplot's global state, so that it works without a display and in threads."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=144)
