"""The folder of a report: pictures, numbers, and the page that shows them."""

import base64
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
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
from .report import judged_people

METRICS_SCHEMA = pa.schema(
    {
        # What the figure is of: judged, pooled, part, class, corpus, fold, seed, foil, condition, or a slice's column.
        "of": pa.string(),
        # Which one: the part's name, the class, the speaker, ...
        "name": pa.string(),
        "clips": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
        # Of the interval over speakers and their clips; null where there is none.
        "low": pa.float64(),
        "high": pa.float64(),
    }
)


def metrics_table(report: Mapping[str, Any]) -> pa.Table:
    """Columns of, name, clips, metric, value, low, high."""
    return pa.Table.from_pylist(
        [dict(zip(METRICS_SCHEMA.names, row, strict=True)) for row in _rows(report)], schema=METRICS_SCHEMA
    )


def _rows(report: Mapping[str, Any]) -> Iterator[tuple]:
    judged_on, protocol = report["judged_on"], report["protocol"]
    yield from _scores("judged", judged_on, report.get("clips"), report["metrics"], report.get("intervals", {}))
    pooled = report.get("pooled")
    if pooled:
        yield from _scores("pooled", judged_on, report.get("clips"), pooled["metrics"], pooled.get("intervals", {}))
    for part, scores in report.get("parts", {}).items():
        clips = protocol.get("parts", {}).get(part, {}).get("clips")
        yield from _scores("part", part, clips, scores)
    for label, own in report.get("per_class", {}).items():
        yield from _scores("class", label, own["support"], own, {"recall": own.get("recall_interval")})
    for column, values in report.get("slices", {}).items():
        for value, own in values.items():
            yield from _scores(column, value, own["clips"], own, {"uar": own.get("interval")})
    for corpus, own in (report.get("corpora") or {}).items():
        yield from _scores("corpus by itself", corpus, own["clips"], own["metrics"])
    for kind, runs in (("fold", protocol.get("folds")), ("seed", report.get("seeds"))):
        for number, own in (runs or {}).items():
            yield from _scores(kind, number, own.get("parts", {}).get(judged_on, {}).get("clips"), own["metrics"])
    if report.get("foil"):
        yield from _scores("foil", report["foil"]["protocol"], None, report["foil"]["metrics"])
    for own in (report.get("robustness") or {}).get("conditions", ()):
        intervals = {"uar": own.get("interval"), "drop": own.get("drop_interval")}
        kept = {key: own[key] for key in ("uar", "wa", "macro_f1", "drop") if key in own}
        yield from _scores("condition", own["name"], report["robustness"]["clips"], kept, intervals)


def _scores(
    of: str,
    name: Any,
    clips: int | None,
    scores: Mapping[str, Any],
    intervals: Mapping[str, Sequence[float] | None] | None = None,
) -> Iterator[tuple]:
    for metric, value in scores.items():
        if isinstance(value, float):
            low, high = (intervals or {}).get(metric) or (None, None)
            yield of, str(name), clips, metric, value, low, high


SCHEMA = "report_schema.json"
# An SVG of many thousand points is larger than its pixels are, and slower to scroll.
_MOST_BYTES = 400_000
# What else a report's folder may hold, in the words of the page.
_HOLDS = {
    "report.json": "all of this in numbers",
    SCHEMA: "what each of these numbers means (JSON Schema)",
    "metrics.parquet": "every figure with its interval, a row each",
    "predictions.parquet": "every clip with its label, its answer and the probability of each emotion",
    "embeddings.parquet": "the places of the clips in the pictures of embeddings",
    "README.md": "a shorter report in Markdown",
}


def write_report(
    folder: Path, report: Mapping[str, Any], dataset: Dataset, part_rows: Mapping[str, Sequence[int]], **told: Any
) -> None:
    """report.json with the schema that it names, metrics.parquet, pictures (PNG and SVG) and index.html.

    Args:
        report: finished, as report.json holds it but for `class_distribution` and `definitions`.
        part_rows: the rows of each part, or of each fold's judged one, whose classes are counted.
        told: what `write_page` takes beside folder and report.
    """
    names, labels = dataset.features["label"].names, dataset["label"][:]
    counts = {}
    for part, rows in part_rows.items():
        per_label = Counter(labels[row] for row in rows)
        counts[part] = {name: per_label[i] for i, name in enumerate(names)}
    write_numbers(folder, {**report, "labels": names, "class_distribution": counts}, **told)


def write_numbers(folder: Path, report: Mapping[str, Any], **told: Any) -> None:
    """As `write_report`, of a report that has its class distribution or, being an old one, none."""
    content = {"$schema": SCHEMA, **report, "definitions": DEFINITIONS}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / SCHEMA).write_bytes(resources.files(__package__).joinpath(SCHEMA).read_bytes())
    pq.write_table(metrics_table(content), folder / "metrics.parquet")
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    write_page(folder, content, **told)


