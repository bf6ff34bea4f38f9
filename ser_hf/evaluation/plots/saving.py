"""What all pictures share: colours, and how they become files."""

import io
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Blue, orange and green of Okabe and Ito (2008), told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG on white or, by the name's ending, an SVG.

    The same figure gives the same bytes. Without pyplot's global state, it works without a display and in threads.
    """
    if path.suffix == ".svg":
        path.write_bytes(svg(figure))
    else:
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=144)


def svg(figure: Figure) -> bytes:
    """The figure as SVG on a clear ground, for pages that are light or dark."""
    FigureCanvasAgg(figure)
    drawn = io.BytesIO()
    # Ids in the file are hashes, salted at random otherwise; letters are drawn, as no font travels with the file.
    with matplotlib.rc_context({"svg.hashsalt": "ser_hf", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None}, transparent=True)
    return drawn.getvalue()
