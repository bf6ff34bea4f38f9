"""Writes the files of a matrix of models and corpora: the page, the heat-map and the tables."""

import textwrap
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation.metrics import NAMES
from ..report.page import picture, template
from ..report.plots import save_figure, svg
from ..utils.environment import __version__
from ..utils.files import replace_text, write_json
from .comparison_page import breakable, centered, number_text, span_text, spreadsheet
from .matrix import Matrix, MatrixCell

_CELL_WIDTH = 1.75  # inches
_CELL_HEIGHT = 0.72
_NARROW_WIDTH = 3.7  # inches, on a telephone
_NAMES_WIDTH = 2.2  # inches, of the models' names
_LETTERS_PER_INCH = 11
_WITH_INTERVAL = 1.05  # inches: narrower cells show the value only
_DARK = 0.55  # the value from which the text of a cell is white

# What a mark in a cell means. The marks are also in the tables.
MARKS = {
    "own": ("*", "the model was trained on this corpus"),
    "left out": ("-", "clips of its training speakers or recordings are left out"),
    "shared": ("!", "its training had speakers that are evaluated: the figure is too good"),
    "unknown": ("?", "the data of its training are unknown"),
}


def marks_of(cell: MatrixCell) -> list[str]:
    """The keys of `MARKS` that hold for a cell."""
    if cell.error is not None:
        return []
    marks = []
    if cell.relation == "own":
        marks.append("own")
    if cell.overlap != "none":
        marks.append(cell.overlap)
    return marks


def signs_of(cell: MatrixCell) -> str:
    """The signs of a cell's marks, such as ``*-``."""
    return "".join(MARKS[mark][0] for mark in marks_of(cell))


