"""Training curves: losses, scores and learning rates over the epochs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .saving import COLOURS

LOSS, SCORES, RATES = "Loss", "Scores (validation, and training in dots)", "Learning rate"


def curves_figure(history: Sequence[Mapping[str, Any]], metric: str = "uar") -> Figure:
    """Train and validation loss, UAR and macro-F1, and the learning rates; the checkpoint that was kept is marked.

    Scores of the training clips are those that they had while the network learnt. A network that scikit-learn has
    fitted has no epochs: its entries are the candidates of a grid, without rates.
    """
    panels = _panels(history)
    figure = Figure(figsize=(14, 4) if len(panels) == 3 else (10, 4), layout="constrained")
    _draw(dict(zip(panels, figure.subplots(1, len(panels)), strict=True)), history, metric)
    return figure


def curve_panels(history: Sequence[Mapping[str, Any]], metric: str = "uar") -> dict[str, Figure]:
    """The panels of `curves_figure` by their titles, each a figure of its own, for pages as narrow as a phone."""
    figures = {title: Figure(figsize=(4.6, 3.6), layout="constrained") for title in _panels(history)}
    _draw({title: figure.add_subplot() for title, figure in figures.items()}, history, metric)
    return figures


def _panels(history: Sequence[Mapping[str, Any]]) -> list[str]:
    return [LOSS, SCORES, RATES] if _learning_rates(history) else [LOSS, SCORES]


def _draw(panels: Mapping[str, Axes], history: Sequence[Mapping[str, Any]], metric: str) -> None:
    axis = "candidate" if any("candidate" in entry for entry in history) else "epoch"
    losses, scores = panels[LOSS], panels[SCORES]
    trained = [(entry["epoch"], entry["train_loss"]) for entry in history if "train_loss" in entry]
    judged = [(entry["epoch"], entry["validation"]) for entry in history if "validation" in entry]
    # One value is a point, which a line alone would not show.
    marker = {"marker": "o", "markersize": 4} if len(judged) == 1 else {}
    if trained:
        losses.plot(*zip(*trained, strict=True), color=COLOURS[0], label="train", **marker)
    if judged:
        epochs = [epoch for epoch, _ in judged]
        losses.plot(epochs, [values["loss"] for _, values in judged], color=COLOURS[1], label="validation", **marker)
        scores.plot(epochs, [values["uar"] for _, values in judged], color=COLOURS[0], label="UAR", **marker)
        macro = [values["macro_f1"] for _, values in judged]
        scores.plot(epochs, macro, color=COLOURS[1], label="macro-F1", **marker)
        learnt = [(entry["epoch"], entry["train"]) for entry in history if entry.get("train")]
        for shown, colour, label in (("uar", COLOURS[0], "train UAR"), ("macro_f1", COLOURS[1], "train macro-F1")):
            if learnt:
                points = [(epoch, values[shown]) for epoch, values in learnt]
                scores.plot(*zip(*points, strict=True), color=colour, linestyle=":", label=label)
        values = [validation[metric] for _, validation in judged]
        best = epochs[int(np.argmin(values) if metric == "loss" else np.argmax(values))]
        best = next((entry["epoch"] for entry in history if entry.get("kept")), best)
        for axes in panels.values():
            axes.axvline(best, color=COLOURS[2], linestyle="--", linewidth=1, label=f"kept: {axis} {best:g}")
        scores.set_ylim(0, 1)
    losses.set_ylabel("loss")
    scores.set_ylabel("score")
    if RATES in panels:
        rates = panels[RATES]
        for colour, (name, points) in zip(itertools.cycle(COLOURS), _learning_rates(history).items(), strict=False):
            rates.plot(*zip(*points, strict=True), color=colour, label=name)
        rates.set_ylabel("learning rate")
        rates.set_yscale("log")
    for title, axes in panels.items():
        axes.set(xlabel=axis, title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)


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
