"""One report over several seeds of a recipe: the metrics' mean and deviation, and the seed that validation prefers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .delivery import header
from .evaluation.report import judge
from .material import Material
from .recipe import Recipe
from .run_folder import RunFolder


def read_predictions(folder: RunFolder, seeds: Iterable[int]) -> pa.Table:
    """The predictions of every seed in one table, with a column that names the seed."""
    tables = []
    for seed in seeds:
        table = _predictions(folder, seed)
        tables.append(table.append_column("seed", pa.array([seed] * len(table))))
    return pa.concat_tables(tables)


def _predictions(folder: RunFolder, seed: int) -> pa.Table:
    return pq.read_table(folder.child(f"seed-{seed}").report / "predictions.parquet")


def aggregate(
    recipe: Recipe, material: Material, folder: RunFolder, reports: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """One report over several seeds: the metrics' mean, their deviation, intervals of the mean."""
    judged_on = recipe.evaluation.part
    ids, classes = material.dataset["id"][:], material.labels
    rows = np.asarray(sorted(material.split.rows[judged_on]))
    predictions = []
    for seed in reports:
        clips = _predictions(folder, seed).to_pylist()
        predicted = {clip["id"]: classes.index(clip["predicted"]) for clip in clips if clip["part"] == judged_on}
        predictions.append([predicted[ids[row]] for row in rows])
    judgement = judge(material.dataset, rows, np.asarray(predictions), **recipe.evaluation.bootstrapping)
    metric = recipe.training.early_stopping.metric

    def validated(seed: int) -> float:
        kept = [entry["validation"][metric] for entry in reports[seed]["history"] if "validation" in entry]
        return -min(kept) if metric == "loss" else max(kept)

    first = next(iter(reports.values()))
    # A seed that was resumed after its last epoch timed none.
    epochs = [report["seconds"]["per_epoch"] for report in reports.values() if report["seconds"]["per_epoch"]]
    return {
        **header(recipe, material, folder),
        **judgement,
        "model": first["model"],
        "deviations": {
            name: float(np.std([report["metrics"][name] for report in reports.values()], ddof=1))
            for name in judgement["metrics"]
        },
        "parts": {
            part: {
                name: float(np.mean([report["parts"][part][name] for report in reports.values()]))
                for name in judgement["metrics"]
            }
            for part in first["parts"]
        },
        "seeds": {
            str(seed): {"metrics": report["metrics"], "validation": report["parts"]["validation"]}
            for seed, report in reports.items()
        },
        "chosen_seed": max(reports, key=validated),
        "selected_by": metric,
        "history": [],
        "seconds": material.seconds
        | {
            "training": sum(report["seconds"]["training"] for report in reports.values()),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }
