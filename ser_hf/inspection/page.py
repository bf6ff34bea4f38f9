"""Writes the page of an inspection, and `inspect.json` with the same values."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..report.page import Picture, picture, template
from ..report.plots import COLORS, distribution_figure, svg
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .corpus import Inspection
from .measure import MEASURES, clip_table, ordered_labels
from .spectrograms import MOST_SECONDS, sounds_by_label, sounds_of_findings
from .voice import DESCRIPTORS

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
    others = names - CONTENTS
    if others or (names and "inspect.json" not in names):
        name = min(others or names)
        raise UserError(
            f"--output: {folder} contains {name}, which is not of an inspection; choose another "
            "folder"
        )


def write_inspection(inspection: Inspection, folder: str | Path, *, audio: bool = True) -> Path:
    """Write the page and the JSON file of an inspection, and replace an earlier inspection.

    Example: `ser_hf.write_inspection(ser_hf.inspect_corpus("synthetic"), "inspection")`

    Args:
        audio: whether the page contains recordings; without them it has pictures of clips only.

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
            sounds=sounds_by_label(inspection.voice, audio),
            sounds_of_findings=sounds_of_findings(inspection.findings, inspection.files, audio),
            sound_seconds=MOST_SECONDS,
            with_audio=audio,
            listed=FILES_LISTED,
            speakers_listed=SPEAKERS_LISTED,
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def quantity(value: float | None, measure: str) -> str:
    """A measure or descriptor as text without its unit; shares in percent."""
    if value is None:
        return "–"
    unit = (MEASURES | DESCRIPTORS)[measure][0]
    if unit == "%":
        text = f"{100 * value:.2f}"
    elif unit == "s":
        text = f"{value:.2f}"
    else:
        text = f"{value:.1f}"

    is_zero = not text.strip("-0.")
    if is_zero:
        return text.removeprefix("-")  # no negative zero
    return text.replace("-", "−")  # a minus sign as wide as a digit


def charts(table: pd.DataFrame) -> list[Picture]:
    """Draw the charts of a `clip_table`: classes and durations."""
    if table.empty:
        return []
    labels = ordered_labels(table["label"])
    counts = table["label"].value_counts()[labels].tolist()
    classes = distribution_figure({"clips": counts}, labels)
    classes.set_size_inches(_CHART)
    classes.axes[0].tick_params(axis="x", rotation=35)

    durations = Figure(figsize=_CHART, layout="constrained")
    axes = durations.add_subplot()
    bins = min(60, max(10, int(len(table) ** 0.5)))
    axes.hist(table["duration"], bins=bins, color=COLORS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(table)} clips")

    figures = {
        "Clips of each label.": classes,
        "Histogram of the durations of the clips.": durations,
    }
    return [picture(alt, svg(figure), figure.get_size_inches()) for alt, figure in figures.items()]
