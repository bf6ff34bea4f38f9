"""Several models on several corpora: which of them holds where it was not trained, as a table and a picture."""

import base64
import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation.metrics import HEADLINE
from ..report.page import template
from ..report.plots import save_figure
from ..utils.environment import __version__


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model on one corpus: `learnt` says whether that corpus is among those it was made with (None: it does not
    tell), `labels` how many of them were asked, `folder` where its report stands, relative to the matrix."""

    model: str
    corpus: str
    learnt: bool | None
    labels: int
    clips: int
    speakers: int
    metrics: Mapping[str, float | None]
    interval: Sequence[float]
    leak: str | None
    left_out: int
    folder: str

    @property
    def own(self) -> str:
        """In a word whose clips these are to the model."""
        if self.leak:
            return "leaky"
        return {True: "new speakers of a corpus it learnt", False: "another corpus", None: "not told"}[self.learnt]


def cell_of(
    model: str, corpus: str, report: Mapping[str, Any], left_out: int, folder: str, learnt: bool | None
) -> Cell:
    counted = sum(1 for row in report["per_class"].values() if row["support"])
    return Cell(
        model,
        corpus,
        learnt,
        counted,
        report["clips"],
        report["speakers"],
        report["metrics"],
        report["intervals"]["uar"],
        report["protocol"]["leak"],
        left_out,
        folder,
    )


def write_matrix(folder: Path, cells: Sequence[Cell], failed: Sequence[str] = ()) -> None:
    """matrix.csv, matrix.json, a picture as PNG and SVG, and index.html, which links each cell's report.

    Args:
        failed: why other models and corpora have no cell, in sentences.
    """
    rows = [_row(cell) for cell in cells]
    with (folder / "matrix.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "matrix.json").write_text(text + "\n", encoding="utf-8")
    figure = matrix_figure(cells)
    for suffix in ("png", "svg"):
        save_figure(figure, folder / f"matrix.{suffix}")
    models, corpora = _axes(cells)
    page = template("ser_hf.experiment", "matrix.html").render(
        models=models,
        corpora=corpora,
        cells={(cell.model, cell.corpus): cell for cell in cells},
        picture=base64.b64encode((folder / "matrix.svg").read_bytes()).decode(),
        failed=failed,
        version=__version__,
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _row(cell: Cell) -> dict[str, Any]:
    low, high = cell.interval
    return {
        "model": cell.model,
        "corpus": cell.corpus,
        "judged_by": cell.own,
        "clips": cell.clips,
        "speakers": cell.speakers,
        "labels": cell.labels,
        "left_out": cell.left_out,
        **{name: cell.metrics[name] for name in HEADLINE},
        "uar_low": low,
        "uar_high": high,
        "report": f"{cell.folder}/index.html",
    }


def _axes(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    return list(dict.fromkeys(cell.model for cell in cells)), list(dict.fromkeys(cell.corpus for cell in cells))


def matrix_figure(cells: Sequence[Cell]) -> Figure:
    """UAR of each model, in rows, on each corpus, in columns: how far above chance as colour, as labels differ in
    number; corpora that a model learnt from are framed."""
    models, corpora = _axes(cells)
    gains = np.full((len(models), len(corpora)), np.nan)
    for cell in cells:
        place = models.index(cell.model), corpora.index(cell.corpus)
        chance = 1 / cell.labels
        gains[place] = (cell.metrics["uar"] - chance) / (1 - chance) if cell.labels > 1 else 0
    longest = max(map(len, models))
    figure = Figure(figsize=(2.4 + 0.09 * longest + 1.5 * len(corpora), 1.6 + 0.8 * len(models)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(gains, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for cell in cells:
        x, y = corpora.index(cell.corpus), models.index(cell.model)
        low, high = cell.interval
        colour = "white" if gains[y, x] > 0.55 else "black"
        mark = " (leaky)" if cell.leak else ""
        text = f"{cell.metrics['uar']:.3f}{mark}\n{low:.2f} to {high:.2f}\n{cell.labels} labels"
        axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=8)
        if cell.learnt and not cell.leak:
            frame = {"fill": False, "edgecolor": "#D55E00", "linewidth": 2}
            axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, **frame))
    axes.set_xticks(range(len(corpora)), corpora, parse_math=False)
    axes.set_yticks(range(len(models)), models, parse_math=False)
    axes.set_xlabel("judged on")
    axes.set_title("UAR and its interval\nframed: new speakers of a corpus it learnt", fontsize=10)
    figure.colorbar(image, ax=axes, label="chance is 0, all right is 1")
    return figure
