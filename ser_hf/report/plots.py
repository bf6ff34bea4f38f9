"""Pictures of a report, as matplotlib figures."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..corpora.schema import EMOTION_COLORS
from ..evaluation.conditions import KINDS
from ..evaluation.metrics import NAMES
from ..evaluation.sections import (
    Abstention,
    Calibration,
    ClassScores,
    CleanScores,
    ConditionScores,
    DimensionScores,
    Robustness,
    Slice,
    Temperature,
)
from .fonts import make_readable
from .paper import COLUMN
from .views import figure as figure_of

# Colors of lines and bars: the `EMOTION_COLORS` that are visible on light and on dark pages.
COLORS = tuple(
    EMOTION_COLORS[name]
    for name in ("sad", "surprise", "disgust", "fear", "calm", "angry", "neutral")
)
# The largest number of groups in a panel of slices. If there are more, it shows the groups with the
# lowest and the highest scores.
MOST_SLICES = 30
_MOST_COLUMNS = 5
# Inches; in a figure of few classes that is narrower, the legend below the axes is cut.
_LEAST_WIDTH = 5.0
# Width of a letter in titles, which have 12 points, in inches.
_TITLE_LETTER = 0.095
# The largest number of classes whose counts have space in the cells of a column's matrix.
_MOST_CLASSES_IN_COLUMN = 9


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as SVG if the suffix is .svg. The same figure gives the same bytes.

    pyplot is not used, because its global state needs a display and is not safe in threads.
    """
    if path.suffix == ".svg":
        path.write_bytes(svg(figure))
    else:
        make_readable(figure)
        figure.set_dpi(144)
        # Use the canvas, because `Figure.savefig` draws everything twice.
        FigureCanvasAgg(figure).print_png(path)


