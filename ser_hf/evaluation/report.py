"""The report of a run: what was measured on which clips, as numbers (JSON, parquet) and pictures."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from .by_corpus import by_corpus
from .intervals import FEW_SPEAKERS, bootstrap_intervals
from .metrics import DEFINITIONS, classification_metrics, confusion, per_class
from .plots import (
    confusion_figure,
    corpora_figure,
    curves_figure,
    distribution_figure,
    folds_figure,
    save_figure,
)
from .slices import COLUMNS, slice_metrics

logger = logging.getLogger(__name__)


def softmax(logits: np.ndarray) -> np.ndarray:
    """(clips, classes) logits -> probabilities."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def judge(
    dataset: Dataset, rows: np.ndarray, predictions: np.ndarray, *, bootstrap: int = 2000, confidence: float = 0.95
) -> dict[str, Any]:
    """The judgement of one part: metrics, intervals, per_class, confusion, slices, corpora and warnings. `corpora`
    holds the judgement of each corpus where there are several (`ser_hf.evaluation.by_corpus`).

    Args:
        dataset: the corpus's rows.
        rows: (clips,) row numbers of the part.
        predictions: (clips,) class ids, or (runs, clips) for several seeds on the same clips; metrics are then the
            runs' mean, and confusion counts their sum.
    """
    names = dataset.features["label"].names
    columns = {column: dataset[column][:] for column in COLUMNS}
    columns = {column: [values[row] for row in rows] for column, values in columns.items()}
    labels = np.asarray(dataset["label"][:])[rows]
    runs = np.atleast_2d(predictions)
    measured = [classification_metrics(labels, run, len(names)) for run in runs]
    pooled_labels, pooled = np.tile(labels, len(runs)), runs.ravel()
    settings = {"resamples": bootstrap, "confidence": confidence}
    classes = per_class(pooled_labels, pooled, names)
    slices = slice_metrics(
        {column: values * len(runs) for column, values in columns.items()}, pooled_labels, pooled, len(names)
    )
    # Pooling the runs repeats each clip; what is reported is how many there are.
    for row in classes.values():
        row["support"] //= len(runs)
    for values in slices.values():
        for row in values.values():
            row["clips"] //= len(runs)
    judgement: dict[str, Any] = {
        "metrics": {name: float(np.mean([m[name] for m in measured])) for name in measured[0]},
        "intervals": bootstrap_intervals(labels, runs, len(names), columns["speaker"], **settings),
        "clip_intervals": bootstrap_intervals(labels, runs, len(names), **settings),
        "confidence": confidence,
        "per_class": classes,
        "confusion": confusion(pooled_labels, pooled, len(names)),
        "slices": slices,
        "corpora": by_corpus(columns["corpus"], columns["speaker"], labels, runs, names),
        "warnings": [],
    }
    speakers = len(set(columns["speaker"]))
    if speakers < FEW_SPEAKERS:
        counted = "1 speaker" if speakers == 1 else f"{speakers} speakers"
        judgement["warnings"].append(
            f"Judged on {counted}: the interval over speakers is too narrow for so few, and the one over clips alone "
            "says nothing about other speakers."
        )
    return judgement


def judged_people(report: Mapping[str, Any]) -> str:
    """Who judged, in words that a headline can carry without flattering."""
    shared = report["audit"]["shared"].get(f"train/{report['judged_on']}", {})
    if report["protocol"]["leak"] or shared.get("speakers"):
        return f"{report['judged_on']} clips of speakers heard before"
    return f"the {report['judged_on']} speakers"


def prediction_table(dataset: Dataset, predicted: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pa.Table:
    """One row a clip: id, part, speaker, label, predicted and the probability of each class (`p_LABEL`).

    Args:
        predicted: rows (clips,) and logits (clips, classes) of each part.
    """
    names = dataset.features["label"].names
    ids, speakers, labels = dataset["id"][:], dataset["speaker"][:], dataset["label"][:]
    tables = []
    for part, (rows, logits) in predicted.items():
        probabilities = softmax(logits)
        columns = {
            "id": [ids[row] for row in rows],
            "part": [part] * len(rows),
            "speaker": [speakers[row] for row in rows],
            "label": [names[labels[row]] for row in rows],
            "predicted": [names[i] for i in probabilities.argmax(axis=1)],
        }
        columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(names)}
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def write_report(folder: Path, report: Mapping[str, Any], dataset: Dataset, part_rows: Mapping[str, Sequence[int]]):
    """The pictures, and report.json."""
    names = dataset.features["label"].names
    labels = dataset["label"][:]
    counts = {}
    for part, rows in part_rows.items():
        per_label = Counter(labels[row] for row in rows)
        counts[part] = [per_label[i] for i in range(len(names))]
    save_figure(distribution_figure(counts, names), folder / "class_distribution.png")
    title = f"{report['name']}: UAR {report['metrics']['uar']:.3f} on {judged_people(report)}"
    save_figure(confusion_figure(report["confusion"], names, title), folder / "confusion_matrix.png")
    if report.get("corpora"):
        confusions = {corpus: own["confusion"] for corpus, own in report["corpora"].items()}
        save_figure(corpora_figure(confusions, names), folder / "confusion_by_corpus.png")
    if "folds" in report["protocol"]:
        scores = {number: own["metrics"]["uar"] for number, own in report["protocol"]["folds"].items()}
        save_figure(folds_figure(scores, report["metrics"]["uar"]), folder / "folds.png")
    if report.get("history"):
        save_figure(curves_figure(report["history"], report["selected_by"]), folder / "training_curves.png")
    content = {**report, "definitions": DEFINITIONS}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
