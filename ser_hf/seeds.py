"""One report over several seeds of a recipe: the metrics' mean and deviation, and the seed that validation prefers."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .delivery import header
from .evaluation.report import judge
from .material import Material
from .recipe import Recipe
from .run_folder import RunFolder


def aggregate(
    recipe: Recipe, material: Material, folder: RunFolder, reports: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """One report over several seeds: the metrics' mean, their deviation, intervals of the mean."""
    row_of = {id_: row for row, id_ in enumerate(material.dataset["id"])}
    class_of = {label: i for i, label in enumerate(material.labels)}
    judged_on = recipe.evaluation.part
    predictions = []
    for seed in reports:
        table = pq.read_table(folder.child(f"seed-{seed}").report / "predictions.parquet").to_pylist()
        clips = [clip for clip in table if clip["part"] == judged_on]
        judged = sorted((row_of[clip["id"]], class_of[clip["predicted"]]) for clip in clips)
        predictions.append([predicted for _, predicted in judged])
    rows = np.asarray([row for row, _ in judged])
    settings = {"bootstrap": recipe.evaluation.bootstrap, "confidence": recipe.evaluation.confidence}
    judgement = judge(material.dataset, rows, np.asarray(predictions), **settings)
    metric = recipe.training.early_stopping.metric

    def validated(seed: int) -> float:
        kept = [entry["validation"][metric] for entry in reports[seed]["history"] if "validation" in entry]
        return -min(kept) if metric == "loss" else max(kept)

    first = next(iter(reports.values()))
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
            "per_epoch": float(np.mean([report["seconds"]["per_epoch"] or np.nan for report in reports.values()])),
        },
    }
