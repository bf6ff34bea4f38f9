"""One report over several runs of a recipe, seeds or folds: mean, deviation, pooled predictions, the preferred run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .delivery import header
from .evaluation.intervals import fold_intervals
from .evaluation.report import judge
from .material import Fold, Material
from .run_folder import RunFolder
from .sections import Recipe

Reports = Mapping[int, dict[str, Any]]


def read_predictions(folder: RunFolder, kind: str, numbers: Sequence[int]) -> pa.Table:
    """The predictions of every `kind`-N below `folder` in one table, with a column `kind` that names N."""
    tables = []
    for number in numbers:
        table = _predictions(folder.child(f"{kind}-{number}"))
        tables.append(table.append_column(kind, pa.array([number] * len(table))))
    return pa.concat_tables(tables)


def _predictions(folder: RunFolder) -> pa.Table:
    return pq.read_table(folder.report / "predictions.parquet")


def over_seeds(
    recipe: Recipe, material: Material, fold: Fold, folder: RunFolder, reports: Reports, foil: dict | None
) -> dict[str, Any]:
    """The report over the seeds of one split: metrics are their mean, intervals those of the mean."""
    rows = np.asarray(fold.split.rows[recipe.evaluation.part])
    predicted = np.concatenate([_predicted(recipe, material, folder.child(f"seed-{n}"), rows) for n in reports])
    judgement = judge(material.dataset, rows, predicted, **recipe.evaluation.bootstrapping)
    report = _together(recipe, material, [fold], folder, reports, judgement, foil)
    report["seeds"] = {
        str(seed): {"metrics": own["metrics"], "validation": own["parts"]["validation"]}
        for seed, own in reports.items()
    }
    return report | {"chosen_seed": preferred(reports)}


def over_folds(
    recipe: Recipe, material: Material, folds: Sequence[Fold], folder: RunFolder, reports: Reports, foil: dict | None
) -> dict[str, Any]:
    """The report over folds: metrics are the folds' mean, with the intervals of that mean; `pooled` holds those of
    all folds' predictions taken together, as do per_class, confusion and slices."""
    judged_on = recipe.evaluation.part
    rows = [np.asarray(fold.split.rows[judged_on]) for fold in folds]
    predicted = [
        _predicted(recipe, material, folder.child(f"fold-{fold.number}"), own)
        for fold, own in zip(folds, rows, strict=True)
    ]
    bootstrapping = recipe.evaluation.bootstrapping
    judgement = judge(material.dataset, np.concatenate(rows), np.concatenate(predicted, axis=1), **bootstrapping)
    pooled = {key: judgement[key] for key in ("metrics", "intervals", "clip_intervals")}
    labels, speakers = np.asarray(material.dataset["label"][:]), np.asarray(material.dataset["speaker"][:])
    settings = {"resamples": bootstrapping["bootstrap"], "confidence": bootstrapping["confidence"]}
    judged = [(labels[own], runs, speakers[own]) for own, runs in zip(rows, predicted, strict=True)]
    clips_alone = [(labels[own], runs, None) for own, runs in zip(rows, predicted, strict=True)]
    judgement |= {
        "metrics": _means([own["metrics"] for own in reports.values()]),
        "intervals": fold_intervals(judged, len(material.labels), draw_folds=True, **settings),
        "clip_intervals": fold_intervals(clips_alone, len(material.labels), draw_folds=False, **settings),
        "pooled": pooled,
    }
    report = _together(recipe, material, folds, folder, reports, judgement, foil)
    for fold in folds:
        own = reports[fold.number]
        report["protocol"]["folds"][str(fold.number)] |= {
            "metrics": own["metrics"],
            "validation": own["parts"]["validation"],
        }
    return report | {"chosen_fold": preferred(reports)}


def preferred(reports: Reports) -> int:
    """The run whose kept checkpoint validation scored best."""
    return max(reports, key=lambda number: reports[number]["validated"])


def _predicted(recipe: Recipe, material: Material, folder: RunFolder, rows: np.ndarray) -> np.ndarray:
    """(seeds, clips) predicted class ids of a run's judged clips, in the order of `rows`."""
    ids, classes = material.dataset["id"][:], material.labels
    runs: dict[int, dict[str, int]] = {}
    for clip in _predictions(folder).to_pylist():
        if clip["part"] == recipe.evaluation.part:
            runs.setdefault(clip.get("seed", 0), {})[clip["id"]] = classes.index(clip["predicted"])
    return np.asarray([[run[ids[row]] for row in rows] for run in runs.values()])


def _together(
    recipe: Recipe,
    material: Material,
    folds: Sequence[Fold],
    folder: RunFolder,
    reports: Reports,
    judgement: dict[str, Any],
    foil: dict | None,
) -> dict[str, Any]:
    children = list(reports.values())
    first = children[0]
    # A run that was resumed after its last epoch timed none.
    epochs = [own["seconds"]["per_epoch"] for own in children if own["seconds"]["per_epoch"]]
    return {
        **header(recipe, material, folds, folder, judgement["metrics"], foil),
        **judgement,
        "warnings": judgement["warnings"] + material.notes,
        "model": first["model"],
        "training": first["training"],
        "deviations": {
            name: float(np.std([own["metrics"][name] for own in children], ddof=1)) for name in judgement["metrics"]
        },
        "parts": {part: _means([own["parts"][part] for own in children]) for part in first["parts"]},
        "selected_by": recipe.training.early_stopping.metric,
        "validated": max(own["validated"] for own in children),
        "history": [],
        "seconds": material.seconds
        | {
            "training": sum(own["seconds"]["training"] for own in children),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([own[name] for own in scores])) for name in scores[0]}
