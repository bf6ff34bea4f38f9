"""The page of an inspection, and `inspect.json` with the same facts."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..report.page import Picture, picture, template
from ..report.plots import COLORS, distribution_figure, svg
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .findings import Inspection
from .measure import MEASURES, clip_table, ordered_labels

CONTENTS = {"index.html", "inspect.json"}
# Limits of the page; `inspect.json` is complete.
FILES_LISTED = 20
SPEAKERS_LISTED = 200
_CHART = (5.4, 3.4)  # inches


def check_folder(folder: str | Path) -> None:
    """Raise a `UserError` if the folder contains anything but an earlier inspection."""
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output: {folder} is not a folder; choose another one")
    names = {child.name for child in folder.iterdir()} if folder.is_dir() else set()
    if names - CONTENTS or (names and "inspect.json" not in names):
        some = min(names - CONTENTS, default=min(names))
        raise UserError(
            f"--output: {folder} contains {some}, which is not of an inspection; choose another folder"
        )


def write_inspection(inspection: Inspection, folder: str | Path) -> Path:
    """Write the page and the JSON file; an earlier inspection is replaced.

    Example: `ser_hf.write_inspection(ser_hf.inspect_corpus("synthetic"), "inspection")`

    Returns:
        The path of the page.

    Raises:
        UserError: if the folder contains anything else, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder)
    with atomic_folder(folder, "--output") as partial:
        facts = inspection.to_dict()
        write_json(partial / "inspect.json", facts)
        page = template(__package__, "page.html", quantity=quantity).render(
            **facts,
            charts=charts(clip_table(inspection.clips)),
            listed=FILES_LISTED,
            speakers_listed=SPEAKERS_LISTED,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def quantity(value: float | None, measure: str) -> str:
    """A measure as text without its unit; shares in percent."""
    if value is None:
        return "–"
    unit = MEASURES[measure][0]
    text = (
        f"{100 * value:.2f}" if unit == "%" else f"{value:.2f}" if unit == "s" else f"{value:.1f}"
    )
    # No negative zero, and a minus sign as wide as a digit.
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


def charts(table: pd.DataFrame) -> list[Picture]:
    """Charts of a `clip_table`: classes and durations."""
    if table.empty:
        return []
    labels = ordered_labels(table["label"])
    classes = distribution_figure({"clips": table["label"].value_counts()[labels].tolist()}, labels)
    classes.set_size_inches(_CHART)
    classes.axes[0].tick_params(axis="x", rotation=35)
    durations = Figure(figsize=_CHART, layout="constrained")
    axes = durations.add_subplot()
    axes.hist(table["duration"], bins=min(60, max(10, int(len(table) ** 0.5))), color=COLORS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(table)} clips")
    figures = {
        "Clips of each label.": classes,
        "Histogram of the durations of the clips.": durations,
    }
    return [picture(alt, svg(figure), figure.get_size_inches()) for alt, figure in figures.items()]
