"""What all pictures share: colours, and how they become files."""

import io
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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