def write_page(
    folder: Path,
    report: Mapping[str, Any],
    *,
    recipe: str = "",
    corpus: Mapping[str, Any] | None = None,
    links: Mapping[str, Any] | None = None,
) -> None:
    """The pictures of a report and index.html, which holds those that it shows.

    Args:
        recipe, corpus, links: as `ser_hf.report.page.render` takes them.
    """
    shown: dict[str, list[Picture]] = {}
    points = folder / report["embeddings"]["points"] if report.get("embeddings") else None
    for section, name, alt, figure in figures(report, points):
        shown.setdefault(section, []).append(_keep(figure, folder, name, alt))
    if "training" in shown:
        # On the page each panel by itself, so that it can be read on a phone; the files hold all in one.
        (whole,) = shown["training"]
        panels = curve_panels(report["history"], report["selected_by"])
        shown["training"] = [_embedded(figure, f"{whole.alt}: {title}") for title, figure in panels.items()]
        shown["training"][-1] = _with_files(shown["training"][-1], whole.files)
    page = render(
        report,
        pictures=shown,
        recipe=recipe,
        corpus=corpus,
        links=links,
        players=players(report.get("hardest", ()), folder),
        files={name: holds for name, holds in _HOLDS.items() if (folder / name).is_file()},
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def figures(report: Mapping[str, Any], points: Path | None = None) -> list[tuple[str, str, str, Figure]]:
    """(section of the page, name of the file, what it shows, figure) of every picture that a report has.

    Args:
        points: the file of its embeddings' places.
    """
    names, found = report["labels"], []
    title = f"{report['name']}: UAR {report['metrics']['uar']:.3f} on {judged_people(report)}"
    if report.get("class_distribution"):
        counts = {part: list(own.values()) for part, own in report["class_distribution"].items()}
        found.append(("classes", "class_distribution", "Clips per class", distribution_figure(counts, names)))
    confusion = confusion_figure(report["confusion"], names, title)
    found.append(("confusion", "confusion_matrix", "Confusion matrix", confusion))
    if report.get("per_class"):
        found.append(("per_class", "per_class", "Each emotion", per_class_figure(report["per_class"], title)))
    if report.get("slices"):
        figure = slices_figure(report["slices"], report["metrics"]["uar"])
        found.append(("slices", "slices", "UAR of each slice", figure))
    if report.get("corpora"):
        confusions = {corpus: own["confusion"] for corpus, own in report["corpora"].items()}
        figure = corpora_figure(confusions, names)
        found.append(("corpora", "confusion_by_corpus", "Confusion matrix of each corpus", figure))
    if report["protocol"].get("folds"):
        scores = {number: own["metrics"]["uar"] for number, own in report["protocol"]["folds"].items()}
        found.append(("runs", "folds", "UAR by fold", folds_figure(scores, report["metrics"]["uar"])))
    if report.get("history"):
        figure = curves_figure(report["history"], report["selected_by"])
        found.append(("training", "training_curves", "Training curves", figure))
    if report.get("calibration"):
        figure = reliability_figure(report["calibration"], report.get("temperature"))
        found.append(("calibration", "reliability", "Reliability diagram", figure))
    if report.get("robustness"):
        found.append(("robustness", "robustness", "UAR by severity", robustness_figure(report["robustness"])))
    if points is not None and points.is_file():
        found += _maps(pq.read_table(points), report["embeddings"]["methods"])
    return found


def _maps(points: pa.Table, methods: Sequence[str]) -> Iterator[tuple[str, str, str, Figure]]:
    groups = [points[name].to_pylist() for name in ("label", "speaker", "corpus")]
    for method in methods:
        places = np.stack([points[f"{axis}_{method}"].to_numpy() for axis in ("x", "y")], axis=1)
        alt = f"Embeddings by {NAMES[method]}, coloured by emotion and speaker"
        yield "embeddings", f"embeddings_{method}", alt, embeddings_figure(places, *groups, method)


def players(clips: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Addresses of the clips' files relative to a page in `folder`, by id; nothing of files that are not there."""
    found = {}
    for clip in clips:
        if clip.get("path") and Path(clip["path"]).is_file():
            relative = os.path.relpath(Path(clip["path"]).absolute(), folder.absolute())
            found[clip["id"]] = urllib.parse.quote(Path(relative).as_posix())
    return found


def _keep(figure: Figure, folder: Path, name: str, alt: str) -> Picture:
    files = [f"{name}.png", f"{name}.svg"]
    save_figure(figure, folder / files[0])
    # What stands where is settled; finding it takes longer than drawing it.
    figure.set_layout_engine("none")
    save_figure(figure, folder / files[1])
    chosen = folder / files[1]
    if chosen.stat().st_size > _MOST_BYTES:
        chosen = folder / files[0]
    return Picture(alt, _uri(chosen.read_bytes(), chosen.suffix), *_pixels(figure), files)


def _embedded(figure: Figure, alt: str) -> Picture:
    return Picture(alt, _uri(svg(figure), ".svg"), *_pixels(figure))


def _with_files(picture: Picture, files: Sequence[str]) -> Picture:
    return Picture(picture.alt, picture.source, picture.width, picture.height, files)


def _uri(data: bytes, suffix: str) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _pixels(figure: Figure) -> tuple[int, int]:
    """Of CSS, of which an inch has 96."""
    width, height = figure.get_size_inches()
    return round(96 * width), round(96 * height)
