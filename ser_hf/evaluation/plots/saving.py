"""What all pictures share: colours, and how they become files."""

from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Blue, orange and green of Okabe and Ito (2008), told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG on white or, by the name's ending, an SVG on a clear ground, for pages that are light or dark.

    The same figure gives the same bytes. Without pyplot's global state, it works without a display and in threads.
    """
    FigureCanvasAgg(figure)
    if path.suffix == ".svg":
        # Ids in the file are hashes, salted at random otherwise; letters are drawn, as no font travels with the file.
        with matplotlib.rc_context({"svg.hashsalt": "ser_hf", "svg.fonttype": "path"}):
            figure.savefig(path, metadata={"Date": None}, transparent=True)
    else:
        figure.savefig(path, dpi=144)
