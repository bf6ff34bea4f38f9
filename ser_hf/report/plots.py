"""Pictures of a run, as matplotlib figures: one file each."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..evaluation.embeddings import NAMES
from ..evaluation.robustness import KINDS
from .report import Bin, Calibration, ClassScores, Condition, Robustness, Slice, Temperature


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


# Blue, orange and green of Okabe and Ito (2008), told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG or, by the name's ending, an SVG, `svg` of it.

    The same figure gives the same bytes. Without pyplot's global state, it works without a display and in threads.
    """
    if path.suffix == ".svg":
        path.write_bytes(svg(figure))
        return
    figure.set_dpi(144)
    # The canvas itself, as `Figure.savefig` draws everything twice.
    FigureCanvasAgg(figure).print_png(path)


def svg(figure: Figure) -> bytes:
    """The figure as SVG on a clear ground, for pages that are light or dark; its ground stays clear."""
    clear(figure)
    drawn = io.StringIO()
    # Ids in the file are hashes, salted at random otherwise; letters are drawn, as no font travels with the file.
    with matplotlib.rc_context({"svg.hashsalt": "ser_hf", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return drawn.getvalue().encode()


def clear(figure: Figure) -> Figure:
    """The figure on a transparent ground."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    return figure


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


_SHOWN = {"precision": "precision", "recall": "recall", "f1": "F1"}
# On each of the colours.
_INK = ("white", "black", "white")


def per_class_figure(per_class: Mapping[str, ClassScores], title: str) -> Figure:
    """Precision, recall and F1 of each class side by side, with the interval of the recall where the report has it."""
    figure = Figure(figsize=(2 + 1.05 * len(per_class), 4), layout="constrained")
    axes = figure.add_subplot()
    places, width = np.arange(len(per_class)), 0.26
    for i, (key, label) in enumerate(_SHOWN.items()):
        values = [getattr(row, key) for row in per_class.values()]
        axes.bar(places + (i - 1) * width, values, width, label=label, color=COLOURS[i])
        for place, value in zip(places, values, strict=True):
            text = f"{value:.2f}".removeprefix("0")
            axes.text(place + (i - 1) * width - 0.03 * (i == 1), 0.015, text, ha="center", fontsize=7, color=_INK[i])
    for place, row in zip(places, per_class.values(), strict=True):
        if row.recall_interval:
            # Beside the middle, where the number stands.
            right = place + 0.09
            axes.vlines(right, *row.recall_interval, color="black", linewidth=1.2)
            axes.hlines(row.recall_interval, right - 0.03, right + 0.03, color="black", linewidth=1.2)
    axes.set_xticks(places, [f"{label}\n({row.support})" for label, row in per_class.items()])
    axes.set(ylim=(0, 1), ylabel="score")
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


# Of more values than this the lowest and the highest are drawn.
MOST = 30
_LONGEST = 38


def slices_figure(slices: Mapping[str, Mapping[str, Slice]], uar: float) -> Figure:
    """UAR of each value of each column as a dot, with its interval where the report has it, against that of all clips;
    one panel a column."""
    shown = {column: _shown(column, values) for column, values in slices.items()}
    heights = [0.45 + 0.3 * len(values) for values in shown.values()]
    figure = Figure(figsize=(7.5, sum(heights) + 0.4 * len(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    for axes, (column, values) in zip(panels, shown.items(), strict=True):
        _slices_draw(axes, values, uar)
        told = f" (the {MOST // 2} lowest and highest of {len(slices[column])})" if len(slices[column]) > MOST else ""
        axes.set_title(column.replace("_", " ") + told, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel(f"UAR (dashed: {uar:.3f}, of all clips)")
    return figure


def _shown(column: str, values: Mapping[str, Slice]) -> dict[str, Slice]:
    """Speakers by their score, the lowest on top; other values as they come."""
    if column != "speaker" and len(values) <= MOST:
        return dict(values)
    ordered = sorted(values.items(), key=lambda item: item[1].uar)
    return dict(ordered if len(ordered) <= MOST else ordered[: MOST // 2] + ordered[-MOST // 2 :])


def _slices_draw(axes: Axes, values: Mapping[str, Slice], uar: float) -> None:
    axes.axvline(uar, color="0.4", linestyle="--", linewidth=1)
    for place, row in enumerate(values.values()):
        if row.interval:
            axes.plot(row.interval, [place, place], color=COLOURS[0], linewidth=2.5, alpha=0.45)
        axes.plot(row.uar, place, "o", color=COLOURS[0], markersize=5, clip_on=False)
    names = [f"{_short(value)} ({row.clips})" for value, row in values.items()]
    # Names come from files and tables: a dollar sign in one is no formula.
    axes.set_yticks(range(len(values)), names, parse_math=False, fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(values) - 0.4, -0.6))
    axes.grid(alpha=0.3, axis="x")


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


# Okabe and Ito (2008), told apart by colour-blind readers too, without the yellow, which is lost on white, and with a
# grey for their black, which is on dark pages. Markers tell groups of one colour apart.
EMBEDDING_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6B6B6B")
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
        points: (clips, 2), of `ser_hf.evaluation.embeddings.project`.
        labels, speakers, corpora: of each clip, (clips,).
        method: a key of `ser_hf.evaluation.embeddings.NAMES`.
    """
    panels = {"emotion": labels, "speaker": speakers, "corpus": corpora}
    shown = {what: values for what, values in panels.items() if what != "corpus" or len(set(values) - {None}) > 1}
    figure = Figure(figsize=(4.6 * len(shown), 5.4), layout="constrained")
    # In an order that hides no group below another, the same each time.
    order = np.random.default_rng(0).permutation(len(points))
    for axes, (what, values) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        _embeddings_plot_draw(axes, np.asarray(points)[order], [values[i] for i in order])
        known = len(set(values) - {None})
        axes.set_title(f"by {what}" if known <= MOST_NAMED else f"by {what} ({known})")
    figure.suptitle(f"{NAMES[method]} of the embeddings of {len(points)} clips")
    return figure


def _embeddings_plot_draw(axes: Axes, points: np.ndarray, values: Sequence[str | None]) -> None:
    groups = sorted(set(values) - {None})
    number = {group: i for i, group in enumerate(groups)}
    of = np.asarray([number.get(value, -1) for value in values])
    size = float(np.clip(4000 / len(points), 5, 30))
    axes.scatter(*points[of < 0].T, s=size, color="0.75", linewidths=0)
    for i, group in enumerate(groups):
        look = {
            "color": EMBEDDING_COLORS[i % len(EMBEDDING_COLORS)],
            "marker": MARKERS[(i + i // len(EMBEDDING_COLORS)) % len(MARKERS)],
        }
        axes.scatter(*points[of == i].T, s=size, alpha=0.8, linewidths=0, label=group, **look)
    if 0 < len(groups) <= MOST_NAMED:
        legend = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "frameon": False}
        axes.legend(**legend, ncols=3, fontsize=8, markerscale=max(1.0, (30 / size) ** 0.5))
    # Places are read against each other, and the axes have no unit.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])


_ANSWERED, _MISSING = COLOURS[:2]


def reliability_figure(calibration: Calibration, temperature: Temperature | None = None) -> Figure:
    """Share of right answers in each bin of their probability, on the diagonal where a model is calibrated, above the
    clips of each bin (DeGroot and Fienberg 1983, The Statistician 32; Guo et al. 2017, arXiv:1706.04599).

    Args:
        temperature: named in the title.
    """
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = [own for own in calibration.bins if own.clips]
    _draw_shares(upper, filled)
    upper.set(ylabel="share of right answers", ylim=(0, 1), title=_title(calibration.ece, temperature))
    upper.legend(loc="upper left")
    lower.bar([own.low for own in filled], [own.clips for own in filled], _widths(filled), **_BAR)
    lower.set(xlabel="probability of the answer", ylabel="clips", xlim=(0, 1))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


_BAR = {"align": "edge", "color": _ANSWERED, "edgecolor": "white"}


def _draw_shares(axes: Axes, filled: Sequence[Bin]) -> None:
    places, widths = [own.low for own in filled], _widths(filled)
    shares = [own.accuracy for own in filled]
    gaps = [own.confidence - own.accuracy for own in filled]
    axes.bar(places, shares, widths, **_BAR, label="right")
    common = {"align": "edge", "color": "none", "edgecolor": _MISSING, "hatch": "//"}
    axes.bar(places, gaps, widths, bottom=shares, **common, label="up to their mean probability")
    axes.plot([0, 1], [0, 1], color="0.3", linestyle="--", linewidth=1, label="calibrated")


def _widths(filled: Sequence[Bin]) -> list[float]:
    return [own.high - own.low for own in filled]


def _title(ece: float, temperature: Temperature | None) -> str:
    told = f"Reliability: expected calibration error {ece:.3f}"
    if temperature is None:
        return told
    before, after = temperature.before.ece, temperature.after.ece
    value = f"{temperature.value:.3g}"
    if temperature.stored:
        return f"{told}\n(temperature {value}; {before:.3f} without)"
    return f"{told}\n({after:.3f} with a temperature of {value})"


_MOST_COLUMNS = 5
_MEASURED, _CLEAN = COLOURS[0], COLOURS[2]


def robustness_figure(robustness: Robustness) -> Figure:
    """Small multiples with one scale of UAR, from what `ser_hf.evaluation.robustness.robustness` returns (of one
    condition or more): points and intervals by severity, the clean clips' level with its interval, and chance.

    Severities are evenly spaced, in the order of their numbers, clean clips among them: left of the mildest severity,
    or in the middle where a quantity goes both ways.
    """
    kinds: dict[str, list[Condition]] = {}
    for condition in robustness.conditions:
        kinds.setdefault(condition.kind, []).append(condition)
    rows = -(-len(kinds) // _MOST_COLUMNS)
    columns = -(-len(kinds) // rows)
    figure = Figure(figsize=(0.6 + 2.6 * columns, 1 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (kind, conditions) in zip(panels.ravel(), kinds.items(), strict=False):
        _draw_kind(axes, kind, conditions, robustness)
    for axes in panels.ravel()[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set(ylabel="UAR", ylim=(0, 1))
    lines, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, frameon=False)
    clean, confidence = robustness.clean.uar, robustness.settings["confidence"]
    clips = f"{robustness.clips} of {robustness.settings['of_clips']} clips"
    runs = robustness.settings.get("runs")
    told = f"mean of {runs} runs" if runs else f"intervals of {confidence:.0%}"
    figure.suptitle(f"Robustness: UAR {clean:.3f} on {clips} as they are; {told}")
    return figure


def _draw_kind(axes: Axes, kind: str, conditions: Sequence[Condition], robustness: Robustness) -> None:
    of, clean = KINDS[kind], robustness.clean
    points = {of.clean: clean} | {condition.severity: condition for condition in conditions}
    # Where a smaller number is the harder one, as of SNR, it stands further right.
    severities = sorted(points, reverse=of.clean > max(condition.severity for condition in conditions))
    places = range(len(severities))
    scores = [points[severity].uar for severity in severities]
    # The mean over several runs has no interval.
    intervals = [points[severity].interval for severity in severities]
    if all(intervals):
        low, high = zip(*intervals, strict=True)
        axes.axhspan(*clean.interval, color=_CLEAN, alpha=0.12, linewidth=0)
        axes.fill_between(places, low, high, color=_MEASURED, alpha=0.2, linewidth=0)
    axes.axhline(clean.uar, color=_CLEAN, linestyle="--", linewidth=1, label="clean")
    axes.axhline(robustness.chance, color="0.4", linestyle=":", linewidth=1, label="chance")
    axes.plot(places, scores, color=_MEASURED, marker="o", markersize=4, label="under the condition")
    axes.set_xticks(places, ["clean" if severity == of.clean else f"{severity:g}" for severity in severities])
    axes.set(xlabel=f"{of.axis} ({of.unit})", title=of.title, xlim=(-0.3, len(severities) - 0.7))
    axes.grid(alpha=0.3)
