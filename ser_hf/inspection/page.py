"""Writes the page of an inspection, and `inspect.json` with the same values."""

import dataclasses
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from ..report.page import Picture, picture, template
from ..report.paper import COLUMN, column_legends, save_pdf
from ..report.plots import COLORS, distribution_figure, svg
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .corpus import Inspection
from .measure import MEASURES, clip_table, ordered_labels
from .spectrograms import MOST_SECONDS, figures_by_label, sounds_by_label, sounds_of_findings
from .voice import DESCRIPTORS

CONTENTS = {"index.html", "inspect.json"}
# Pictures that an inspection may have, too.
_PICTURES = "*.pdf"
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
    others = {name for name in names - CONTENTS if not fnmatch(name, _PICTURES)}
    if others or (names and "inspect.json" not in names):
        name = min(others or names)
        raise UserError(
            f"--output: {folder} contains {name}, which is not of an inspection; choose another "
            "folder"
        )


def write_inspection(
    inspection: Inspection,
    folder: str | Path,
    *,
    audio: bool = True,
    pictures: Literal["pdf"] | None = None,
) -> Path:
    """Write the page and the JSON file of an inspection, and replace an earlier inspection.

    Example: `ser_hf.write_inspection(ser_hf.inspect_corpus("synthetic"), "inspection")`

    Args:
        audio: whether the page contains recordings; without them it has pictures of clips only.
        pictures: ``pdf`` also writes the pictures of the corpus and a clip of each label as PDF, as
            wide as a column of a paper.

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
        table = clip_table(inspection.clips)
        if pictures == "pdf":
            _write_pdfs(inspection, table, partial)
        page = template(__package__, "page.html", quantity=quantity).render(
            **facts,
            charts=charts(table),
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


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture of a corpus; `name` is that of its file."""

    name: str
    alt: str
    drawing: Figure


def charts(table: pd.DataFrame) -> list[Picture]:
    """The charts of a `clip_table`, for the page: classes and durations."""
    return [
        picture(chart.alt, svg(chart.drawing), chart.drawing.get_size_inches())
        for chart in draw_charts(table)
    ]


def draw_charts(table: pd.DataFrame, *, paper: bool = False) -> list[Chart]:
    """Draw classes and durations of a `clip_table`.

    Args:
        paper: whether the charts are as wide as a column of a paper.
    """
    if table.empty:
        return []
    labels = ordered_labels(table["label"])
    counts = table["label"].value_counts()[labels].tolist()
    classes = distribution_figure({"clips": counts}, labels, paper=paper)
    if not paper:
        classes.set_size_inches(_CHART)
        classes.axes[0].tick_params(axis="x", rotation=35)

    durations = Figure(figsize=(COLUMN, 2.2) if paper else _CHART, layout="constrained")
    axes = durations.add_subplot()
    bins = min(60, max(10, int(len(table) ** 0.5)))
    axes.hist(table["duration"], bins=bins, color=COLORS[0])
    axes.set(xlabel="duration (s)", ylabel="clips", title=f"Durations of {len(table)} clips")
    return [
        Chart("class_distribution", "Clips of each label.", classes),
        Chart("durations", "Histogram of the durations of the clips.", durations),
    ]


def _write_pdfs(inspection: Inspection, table: pd.DataFrame, folder: Path) -> None:
    """Write the charts, and a typical clip of each label, as PDF for a column of a paper."""
    with column_legends():
        for chart in draw_charts(table, paper=True):
            save_pdf(chart.drawing, folder / f"{chart.name}.pdf")
    for number, (label, drawing) in enumerate(figures_by_label(inspection.voice).items(), start=1):
        name = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")
        save_pdf(drawing, folder / f"clip_{number}_{name}.pdf")
