"""The folder of a report: report.json with its schema, tables, pictures and the page."""

import base64
import dataclasses
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ..evaluation.embeddings import NAMES
from ..evaluation.metrics import DEFINITIONS
from .page import Picture, render
from .plots import (
    confusion_figure,
    corpora_figure,
    curve_panels,
    curves_figure,
    distribution_figure,
    embeddings_figure,
    folds_figure,
    per_class_figure,
    reliability_figure,
    robustness_figure,
    save_figure,
    slices_figure,
    svg,
)
from .report import SCHEMA, HardClip, Report, report_schema
from .views import evaluated_speakers

METRICS_SCHEMA = pa.schema(
    {
        # What is measured: judged, pooled, part, class, corpus, fold, seed, foil, condition, or the column of a slice.
        "of": pa.string(),
        # Its name: the split, the class, the speaker, ...
        "name": pa.string(),
        "clips": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
        # Interval over speakers and their clips; null without one.
        "low": pa.float64(),
        "high": pa.float64(),
    }
)


def metrics_table(report: Report) -> pa.Table:
    """Columns of, name, clips, metric, value, low, high."""
    return pa.Table.from_pylist(
        [dict(zip(METRICS_SCHEMA.names, row, strict=True)) for row in _rows(report)], schema=METRICS_SCHEMA
    )


def _rows(report: Report) -> Iterator[tuple]:
    judged_on, splits = report.judged_on, report.protocol.parts
    yield from _scores("judged", judged_on, report.clips, report.metrics, report.intervals)
    if report.pooled:
        yield from _scores("pooled", judged_on, report.clips, report.pooled.metrics, report.pooled.intervals)
    for part, scores in report.parts.items():
        yield from _scores("part", part, splits[part].clips if part in splits else None, scores)
    for label, own in report.per_class.items():
        yield from _scores("class", label, own.support, own.to_dict(), {"recall": own.recall_interval})
    for column, values in report.slices.items():
        for value, own in values.items():
            yield from _scores(column, value, own.clips, own.to_dict(), {"uar": own.interval})
    for corpus, own in report.corpora.items():
        yield from _scores("corpus by itself", corpus, own.clips, own.metrics)
    for number, own in report.runs.items():
        clips = own.parts[judged_on].clips if judged_on in own.parts else None
        yield from _scores("fold" if report.protocol.folds else "seed", number, clips, own.metrics)
    if report.foil:
        yield from _scores("foil", report.foil.protocol, None, report.foil.metrics)
    for own in report.robustness.conditions if report.robustness else ():
        scores = {key: getattr(own, key) for key in ("uar", "wa", "macro_f1", "drop")}
        intervals = {"uar": own.interval, "drop": own.drop_interval}
        yield from _scores("condition", own.name, report.robustness.clips, scores, intervals)


def _scores(
    of: str,
    name: str,
    clips: int | None,
    scores: Mapping[str, Any],
    intervals: Mapping[str, Sequence[float] | None] | None = None,
) -> Iterator[tuple]:
    for metric, value in scores.items():
        if isinstance(value, float):
            low, high = (intervals or {}).get(metric) or (None, None)
            yield of, name, clips, metric, value, low, high


# An SVG of many thousand points is larger than a PNG, and slow.
_MOST_BYTES = 400_000
# The files beside the page, as the page describes them.
_FILES = {
    "report.json": "all numbers",
    SCHEMA: "the meaning of every key of report.json (JSON Schema)",
    "metrics.parquet": "every score with its interval, one per row",
    "predictions.parquet": "every clip with its label, its prediction and the probability of each emotion",
    "embeddings.parquet": "the coordinates of the clips on the maps of embeddings",
    "README.md": "a shorter report in Markdown",
}


def write_report(folder: Path, report: Report, **page: Any) -> None:
    """Writes report.json with its schema, metrics.parquet, pictures (PNG and SVG) and index.html.

    Args:
        page: recipe, corpus and links, see `write_page`.
    """
    (folder / SCHEMA).write_text(json.dumps(report_schema(), indent=1) + "\n", encoding="utf-8")
    pq.write_table(metrics_table(report), folder / "metrics.parquet")
    values = {"$schema": SCHEMA, **report.to_dict(), "definitions": DEFINITIONS}
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    write_page(folder, report, **page)