def write_matrix(matrix: Matrix, folder: Path) -> None:
    """Write matrix.json, matrix.csv, matrix.tex, the heat-map and the page to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wide = heat_map(matrix)
    narrow = heat_map(matrix, _NARROW_WIDTH)
    for name in ("matrix.png", "matrix.svg"):
        save_figure(wide, folder / name)
    write_json(folder / "matrix.json", matrix.to_dict())
    replace_text(folder / "matrix.csv", _csv(matrix))
    replace_text(folder / "matrix.tex", latex_table(matrix))
    alt = _alternative_text(matrix)
    page = template(
        __package__, "matrix.html", breakable=breakable, interval=span_text, number=number_text
    ).render(
        matrix=matrix,
        names=NAMES,
        marks=MARKS,
        marks_of=marks_of,
        shown_marks=_shown_marks(matrix),
        title=_metric_names(matrix),
        version=__version__,
        picture=picture(alt, svg(wide), wide.get_size_inches()),
        narrow=picture(alt, svg(narrow), narrow.get_size_inches()),
    )
    replace_text(folder / "index.html", page)


def _shown_marks(matrix: Matrix) -> list[str]:
    """The marks that any cell has, in the order of `MARKS`."""
    used = {mark for cell in matrix.cells for mark in marks_of(cell)}
    return [mark for mark in MARKS if mark in used]


def _metric_names(matrix: Matrix) -> str:
    """The main metrics of the cells, such as ``UAR``."""
    metrics = dict.fromkeys(cell.metric for cell in matrix.cells if cell.metric is not None)
    return " or ".join(NAMES[metric] for metric in metrics) or "no figures"


def _alternative_text(matrix: Matrix) -> str:
    """The alternative text of the heat-map, for readers who cannot see it."""
    figures = []
    for cell in matrix.cells:
        value = "no result" if cell.value is None else f"{cell.value:.3f}"
        figures.append(f"{cell.model} on {cell.corpus} {value}")
    return f"Heat-map of {_metric_names(matrix)}: {', '.join(figures)}."


def heat_map(matrix: Matrix, width: float | None = None) -> Figure:
    """Draw a cell for each model and corpus: color, value, interval, classes and marks.

    Cells of a model's training corpus have a frame; cells without a result are hatched.

    Args:
        width: width of the figure in inches (default: as the number of corpora needs).
    """
    rows = len(matrix.models)
    columns = len(matrix.corpora)
    is_narrow = width is not None
    width = width or _NAMES_WIDTH + _CELL_WIDTH * columns
    if is_narrow:
        # The names stand above their rows, so that the cells have the whole width.
        height = 1.3 + (_CELL_HEIGHT + 0.35) * rows
    else:
        height = 1.3 + _CELL_HEIGHT * rows
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    cell_width = width / columns if is_narrow else _CELL_WIDTH
    step = 1.5 if is_narrow else 1.0
    for i, model in enumerate(matrix.models):
        for j, corpus in enumerate(matrix.corpora):
            _draw_cell(axes, matrix.cell(model, corpus), (j, step * i), cell_width)
        if is_narrow:
            letters = int(_LETTERS_PER_INCH * width)
            name = model if len(model) <= letters else f"…{model[1 - letters :]}"
            axes.text(
                -0.5, step * i - 0.55, name, va="bottom", ha="left", fontsize=8, parse_math=False
            )
    letters = int(_LETTERS_PER_INCH * cell_width)
    shown_corpora = [textwrap.fill(name, max(letters, 8)) for name in matrix.corpora]
    axes.set_xticks(range(columns), shown_corpora, fontsize=9, parse_math=False)
    if is_narrow:
        axes.set_yticks([])
    else:
        letters = int(_LETTERS_PER_INCH * _NAMES_WIDTH)
        names = [textwrap.fill(name, letters) for name in matrix.models]
        axes.set_yticks(range(rows), names, fontsize=9, parse_math=False)
    top = -1.0 if is_narrow else -0.55
    axes.set(xlim=(-0.55, columns - 0.45), ylim=(step * (rows - 1) + 0.55, top))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(_legend_of(matrix, width), fontsize=8)
    return figure


def _draw_cell(
    axes: Axes, cell: MatrixCell, center: tuple[float, float], cell_width: float
) -> None:
    """Draw one cell around its center, in units of cells."""
    x, y = center
    corner = (x - 0.48, y - 0.46)
    if cell.value is None:
        axes.add_patch(Rectangle(corner, 0.96, 0.92, facecolor="#eeeeee", hatch="//", ec="#cccccc"))
        axes.text(x, y, "no result", ha="center", va="center", fontsize=8, color="#222222")
        return
    # Values of dimensions may be negative; the scale of colors begins at 0.
    share = min(1.0, max(0.0, cell.value))
    color = _color(share)
    frame = "#d55e00" if cell.relation == "own" else color
    axes.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=color, edgecolor=frame, linewidth=2))
    text_color = "white" if share > _DARK else "black"
    signs = signs_of(cell)
    value = f"{cell.value:.3f} {signs}".rstrip()
    size = 10 if cell_width > 1.2 else 8
    axes.text(
        x, y - 0.2, value, ha="center", va="center", fontsize=size, color=text_color, weight="bold"
    )
    if cell_width < _WITH_INTERVAL:
        return
    if cell.interval is not None:
        low, high = cell.interval
        axes.text(
            x,
            y + 0.07,
            f"{low:.2f} to {high:.2f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color=text_color,
        )
    axes.text(
        x,
        y + 0.31,
        _kinds(cell),
        ha="center",
        va="center",
        fontsize=6.5,
        color=text_color,
    )


def _color(share: float) -> tuple[float, ...]:
    """The color of a value from 0 to 1."""
    return colormaps["Blues"](0.05 + 0.9 * share)


def _kinds(cell: MatrixCell) -> str:
    """The number of classes or dimensions of a cell, and of its clips."""
    kind = "classes" if cell.metric == "uar" else "dimensions"
    return f"{len(cell.labels)} {kind}, {cell.clips} clips"


def _legend_of(matrix: Matrix, width: float) -> str:
    """The line below the heat-map: metric, intervals and marks."""
    parts = [f"{_metric_names(matrix)} with {100 * matrix.confidence:g} % intervals"]
    for mark in _shown_marks(matrix):
        sign, meaning = MARKS[mark]
        framed = " (frame)" if mark == "own" else ""
        parts.append(f"{sign} {meaning}{framed}")
    lines = [textwrap.fill(part, int(13 * width)) for part in parts]
    return "\n".join(lines)


def table(matrix: Matrix) -> pd.DataFrame:
    """A line for each model with formatted figures, for the terminal and for papers."""
    lines = []
    for model in matrix.models:
        line = {"model": model}
        for corpus in matrix.corpora:
            cell = matrix.cell(model, corpus)
            if cell.value is None:
                line[corpus] = "no result"
                continue
            text = f"{cell.value:.3f}"
            if cell.interval is not None:
                text += f" [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]"
            line[corpus] = f"{text} {signs_of(cell)}".rstrip()
        lines.append(line)
    return pd.DataFrame(lines)


def notes(matrix: Matrix) -> list[str]:
    """The meaning of the marks, and the errors of the cells without a result."""
    lines = []
    for mark in _shown_marks(matrix):
        sign, meaning = MARKS[mark]
        lines.append(f"{sign} {meaning}")
    lines += [f"{cell.model} on {cell.corpus}: {cell.error}" for cell in matrix.failed]
    return lines


def latex_table(matrix: Matrix) -> str:
    """The table for a paper in LaTeX, with booktabs; the caption explains the marks."""
    sentences = [f"{_metric_names(matrix)} with {100 * matrix.confidence:g} % intervals."]
    for mark in _shown_marks(matrix):
        sign, meaning = MARKS[mark]
        sentences.append(f"{sign} {meaning}.")
    caption = " ".join(sentences).replace("%", r"\%").replace("_", r"\_")
    latex = table(matrix).to_latex(
        index=False, escape=True, caption=caption, label="tab:matrix", position="t"
    )
    return centered(latex)


def _csv(matrix: Matrix) -> str:
    """The matrix as CSV, one line for each cell."""
    lines = []
    for cell in matrix.cells:
        low, high = cell.interval or (None, None)
        line = {
            "model": cell.model,
            "corpus": cell.corpus,
            "metric": cell.metric,
            "value": cell.value,
            "interval_low": low,
            "interval_high": high,
            "relation": cell.relation,
            "overlap": cell.overlap,
            "clips_left_out": cell.left_out,
            "protocol": cell.protocol,
            "clips": cell.clips,
            "speakers": cell.speakers,
            "classes": " ".join(cell.labels),
        }
        line |= {name: cell.metrics.get(name) for name in matrix.definitions}
        line |= {"folder": cell.folder, "error": cell.error}
        lines.append(line)
    return spreadsheet(pd.DataFrame(lines).convert_dtypes())
