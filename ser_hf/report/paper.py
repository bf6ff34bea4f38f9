"""Pictures for papers: PDF as wide as a column, with embedded fonts of 6 points or more."""

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.text import Text

from .fonts import make_readable

# The width of a column of a paper: 8.5 cm, in inches.
COLUMN = 8.5 / 2.54
# Sizes of fonts in a column: those of the page, which is drawn for 10 points, times this factor.
_FONT_SCALE = 0.7
_SMALLEST_FONT = 6.0  # points
_POINTS_PER_INCH = 72
_LABEL_GAP = 3.0  # points, between labels side by side
# The mean width of a letter, in parts of the size of its font.
_LETTER_WIDTH = 0.6
_TITLE_FONT = 7.5
_TITLE_WIDTH = 0.85 * COLUMN  # a title stands above the axes, which are narrower than the figure
# A legend is laid out when it is made, by these settings.
_LEGEND = {
    "legend.fontsize": 6.5,
    "legend.handlelength": 1.3,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.0,
}


@contextlib.contextmanager
def column_legends() -> Iterator[None]:
    """Draw figures with legends that fit into a column."""
    with matplotlib.rc_context(_LEGEND):
        yield


def save_pdf(figure: Figure, path: Path) -> None:
    """Fit a figure that was drawn for a column to its fonts, and write it as PDF.

    TrueType fonts are embedded, which publishers require. The same figure gives the same bytes.
    """
    fit_fonts(figure)
    make_readable(figure)
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})


def fit_fonts(figure: Figure) -> None:
    """Scale the fonts of a figure to a column, divide long titles, and turn labels that overlap."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(COLUMN, height * COLUMN / width)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            size = min((label.get_fontsize() for label in axis.get_ticklabels()), default=10.0)
            axis.set_tick_params(labelsize=_in_column(size), length=2, pad=2)
    tick_labels = {
        id(label)
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
    }
    for text in figure.findobj(Text):
        if id(text) not in tick_labels:
            text.set_fontsize(_in_column(text.get_fontsize()))
    for axes in figure.axes:
        for line in axes.lines:
            line.set_linewidth(_FONT_SCALE * line.get_linewidth())
        for title in (axes.title, axes._left_title):
            _divide(title)
    if figure._suptitle is not None:
        _divide(figure._suptitle)
    FigureCanvasAgg(figure).draw()  # the layout, by which overlaps are found
    for axes in figure.axes:
        if _labels_overlap(axes):
            axes.tick_params(axis="x", labelrotation=45)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")


def _in_column(size: float) -> float:
    """The size of a font in a column, from its size on a page."""
    return max(_SMALLEST_FONT, _FONT_SCALE * size)


def _divide(title: Text) -> None:
    """Limit the size of a title, and divide one that is longer than a column into lines."""
    title.set_fontsize(min(_TITLE_FONT, title.get_fontsize()))
    letters = int(_TITLE_WIDTH * _POINTS_PER_INCH / (_LETTER_WIDTH * _TITLE_FONT))
    lines = title.get_text().splitlines()
    title.set_text("\n".join(textwrap.fill(line, letters) for line in lines))


def _labels_overlap(axes: Axes) -> bool:
    """Whether labels of the x axis overlap or nearly touch, which a drawn figure shows."""
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    if any(label.get_rotation() for label in labels):
        return False
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    gap = _LABEL_GAP * axes.figure.dpi / _POINTS_PER_INCH
    return any(left.x1 + gap > right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
