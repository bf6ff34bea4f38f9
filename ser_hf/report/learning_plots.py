"""The picture of a learning curve, as a matplotlib figure."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.metrics import NAMES
from ..evaluation.sections import CurvePoint, LearningCurve
from .paper import COLUMN
from .plots import COLORS


def learning_curve_figure(curve: LearningCurve, *, paper: bool = False) -> Figure:
    """Draw the main metric over the number of training clips, by what is reduced.

    Small dots are the scores of single folds and draws, lines their means. A label at each point of
    the line of speakers has their number.

    Args:
        paper: whether the picture is for a column of a paper, in place of the page.
    """
    size = (COLUMN, 2.6) if paper else (6.5, 3.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, curve.speakers, "fewer speakers", COLORS[0], "o-")
    _draw(axes, curve.clips, "fewer clips of all speakers", COLORS[1], "s--")
    for point in curve.speakers:
        axes.annotate(
            f"{point.speakers} speakers",
            (point.clips, point.mean),
            textcoords="offset points",
            xytext=(9, -11),
            ha="left",
            fontsize=8,
        )
    axes.set(xlabel="training clips", ylabel=f"{NAMES[curve.metric]} on validation")
    axes.margins(x=0.24, y=0.2)
    axes.legend(loc="upper left", frameon=False)
    return figure


def _draw(axes: Axes, points: Sequence[CurvePoint], label: str, color: str, style: str) -> None:
    clips = [point.clips for point in points]
    axes.plot(clips, [point.mean for point in points], style, color=color, label=label)
    for point in points:
        axes.scatter([point.clips] * len(point.scores), point.scores, s=12, color=color, alpha=0.4)