def svg(figure: Figure) -> bytes:
    """The figure as SVG; its background becomes transparent, for light and dark pages."""
    make_readable(figure)
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_alpha(0)
    drawn = io.StringIO()
    # Ids in the file are hashes with a fixed salt, so that the bytes are always the same. Letters
    # are paths, because the file contains no font.
    with matplotlib.rc_context({"svg.hashsalt": "ser_hf", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return drawn.getvalue().encode()


def confusion_figure(
    confusions: Mapping[str, Sequence[Sequence[int]]],
    names: Sequence[str],
    *,
    paper: bool = False,
) -> Figure:
    """Draw confusion matrices, each in a panel with its title, two panels in a row.

    A cell shows the share of the true class, as color and percent, and the count below it. Rows of
    classes without clips are empty.

    Args:
        confusions: {title: counts}, true classes in rows, predicted classes in columns.
        names: names of the classes.
        paper: whether the figure is as wide as a column of a paper: the panels are below each
            other, and colors have no scale, because the cells have their numbers.
    """
    columns = 1 if paper else min(2, len(confusions))
    rows = -(-len(confusions) // columns)
    size = 1.6 + 0.75 * len(names)
    width = max(columns * size + 0.6, _LEAST_WIDTH)
    sizes = (COLUMN, rows * COLUMN) if paper else (width, rows * size)
    figure = Figure(figsize=sizes, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, counts) in zip(panels, confusions.items(), strict=False):
        counts = np.asarray(counts)
        clips = counts.sum(axis=1)
        shares = counts / np.maximum(clips[:, None], 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (i, j), share in np.ndenumerate(shares):
            if clips[i]:
                color = "white" if share > 0.55 else "black"
                text = f"{share:.0%}\n{counts[i, j]}"
                if paper and len(names) > _MOST_CLASSES_IN_COLUMN:
                    text = f"{100 * share:.0f}"
                axes.text(
                    j,
                    i,
                    text,
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=8,
                )
        # Names come from files and recipes, so a dollar sign in a name must not start a formula.
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.set(xlabel="predicted", ylabel="true")
        # The names of classes and the scale of colors are beside the panels.
        _set_title(axes, title, width / columns - 1.6, paper)
    for axes in panels[len(confusions) :]:
        axes.set_axis_off()
    if not paper:
        figure.colorbar(
            image, ax=panels.tolist(), shrink=0.8 / columns, label="share of the true class"
        )
    return figure


def _set_title(axes: Axes, title: str, width: float, paper: bool) -> None:
    """Set a title, in lines that are not longer than a panel of `width` inches.

    Figures of papers are divided when they are fitted to their column.
    """
    lines = title if paper else textwrap.fill(title, int(width / _TITLE_LETTER))
    axes.set_title(lines, parse_math=False)


def curves_figure(
    history: Sequence[Mapping[str, Any]],
    metrics: Sequence[str] = ("uar", "macro_f1"),
    *,
    paper: bool = False,
) -> Figure:
    """Draw the train and validation loss, and two metrics; a line marks the selected checkpoint.

    Training scores are measured during training. For scikit-learn the x axis has the candidates of
    the grid in place of epochs.
    """
    if paper:
        figure = Figure(figsize=(COLUMN, 4.6), layout="constrained")
        losses, scores = figure.subplots(2, 1)
    else:
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        losses, scores = figure.subplots(1, 2)
    of_grid = any("candidate" in entry for entry in history)
    axis = "candidate" if of_grid else "epoch"
    _draw_losses(losses, history, "cross-validation" if of_grid else "validation")
    _draw_scores(scores, history, metrics)
    kept = next((entry["epoch"] for entry in history if entry.get("kept")), None)
    for axes in (losses, scores):
        if kept is not None:
            label = f"selected: {axis} {round(kept, 2):g}"
            axes.axvline(kept, color=COLORS[2], linestyle="--", linewidth=1, label=label)
        axes.set(xlabel=axis)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        # Below the axes and their label, where it covers no line.
        below = -0.25 if paper else -0.17
        axes.legend(
            fontsize=9, loc="upper center", bbox_to_anchor=(0.5, below), ncols=2, frameon=False
        )
    return figure


def _draw_losses(axes: Axes, history: Sequence[Mapping[str, Any]], held_out: str) -> None:
    marker = _marker(history)
    train = [(entry["epoch"], entry["train_loss"]) for entry in history if "train_loss" in entry]
    validation = [(epoch, scores["loss"]) for epoch, scores in _scores_of(history, "validation")]
    _draw_curve(axes, train, color=COLORS[0], label="train", **marker)
    _draw_curve(axes, validation, color=COLORS[1], label=held_out, **marker)
    axes.set(ylabel="loss", title="Loss")


def _draw_scores(axes: Axes, history: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
    marker = _marker(history)
    for key, color in zip(metrics, COLORS, strict=False):
        look = {"color": color, **marker}
        validation = _points(history, "validation", key)
        _draw_curve(axes, validation, linestyle="-", label=NAMES[key], **look)
        train = _points(history, "train", key)
        _draw_curve(axes, train, linestyle=":", label=f"train {NAMES[key]}", **look)
    # A correlation may be negative.
    lowest = min([0.0, *(value for line in axes.lines for value in line.get_ydata())])
    axes.set(ylabel="score", title="Scores", ylim=(lowest, 1))


def _scores_of(
    history: Sequence[Mapping[str, Any]], part: str
) -> list[tuple[float, Mapping[str, Any]]]:
    """(epoch, scores) of the epochs in which a split was measured."""
    return [(entry["epoch"], entry[part]) for entry in history if entry.get(part)]


def _points(
    history: Sequence[Mapping[str, Any]], part: str, metric: str
) -> list[tuple[float, float]]:
    """(epoch, value) of a metric on a split, for the epochs in which it is defined."""
    points = []
    for epoch, scores in _scores_of(history, part):
        if scores.get(metric) is not None:
            points.append((epoch, scores[metric]))
    return points


def _marker(history: Sequence[Mapping[str, Any]]) -> dict[str, str | int]:
    """The marker of points, if there is a single epoch, which a line does not show."""
    single = len(_scores_of(history, "validation")) == 1
    return {"marker": "o", "markersize": 4} if single else {}


def _draw_curve(axes: Axes, points: Sequence[tuple[float, float]], **look: Any) -> None:
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, **look)


def dimensions_figure(
    rated: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ranges: Mapping[str, Sequence[float]],
    scores: Mapping[str, DimensionScores],
    title: str,
    *,
    paper: bool = False,
) -> Figure:
    """Draw the predictions of each dimension over its ratings, and the errors below them.

    Each dimension has a column; in a column of a paper it has a row, with the errors on the right.
    Correct predictions are on the diagonal.

    Args:
        rated: targets and predicted values of each dimension, (clips,) each, from 0 to 1.
        ranges: [lowest, highest] rating of each dimension.
    """
    if paper:
        figure = Figure(figsize=(COLUMN, 0.4 + 1.5 * len(rated)), layout="constrained")
        panels = figure.subplots(len(rated), 2, squeeze=False)
    else:
        figure = Figure(figsize=(0.6 + 3.4 * len(rated), 5.6), layout="constrained")
        panels = figure.subplots(2, len(rated), squeeze=False, height_ratios=[3, 2], sharex="col").T
    for (upper, lower), (name, (targets, values)) in zip(panels, rated.items(), strict=True):
        low, high = ranges[name]
        ratings = low + targets * (high - low)
        predicted = low + values * (high - low)
        _draw_ratings(upper, ratings, predicted)
        upper.plot([low, high], [low, high], color="0.3", linestyle="--", linewidth=1)
        _draw_ratings(lower, ratings, predicted - ratings)
        lower.axhline(0, color="0.3", linestyle="--", linewidth=1)
        upper.set_title(f"{name}: CCC {figure_of(scores[name].ccc)}", parse_math=False)
        upper.set(ylabel="predicted")
        lower.set(xlabel="rating", ylabel="predicted less rating")
        if paper:
            upper.set(xlabel="rating")
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
    figure.suptitle(title, parse_math=False)
    return figure


def _draw_ratings(axes: Axes, ratings: np.ndarray, values: np.ndarray) -> None:
    """Draw a point for each clip; points are smaller if there are many clips."""
    area = float(np.clip(4000 / len(ratings), 4, 30))
    axes.scatter(ratings, values, s=area, alpha=0.5, linewidths=0, color=COLORS[0])


def distribution_figure(
    counts: Mapping[str, Sequence[int]], names: Sequence[str], *, paper: bool = False
) -> Figure:
    """Draw the number of clips per class in each split, as bars side by side."""
    width_of_page = 2 + len(names) * max(1, len(counts) / 4)
    sizes = (COLUMN, 2.4) if paper else (max(width_of_page, _LEAST_WIDTH), 4)
    figure = Figure(figsize=sizes, layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(counts)
    for i, (part, values) in enumerate(counts.items()):
        places = np.arange(len(names)) + (i - (len(counts) - 1) / 2) * width
        bars = axes.bar(
            places, values, width, label=f"{part} ({sum(values)})", color=COLORS[i % len(COLORS)]
        )
        if paper:  # where numbers are wider than bars
            axes.bar_label(bars, fontsize=7, rotation=90, padding=1)
        else:
            axes.bar_label(bars, fontsize=7)
    if paper:
        axes.margins(y=0.2)
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.set(ylabel="clips", title="Clips per class")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def per_class_figure(
    per_class: Mapping[str, ClassScores], title: str, *, paper: bool = False
) -> Figure:
    """Draw precision, recall and F1 of each class side by side, with the intervals of recall."""
    width_of_page = max(2 + 1.05 * len(per_class), _LEAST_WIDTH)
    sizes = (COLUMN, 2.6) if paper else (width_of_page, 4)
    figure = Figure(figsize=sizes, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(per_class))
    width = 0.26
    for i, key in enumerate(("precision", "recall", "f1")):
        values = [getattr(row, key) for row in per_class.values()]
        axes.bar(
            places + (i - 1) * width, values, width, label=key.replace("f1", "F1"), color=COLORS[i]
        )
    for place, row in zip(places, per_class.values(), strict=True):
        if row.recall_interval:
            axes.plot([place, place], row.recall_interval, "_-", color="black", linewidth=1.2)
    separator = " " if paper else "\n"
    labels = [f"{label}{separator}({row.support})" for label, row in per_class.items()]
    axes.set_xticks(places, labels, parse_math=False)
    axes.set(ylim=(0, 1), ylabel="score")
    _set_title(axes, title, width_of_page - 0.8, paper)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def slices_figure(
    slices: Mapping[str, Mapping[str, Slice]], metric: str, score: float, *, paper: bool = False
) -> Figure:
    """Draw a metric of each group as a dot with its interval; each column has a panel.

    A dashed line shows the score of all clips (`score`).
    """
    shown: dict[str, dict[str, Slice]] = {}
    for column, groups in slices.items():
        scored = {name: row for name, row in groups.items() if getattr(row, metric) is not None}
        if scored:
            shown[column] = _shown(column, scored, metric)
    lowest = _lowest(shown, metric)

    # Heights in inches: a row for each group, and space for the title.
    heights = [0.45 + 0.3 * len(values) for values in shown.values()]
    width = 7.5
    height = sum(heights) + 0.4 * len(heights) + 0.5
    if paper:
        width = COLUMN
        height *= 0.55
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(
        len(shown), 1, sharex=True, squeeze=False, height_ratios=heights
    ).ravel()
    for axes, (column, groups) in zip(panels, shown.items(), strict=True):
        axes.axvline(score, color="0.4", linestyle="--", linewidth=1)
        _draw_groups(axes, groups, metric)
        axes.set(xlim=(lowest, 1))
        title = column.replace("_", " ")
        number = len(slices[column])
        if number > MOST_SLICES:
            title += f" (the {MOST_SLICES // 2} lowest and highest of {number})"
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel(f"{NAMES[metric]} (dashed: {score:.3f}, of all clips)")
    return figure


def _lowest(slices: Mapping[str, Mapping[str, Slice]], metric: str) -> float:
    """The start of the score axis: the lowest score or interval bound if negative, otherwise 0."""
    lowest = 0.0
    for groups in slices.values():
        for row in groups.values():
            lowest = min(lowest, getattr(row, metric), *(row.interval or ()))
    return lowest


def _draw_groups(axes: Axes, groups: Mapping[str, Slice], metric: str) -> None:
    """Draw the score and the interval of each group, from top to bottom."""
    color = COLORS[0]
    for place, row in enumerate(groups.values()):
        if row.interval:
            axes.plot(row.interval, [place, place], color=color, linewidth=2.5, alpha=0.45)
        axes.plot(getattr(row, metric), place, "o", color=color, markersize=5, clip_on=False)
    names = [f"{group[:38]} ({row.clips})" for group, row in groups.items()]
    axes.set_yticks(range(len(groups)), names, parse_math=False, fontsize=8)
    axes.set(ylim=(len(groups) - 0.4, -0.6))
    axes.grid(alpha=0.3, axis="x")


def _shown(column: str, values: Mapping[str, Slice], metric: str) -> dict[str, Slice]:
    """The groups to draw: speakers in the order of their scores, other groups in their own order.

    If there are more than `MOST_SLICES` groups, only those with the lowest and the highest scores
    are drawn.
    """
    if column != "speaker" and len(values) <= MOST_SLICES:
        return dict(values)
    ordered = sorted(values.items(), key=lambda item: getattr(item[1], metric))
    if len(ordered) > MOST_SLICES:
        half = MOST_SLICES // 2
        ordered = ordered[:half] + ordered[-half:]
    return dict(ordered)


def reliability_figure(calibration: Calibration, temperature: Temperature | None = None) -> Figure:
    """Draw the accuracy in each bin of the predicted probability, and below it the clips per bin.

    The bars of a calibrated model reach the diagonal (DeGroot and Fienberg 1983, The Statistician
    32; Guo et al. 2017, arXiv:1706.04599).
    """
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    clips = []
    places = []
    widths = []
    accuracies = []
    gaps = []
    for probability_bin in calibration.bins:
        if probability_bin.clips:
            clips.append(probability_bin.clips)
            places.append(probability_bin.low)
            widths.append(probability_bin.high - probability_bin.low)
            accuracies.append(probability_bin.accuracy)
            gaps.append(probability_bin.confidence - probability_bin.accuracy)

    filled = {"align": "edge", "color": COLORS[0], "edgecolor": "white"}
    hatched = {"align": "edge", "color": "none", "edgecolor": COLORS[1], "hatch": "//"}
    upper.bar(places, accuracies, widths, **filled, label="accuracy")
    upper.bar(
        places, gaps, widths, bottom=accuracies, **hatched, label="gap to the mean probability"
    )
    upper.plot([0, 1], [0, 1], color="0.3", linestyle="--", linewidth=1, label="calibrated")
    title = f"Reliability: expected calibration error {calibration.ece:.3f}"
    if temperature and temperature.stored:
        title += f"\n({temperature.before.ece:.3f} without temperature {temperature.value:.3g})"
    elif temperature:
        title += f"\n({temperature.after.ece:.3f} with temperature {temperature.value:.3g})"
    upper.set(ylabel="accuracy", ylim=(0, 1), title=title)
    upper.legend(loc="upper left")
    lower.bar(places, clips, widths, **filled)
    lower.set(xlabel="probability of the prediction", ylabel="clips", xlim=(0, 1))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def abstention_figure(abstention: Abstention, *, paper: bool = False) -> Figure:
    """Draw the error of the predicted clips over the share of clips that are predicted.

    The risk-coverage curve of El-Yaniv and Wiener 2010 (JMLR 11). Lines show the stated error, and
    a marker the clips that reach the threshold, with the interval of their error.
    """
    figure = Figure(figsize=(COLUMN, 2.6) if paper else (6, 4), layout="constrained")
    axes = figure.add_subplot()
    coverage = [point.coverage for point in abstention.curve]
    error = [point.error for point in abstention.curve]
    axes.plot(coverage, error, color=COLORS[0], drawstyle="steps-pre", label="predicted clips")
    if abstention.stated_error is not None:
        axes.axhline(
            abstention.stated_error,
            color="0.3",
            linestyle="--",
            linewidth=1,
            label=f"stated error {100 * abstention.stated_error:g} %",
        )
    accepted = abstention.evaluated
    if accepted is not None and accepted.error is not None:
        axes.plot(
            accepted.coverage,
            accepted.error,
            marker="o",
            markersize=8,
            linestyle="none",
            color=COLORS[1],
            label="at the threshold",
        )
        if accepted.error_interval:
            axes.plot(
                [accepted.coverage, accepted.coverage],
                accepted.error_interval,
                "_-",
                color=COLORS[1],
            )
    highest = max([*error, abstention.stated_error or 0])
    if accepted is not None and accepted.error_interval:
        highest = max(highest, accepted.error_interval[1])
    axes.set(
        xlabel="share of the clips that are predicted (coverage)",
        ylabel="share of wrong predictions",
        xlim=(0, 1.02),
        ylim=(0, min(1.0, 1.1 * highest) or 1.0),
        title=f"Risk and coverage: area {abstention.aurc:.3f}",
    )
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="best", fontsize=9)
    return figure


def robustness_figure(
    robustness: Robustness, metric: str = "uar", *, paper: bool = False
) -> Figure:
    """Draw the main metric over the severity of each kind of condition.

    Lines show the score of the clean clips and the chance level. Intervals are drawn if the report
    has them.
    """
    kinds: dict[str, list[ConditionScores]] = {}
    for condition in robustness.conditions:
        kinds.setdefault(condition.kind, []).append(condition)
    rows = -(-len(kinds) // (2 if paper else _MOST_COLUMNS))
    columns = -(-len(kinds) // rows)
    sizes = (max(6.5, 0.6 + 2.6 * columns), 1 + 2.5 * rows)
    if paper:
        sizes = (COLUMN, 0.6 + 1.6 * rows)
    figure = Figure(figsize=sizes, layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (kind, conditions) in zip(panels.ravel(), kinds.items(), strict=False):
        _draw_kind(axes, kind, conditions, robustness, metric)
    for axes in panels.ravel()[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set(ylabel=NAMES[metric], ylim=(min(0, axes.get_ylim()[0]), 1))
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    score = f"{NAMES[metric]} {getattr(robustness.clean, metric):.3f}"
    title = f"Robustness: {score} on {robustness.clips} clips, unchanged"
    if robustness.clean.interval:
        title += f"; intervals of {robustness.settings.confidence:.0%}"
    figure.suptitle(title)
    return figure


def _draw_kind(
    axes: Axes,
    kind: str,
    conditions: Sequence[ConditionScores],
    robustness: Robustness,
    metric: str,
) -> None:
    """Draw the scores under the conditions of a kind, and the clean clips at their severity."""
    kind_of_conditions = KINDS[kind]
    clean = robustness.clean
    points: dict[float, CleanScores] = {kind_of_conditions.clean: clean}
    points.update({condition.severity: condition for condition in conditions})
    # Harder conditions are on the right, also if a harder condition has a smaller number (SNR).
    clean_is_highest = kind_of_conditions.clean > max(
        condition.severity for condition in conditions
    )
    severities = sorted(points, reverse=clean_is_highest)
    places = range(len(severities))
    if clean.interval:
        lows = [points[severity].interval[0] for severity in severities]
        highs = [points[severity].interval[1] for severity in severities]
        axes.axhspan(*clean.interval, color=COLORS[2], alpha=0.12, linewidth=0)
        axes.fill_between(places, lows, highs, color=COLORS[0], alpha=0.2, linewidth=0)
    clean_score = getattr(clean, metric)
    axes.axhline(clean_score, color=COLORS[2], linestyle="--", linewidth=1, label="clean")
    axes.axhline(robustness.chance, color="0.4", linestyle=":", linewidth=1, label="chance")
    scores = [getattr(points[severity], metric) for severity in severities]
    axes.plot(
        places, scores, color=COLORS[0], marker="o", markersize=4, label="under the condition"
    )
    ticks = [f"{severity:g}" for severity in severities]
    ticks[severities.index(kind_of_conditions.clean)] = "clean"
    axes.set_xticks(places, ticks)
    axes.set(
        xlabel=f"{kind_of_conditions.axis} ({kind_of_conditions.unit})",
        title=kind_of_conditions.title,
        xlim=(-0.3, len(severities) - 0.7),
    )
    axes.grid(alpha=0.3)
