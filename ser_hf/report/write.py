"""Writes the folder of a report: report.json with its schema, pictures and the page."""

import dataclasses
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ..evaluation.maps import METHOD_NAMES
from ..evaluation.metrics import NAMES, definitions
from ..evaluation.sections import HardClip
from ..utils.files import write_json
from .clip_plots import ClipRecordings, audio_address, hard_clip_figure
from .learning_plots import learning_curve_figure
from .map_plots import dimension_map_figure, emotion_map_figure, speaker_map_figure
from .page import Picture, picture, render
from .paper import column_legends, save_pdf
from .plots import (
    abstention_figure,
    confusion_figure,
    curves_figure,
    dimensions_figure,
    distribution_figure,
    per_class_figure,
    reliability_figure,
    robustness_figure,
    save_figure,
    slices_figure,
    svg,
)
from .report import SCHEMA, Report, report_schema
from .selective import risk_in_words
from .views import evaluated_speakers, map_text, occlusion_text, silhouette_text

# Tables in the folder of a report.
PREDICTIONS = "predictions.parquet"
MAP = "embeddings.parquet"
# The page embeds the PNG if the SVG is larger than this: an SVG with many thousand points is large
# and slow.
_MOST_BYTES = 400_000
# A limit of the page. With the most pictures and six clips of the longest duration it stays below.
MOST_PAGE_BYTES = 12_000_000
# {file in the folder of the page: its description on the page}
_FILES = {
    "report.json": "all numbers",
    SCHEMA: "the meaning of every key of report.json (JSON Schema)",
    PREDICTIONS: (
        "every clip with its label, its prediction and the probability of each emotion, or its "
        "ratings and their predictions"
    ),
    MAP: "the clips on the map of embeddings: label, prediction, speaker and coordinates",
}


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A picture of a report.

    Args:
        section: the section of the page that shows the picture.
        name: name of the file, without a suffix.
        text: alternative text, for readers who do not see the picture.
        drawing: the picture as a matplotlib figure.
    """

    section: str
    name: str
    text: str
    drawing: Figure


def write_report(
    folder: Path,
    report: Report,
    *,
    predictions: Path | None = None,
    pictures: Literal["pdf"] | None = None,
    recordings: ClipRecordings | None = None,
    audio: bool = False,
    **page: Any,
) -> None:
    """Write report.json with its schema, pictures (PNG and SVG), and the page (index.html).

    The page has less than `MOST_PAGE_BYTES`.

    Args:
        pictures: ``pdf`` also writes each picture as PDF, as wide as a column of a paper.
        predictions: file with the table of predictions (default: predictions.parquet in `folder`).
        recordings: of the hardest clips, which the page then shows.
        audio: whether the page has players of the hardest clips: of the recordings, which it then
            contains, and of the files of the other clips. Never set it for a page that is
            published: the license of a corpus seldom allows that.
        page: further arguments of `ser_hf.report.page.render`: recipe, corpus and links.
    """
    write_json(folder / SCHEMA, report_schema())
    values = {"$schema": SCHEMA, **report.to_dict(), "definitions": definitions(report.measured)}
    write_json(folder / "report.json", values)
    shown: dict[str, list[Picture]] = {}
    for figure in figures(report, predictions or folder / PREDICTIONS, folder / MAP):
        shown.setdefault(figure.section, []).append(_write_picture(figure, folder))
    clip_pictures = {}
    for clip_id, figure in figures_of_clips(report, recordings).items():
        # In the page only: their number depends on the predictions.
        size = figure.drawing.get_size_inches()
        clip_pictures[clip_id] = picture(figure.text, svg(figure.drawing), size)
    if pictures == "pdf":
        write_pdfs(folder, report, predictions=predictions, recordings=recordings)
    html = render(
        report,
        pictures=shown,
        clip_pictures=clip_pictures,
        players=_players(report, folder, recordings) if audio else {},
        files={name: text for name, text in _FILES.items() if (folder / name).is_file()},
        **page,
    )
    (folder / "index.html").write_text(html, encoding="utf-8")


def write_pdfs(
    folder: Path,
    report: Report,
    *,
    predictions: Path | None = None,
    recordings: ClipRecordings | None = None,
) -> None:
    """Write each picture of a report as PDF, as wide as a column of a paper.

    Example for a finished run: `write_pdfs(folder, read_report(folder / "report.json"))`, where
    `folder` is its folder `report`.

    Args:
        predictions: file with the table of predictions (default: predictions.parquet in `folder`).
        recordings: of the hardest clips, for their pictures.
    """
    predictions = predictions or folder / PREDICTIONS
    with column_legends():
        for figure in figures_of_clips(report, recordings, paper=True).values():
            save_pdf(figure.drawing, folder / f"{figure.name}.pdf")
        for figure in figures(report, predictions, folder / MAP, paper=True):
            save_pdf(figure.drawing, folder / f"{figure.name}.pdf")


def _write_picture(figure: ReportFigure, folder: Path) -> Picture:
    png = folder / f"{figure.name}.png"
    svg = folder / f"{figure.name}.svg"
    drawing = figure.drawing
    save_figure(drawing, png)
    # The SVG uses the layout of the PNG, because computing a layout takes longer than drawing.
    drawing.set_layout_engine("none")
    save_figure(drawing, svg)
    chosen = png if svg.stat().st_size > _MOST_BYTES else svg
    return picture(
        figure.text, chosen.read_bytes(), drawing.get_size_inches(), (png.name, svg.name)
    )


def figures(
    report: Report,
    predictions: Path | None = None,
    embeddings: Path | None = None,
    *,
    paper: bool = False,
) -> Iterator[ReportFigure]:
    """Draw every picture of a report.

    Args:
        paper: whether the pictures are for a column of a paper, in place of the page.
        predictions: file with the table of predictions, which the picture of dimensions needs.
        embeddings: file with the table of the map of embeddings, which its pictures need.
    """
    metric_title = NAMES[report.main]
    score = report.metrics[report.main]
    title = f"{report.name}: {metric_title} {score:.3f} on {evaluated_speakers(report)}"
    yield from _figures_of_classes(report, title, paper=paper)
    if report.per_dimension and predictions is not None and predictions.is_file():
        yield _figure_of_dimensions(report, predictions, title, paper=paper)
    if report.slices:
        drawing = slices_figure(report.slices, report.main, score, paper=paper)
        yield ReportFigure("slices", "slices", f"{metric_title} by group", drawing)
    if report.corpora:
        yield _figure_of_corpora(report, paper=paper)
    if report.history:
        shown = (report.main, report.measured.beside[0])
        drawing = curves_figure(report.history, shown, paper=paper)
        yield ReportFigure("training", "training_curves", "Training curves", drawing)
    if report.calibration:
        drawing = reliability_figure(report.calibration, report.temperature)
        yield ReportFigure("calibration", "reliability", "Reliability diagram", drawing)
    if report.abstention:
        drawing = abstention_figure(report.abstention, paper=paper)
        yield ReportFigure("abstention", "risk_coverage", risk_in_words(report), drawing)
    if report.learning_curve:
        drawing = learning_curve_figure(report.learning_curve, paper=paper)
        yield ReportFigure("new_speaker", "learning_curve", "Learning curve", drawing)
    if report.robustness:
        drawing = robustness_figure(report.robustness, report.main, paper=paper)
        yield ReportFigure("robustness", "robustness", f"{metric_title} by severity", drawing)
    if report.embeddings and embeddings is not None and embeddings.is_file():
        yield from _figures_of_embeddings(report, embeddings)


def _figures_of_classes(report: Report, title: str, *, paper: bool) -> Iterator[ReportFigure]:
    if report.class_distribution:
        counts = {part: list(clips.values()) for part, clips in report.class_distribution.items()}
        drawing = distribution_figure(counts, report.labels, paper=paper)
        yield ReportFigure("classes", "class_distribution", "Clips per class", drawing)
    if report.confusion:
        drawing = confusion_figure({title: report.confusion}, report.labels, paper=paper)
        yield ReportFigure("confusion", "confusion_matrix", "Confusion matrix", drawing)
    if report.per_class:
        drawing = per_class_figure(report.per_class, title, paper=paper)
        yield ReportFigure("per_class", "per_class", "Per-class results", drawing)


def _figure_of_dimensions(
    report: Report, predictions: Path, title: str, *, paper: bool
) -> ReportFigure:
    table = pq.read_table(predictions)
    table = table.filter(pa.compute.equal(table["part"], report.evaluated_split))
    first = next(iter(report.per_dimension))
    table = table.filter(pa.compute.is_valid(table[f"true_{first}"]))
    targets_and_values = {
        name: (table[f"true_{name}"].to_numpy(), table[f"p_{name}"].to_numpy())
        for name in report.per_dimension
    }
    drawing = dimensions_figure(
        targets_and_values, report.ranges, report.per_dimension, title, paper=paper
    )
    text = "Predictions and errors by rating, for each dimension"
    return ReportFigure("dimensions", "dimensions", text, drawing)


def _figures_of_embeddings(report: Report, embeddings: Path) -> Iterator[ReportFigure]:
    table = pq.read_table(embeddings)
    section = report.embeddings
    points = f"{METHOD_NAMES[section.method]} of the embeddings of {section.clips} clips"
    if "label" in table.column_names:
        drawing = emotion_map_figure(table, report.labels, section)
        yield ReportFigure("embeddings", "embeddings_by_emotion", map_text(report), drawing)
    else:
        scale = "true label" if report.measured.has_votes else "rating, 0 to 1"
        drawing = dimension_map_figure(table, report.labels, section, scale)
        text = f"{points}, colored by {scale.partition(',')[0]}, one panel for each"
        yield ReportFigure("embeddings", "embeddings_by_dimension", text, drawing)
    if len(set(table["speaker"].to_pylist()) - {None}) > 1:
        drawing = speaker_map_figure(table, section)
        text = f"{points}, colored by speaker. {silhouette_text('speakers', section.speakers)}"
        yield ReportFigure("embeddings", "embeddings_by_speaker", text, drawing)


def _figure_of_corpora(report: Report, *, paper: bool) -> ReportFigure:
    confusions = {}
    for name, scores in report.corpora.items():
        number = sum(map(sum, scores.confusion))
        confusions[f"{name} ({number} predictions)"] = scores.confusion
    drawing = confusion_figure(confusions, report.labels, paper=paper)
    return ReportFigure(
        "corpora", "confusion_by_corpus", "Confusion matrix of each corpus", drawing
    )


def figures_of_clips(
    report: Report, recordings: ClipRecordings | None, *, paper: bool = False
) -> dict[str, ReportFigure]:
    """Draw the hardest clips that have recordings: {clip id: figure}."""
    if recordings is None:
        return {}
    drawn = {}
    for clip in report.hardest:
        samples = recordings.samples.get(clip.id)
        if samples is None:
            continue
        text = (
            f"Waveform and log-mel spectrogram of {clip.id}, {clip.label}, predicted as "
            f"{clip.predicted}. {occlusion_text(clip)}"
        )
        drawing = hard_clip_figure(clip, samples, recordings.sampling_rate, paper=paper)
        name = f"hard_clip_{len(drawn) + 1}"
        drawn[clip.id] = ReportFigure("hardest", name, text.strip(), drawing)
    return drawn


def _players(report: Report, folder: Path, recordings: ClipRecordings | None) -> dict[str, str]:
    """The addresses of the audio of the hardest clips; data URIs of those with recordings."""
    addresses = players(report.hardest, folder)
    if recordings is not None:
        for clip_id, samples in recordings.samples.items():
            addresses[clip_id] = audio_address(samples, recordings.sampling_rate)
    return addresses


def players(clips: Sequence[HardClip], folder: Path) -> dict[str, str]:
    """The addresses of the audio files of clips, relative to a page in `folder`, by clip id.

    Clips whose file is missing have no entry.
    """
    addresses = {}
    for clip in clips:
        if clip.path and Path(clip.path).is_file():
            relative = os.path.relpath(Path(clip.path).absolute(), folder.absolute())
            addresses[clip.id] = urllib.parse.quote(Path(relative).as_posix())
    return addresses
