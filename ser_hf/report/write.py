"""The folder of a report: report.json with its schema, tables, pictures and the page."""

import os
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ..evaluation.metrics import NAMES, definitions
from ..evaluation.sections import HardClip
from ..utils.files import write_json
from .page import Picture, picture, render
from .plots import (
    confusion_figure,
    curves_figure,
    dimensions_figure,
    distribution_figure,
    per_class_figure,
    reliability_figure,
    robustness_figure,
    save_figure,
    slices_figure,
)
from .report import SCHEMA, Report, report_schema
from .views import evaluated_speakers

# An SVG of many thousand points is larger than a PNG, and slow.
_MOST_BYTES = 400_000
# The files beside the page, as the page describes them.
_FILES = {
    "report.json": "all numbers",
    SCHEMA: "the meaning of every key of report.json (JSON Schema)",
    "predictions.parquet": "every clip with its label, its prediction and the probability of each emotion, or its "
    "ratings and their predictions",
}


def write_report(
    folder: Path, report: Report, *, predictions: Path | None = None, **page: Any
) -> None:
    """Write report.json with its schema, pictures (PNG and SVG), and index.html with the pictures
    inside.

    Args:
        predictions: the table of predictions (default: that in the folder).
        page: recipe, corpus and links, see `ser_hf.report.page.render`.
    """
    write_json(folder / SCHEMA, report_schema())
    values = {"$schema": SCHEMA, **report.to_dict(), "definitions": definitions(report.measured)}
    write_json(folder / "report.json", values)
    shown: dict[str, list[Picture]] = {}
    for section, name, alt, figure in figures(
        report, predictions or folder / "predictions.parquet"
    ):
        shown.setdefault(section, []).append(_write_picture(figure, folder, name, alt))
    files = {name: holds for name, holds in _FILES.items() if (folder / name).is_file()}
    html = render(
        report, pictures=shown, players=players(report.hardest, folder), files=files, **page
    )
    (folder / "index.html").write_text(html, encoding="utf-8")


def _write_picture(figure: Figure, folder: Path, name: str, alt: str) -> Picture:
    png = folder / f"{name}.png"
    svg = folder / f"{name}.svg"
    save_figure(figure, png)
    # The layout is computed once; it takes longer than drawing.
    figure.set_layout_engine("none")
    save_figure(figure, svg)
    chosen = png if svg.stat().st_size > _MOST_BYTES else svg
    return picture(alt, chosen.read_bytes(), figure.get_size_inches(), (png.name, svg.name))


def figures(
    report: Report, predictions: Path | None = None
) -> Iterator[tuple[str, str, str, Figure]]:
    """(section of the page, name of the file, alternative text, figure) of every picture of a
    report.

    Args:
        predictions: the table with targets and values, for dimensions.
    """
    names = report.labels
    score = report.metrics[report.main]
    metric = NAMES[report.main]
    title = f"{report.name}: {metric} {score:.3f} on {evaluated_speakers(report)}"
    if report.class_distribution:
        counts = {part: list(own.values()) for part, own in report.class_distribution.items()}
        yield "classes", "class_distribution", "Clips per class", distribution_figure(counts, names)
    if report.confusion:
        yield (
            "confusion",
            "confusion_matrix",
            "Confusion matrix",
            confusion_figure({title: report.confusion}, names),
        )
    if report.per_class:
        yield (
            "per_class",
            "per_class",
            "Per-class results",
            per_class_figure(report.per_class, title),
        )
    if report.per_dimension and predictions is not None and predictions.is_file():
        table = pq.read_table(predictions)
        table = table.filter(pa.compute.equal(table["part"], report.evaluated_split))
        rated = {
            name: tuple(table[f"{kind}_{name}"].to_numpy() for kind in ("true", "p"))
            for name in names
        }
        alt = "Predictions and errors by rating, for each dimension"
        yield (
            "dimensions",
            "dimensions",
            alt,
            dimensions_figure(rated, report.ranges, report.per_dimension, title),
        )
    if report.slices:
        yield (
            "slices",
            "slices",
            f"{metric} by group",
            slices_figure(report.slices, report.main, score),
        )
    if report.corpora:
        confusions = {
            f"{corpus} ({sum(map(sum, own.confusion))} predictions)": own.confusion
            for corpus, own in report.corpora.items()
        }
        yield (
            "corpora",
            "confusion_by_corpus",
            "Confusion matrix of each corpus",
            confusion_figure(confusions, names),
        )
    if report.history:
        figure = curves_figure(report.history, (report.main, report.measured.beside[0]))
        yield "training", "training_curves", "Training curves", figure
    if report.calibration:
        figure = reliability_figure(report.calibration, report.temperature)
        yield "calibration", "reliability", "Reliability diagram", figure
    if report.robustness:
        yield (
            "robustness",
            "robustness",
            f"{metric} by severity",
            robustness_figure(report.robustness, report.main),
        )


def players(clips: Sequence[HardClip], folder: Path) -> dict[str, str]:
    """Addresses of the audio files of clips relative to a page in `folder`, by id; without missing
    files.
    """
    found = {}
    for clip in clips:
        if clip.path and Path(clip.path).is_file():
            relative = os.path.relpath(Path(clip.path).absolute(), folder.absolute())
            found[clip.id] = urllib.parse.quote(Path(relative).as_posix())
    return found
