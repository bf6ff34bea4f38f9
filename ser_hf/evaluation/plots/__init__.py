"""Pictures of a run, as matplotlib figures: one file each."""

from .confusion import confusion_figure, corpora_figure
from .curves import curve_panels, curves_figure
from .distribution import distribution_figure
from .folds import folds_figure
from .per_class import per_class_figure
from .saving import COLOURS, clear, save_figure, svg
from .slices import slices_figure

__all__ = [
    "COLOURS",
    "clear",
    "per_class_figure",
    "confusion_figure",
    "corpora_figure",
    "curve_panels",
    "curves_figure",
    "distribution_figure",
    "folds_figure",
    "save_figure",
    "slices_figure",
    "svg",
]