def write_page(
    folder: Path,
    report: Report,
    *,
    recipe: str = "",
    corpus: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
) -> None:
    """Writes the pictures of a report, and index.html with the pictures inside.

    Args:
        recipe, corpus, links: see `ser_hf.report.page.render`.
    """
    shown: dict[str, list[Picture]] = {}
    points = folder / report.embeddings.points if report.embeddings else None
    for section, name, alt, figure in figures(report, points):
        shown.setdefault(section, []).append(_keep(figure, folder, name, alt))
    if "training" in shown:
        # The page shows each panel by itself, which is readable on a phone; the files hold all panels in one.
        (together,) = shown["training"]
        panels = curve_panels(report.history, report.selected_by)
        shown["training"] = [_embedded(figure, f"{together.alt}: {title}") for title, figure in panels.items()]
        shown["training"][-1] = dataclasses.replace(shown["training"][-1], files=together.files)
    page = render(
        report,
        pictures=shown,
        recipe=recipe,
        corpus=corpus,
        links=links,
        players=players(report.hardest, folder),
        files={name: holds for name, holds in _FILES.items() if (folder / name).is_file()},
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def figures(report: Report, points: Path | None = None) -> list[tuple[str, str, str, Figure]]:
    """(section of the page, name of the file, alternative text, figure) of every picture of a report.

    Args:
        points: the file with the coordinates of the embeddings.
    """
    names, found = report.labels, []
    title = f"{report.name}: UAR {report.metrics['uar']:.3f} on {evaluated_speakers(report)}"
    if report.class_distribution:
        counts = {part: list(own.values()) for part, own in report.class_distribution.items()}
        found.append(("classes", "class_distribution", "Clips per class", distribution_figure(counts, names)))
    confusion = confusion_figure(report.confusion, names, title)
    found.append(("confusion", "confusion_matrix", "Confusion matrix", confusion))
    if report.per_class:
        found.append(("per_class", "per_class", "Per-class results", per_class_figure(report.per_class, title)))
    if report.slices:
        figure = slices_figure(report.slices, report.metrics["uar"])
        found.append(("slices", "slices", "UAR by group", figure))
    if report.corpora:
        confusions = {corpus: own.confusion for corpus, own in report.corpora.items()}
        figure = corpora_figure(confusions, names)
        found.append(("corpora", "confusion_by_corpus", "Confusion matrix of each corpus", figure))
    if report.protocol.folds:
        scores = {number: own.metrics["uar"] for number, own in report.protocol.folds.items()}
        found.append(("runs", "folds", "UAR by fold", folds_figure(scores, report.metrics["uar"])))
    if report.history:
        figure = curves_figure(report.history, report.selected_by)
        found.append(("training", "training_curves", "Training curves", figure))
    if report.calibration:
        figure = reliability_figure(report.calibration, report.temperature)
        found.append(("calibration", "reliability", "Reliability diagram", figure))
    if report.robustness:
        found.append(("robustness", "robustness", "UAR by severity", robustness_figure(report.robustness)))
    if points is not None and points.is_file():
        found += _maps(pq.read_table(points), report.embeddings.methods)
    return found


def _maps(points: pa.Table, methods: Sequence[str]) -> Iterator[tuple[str, str, str, Figure]]:
    groups = [points[name].to_pylist() for name in ("label", "speaker", "corpus")]
    for method in methods:
        places = np.stack([points[f"{axis}_{method}"].to_numpy() for axis in ("x", "y")], axis=1)
        alt = f"Embeddings by {NAMES[method]}, colored by emotion and speaker"
        yield "embeddings", f"embeddings_{method}", alt, embeddings_figure(places, *groups, method)


def players(clips: Sequence[HardClip], folder: Path) -> dict[str, str]:
    """Addresses of the audio files of clips relative to a page in `folder`, by id; without missing files."""
    found = {}
    for clip in clips:
        if clip.path and Path(clip.path).is_file():
            relative = os.path.relpath(Path(clip.path).absolute(), folder.absolute())
            found[clip.id] = urllib.parse.quote(Path(relative).as_posix())
    return found


def _keep(figure: Figure, folder: Path, name: str, alt: str) -> Picture:
    files = [f"{name}.png", f"{name}.svg"]
    save_figure(figure, folder / files[0])
    # The layout is computed once; it takes longer than drawing.
    figure.set_layout_engine("none")
    save_figure(figure, folder / files[1])
    chosen = folder / files[1]
    if chosen.stat().st_size > _MOST_BYTES:
        chosen = folder / files[0]
    return Picture(alt, _uri(chosen.read_bytes(), chosen.suffix), *_pixels(figure), files)


def _embedded(figure: Figure, alt: str) -> Picture:
    return Picture(alt, _uri(svg(figure), ".svg"), *_pixels(figure))


def _uri(data: bytes, suffix: str) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _pixels(figure: Figure) -> tuple[int, int]:
    """Of CSS, of which an inch has 96."""
    width, height = figure.get_size_inches()
    return round(96 * width), round(96 * height)
