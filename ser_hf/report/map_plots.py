"""Pictures of maps of embeddings: a point for each clip, colored by emotion, rating or speaker."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..corpora.schema import EMOTION_COLORS
from ..evaluation.maps import METHOD_NAMES
from ..evaluation.sections import EmbeddingMap
from .views import figure as figure_of

# A legend lists at most this many speakers; more have a color scale in the order of their names.
MOST_LISTED = 20
# At most 560 CSS pixels, so that the page of a phone shows a picture whole.
_WIDTH = 5.8  # inches
_HEIGHT = 5.2
_LEGEND_COLUMNS = 4
_OTHER = "#b3b3b3"


def emotion_map_figure(table: pa.Table, labels: Sequence[str], section: EmbeddingMap) -> Figure:
    """Draw the clips in the color of their emotion; circles are correct, crosses are wrong.

    Args:
        table: the table of `ser_hf.evaluation.maps.ClipMap` of a model of emotions.
        labels: the labels of the model, which the legend lists if they have clips.
    """
    label_of_clip = np.array(table["label"].to_pylist())
    correct = label_of_clip == np.array(table["predicted"].to_pylist())
    shown = [name for name in labels if (label_of_clip == name).any()]
    colors = dict(zip(shown, _emotion_colors(shown), strict=True))

    figure, axes = _empty_map(section, f"By emotion: silhouette {figure_of(section.emotions)}")
    color_of_clip = np.array([colors.get(name, _OTHER) for name in label_of_clip])
    _draw_points(axes, table, color_of_clip, correct)
    handles = [_patch(color, name) for name, color in colors.items()]
    handles.append(_marker("o", "correct"))
    handles.append(_marker("x", "wrong"))
    _draw_legend(figure, handles)
    return figure


def speaker_map_figure(table: pa.Table, section: EmbeddingMap) -> Figure:
    """Draw the clips in the color of their speaker; clips of unknown speakers are gray."""
    speakers = table["speaker"].to_pylist()
    names = sorted({speaker for speaker in speakers if speaker is not None})
    if len(names) <= MOST_LISTED:
        palette = matplotlib.colormaps["tab20"]
        colors = {name: palette(i) for i, name in enumerate(names)}
    else:
        palette = matplotlib.colormaps["turbo"]
        colors = {name: palette(i / (len(names) - 1)) for i, name in enumerate(names)}

    figure, axes = _empty_map(section, f"By speaker: silhouette {figure_of(section.speakers)}")
    unknown = matplotlib.colors.to_rgba(_OTHER)
    color_of_clip = np.array([colors.get(speaker, unknown) for speaker in speakers])
    _draw_points(axes, table, color_of_clip)
    if len(names) <= MOST_LISTED:
        _draw_legend(figure, [_patch(color, name) for name, color in colors.items()])
    else:
        figure.supxlabel(f"{len(names)} speakers, a color each", fontsize=9)
    return figure


def dimension_map_figure(
    table: pa.Table,
    dimensions: Sequence[str],
    section: EmbeddingMap,
    scale: str = "rating, 0 to 1",
) -> Figure:
    """Draw the clips in the color of their rating, with a panel for each dimension.

    Args:
        table: the table of `ser_hf.evaluation.maps.ClipMap` of a model of dimensions, or of sets of
            labels, where 1 is a true label.
        scale: the title of the scale of colors.
    """
    figure = Figure(figsize=(_WIDTH, 0.3 + 3.6 * len(dimensions)), layout="constrained")
    panels = figure.subplots(len(dimensions), 1, squeeze=False).ravel()
    for axes, name in zip(panels, dimensions, strict=True):
        points = axes.scatter(
            table["x"].to_numpy(),
            table["y"].to_numpy(),
            c=table[f"true_{name}"].to_numpy(),
            s=_area(len(table)),
            cmap="viridis",
            linewidths=0,
        )
        figure.colorbar(points, ax=axes, label=scale)
        _label_axes(axes, section)
        axes.set_title(f"By {name}", parse_math=False)
    return figure


def _empty_map(section: EmbeddingMap, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    _label_axes(axes, section)
    return figure, axes


def _label_axes(axes: Axes, section: EmbeddingMap) -> None:
    """Name the axes; their numbers mean nothing, except the shares of the variance."""
    method = METHOD_NAMES[section.method]
    labels = [f"{method}, axis 1", f"{method}, axis 2"]
    if section.explained:
        labels = [
            f"principal component {number} ({share:.0%} of the variance)"
            for number, share in enumerate(section.explained, start=1)
        ]
    axes.set_xlabel(labels[0], fontsize=9)
    axes.set_ylabel(labels[1], fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_points(
    axes: Axes, table: pa.Table, colors: np.ndarray, correct: np.ndarray | None = None
) -> None:
    """Draw circles, and crosses for wrong predictions.

    Args:
        colors: a color for each clip, hexadecimal texts (clips,) or RGBA (clips, 4).
        correct: whether the prediction of each clip is right, (clips,); None draws circles only.
    """
    x = table["x"].to_numpy()
    y = table["y"].to_numpy()
    area = _area(len(table))
    circles = np.ones(len(x), dtype=bool) if correct is None else correct
    axes.scatter(
        x[circles],
        y[circles],
        c=colors[circles],
        s=area,
        edgecolors="0.25",
        linewidths=0.3,
        alpha=0.85,
    )
    crosses = ~circles
    if crosses.any():
        axes.scatter(x[crosses], y[crosses], c=colors[crosses], s=area, marker="x", linewidths=1.1)


def _area(clips: int) -> float:
    """The area of a point in square points; points are smaller if there are many clips."""
    return float(np.clip(9000 / clips, 7, 36))


def _emotion_colors(labels: Sequence[str]) -> list[str]:
    """A color for each label: that of the emotion, or one that no emotion of the map has."""
    free = [color for name, color in EMOTION_COLORS.items() if name not in labels]
    colors = []
    for label in labels:
        if label in EMOTION_COLORS:
            colors.append(EMOTION_COLORS[label])
        else:
            colors.append(free[len(colors) % len(free)] if free else "#000000")
    return colors


def _patch(color: str | tuple[float, ...], label: str) -> Line2D:
    """A square of the legend."""
    return Line2D([], [], marker="s", linestyle="", color=color, label=label)


def _marker(marker: str, label: str) -> Line2D:
    """A gray marker of the legend."""
    return Line2D([], [], marker=marker, linestyle="", color="0.45", label=label)


def _draw_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Draw a legend below the map. Names come from files, so $ must not start a formula."""
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
