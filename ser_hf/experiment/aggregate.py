"""One report over several runs of a recipe, seeds or folds: mean, deviation, pooled predictions, the preferred run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.bootstrap import fold_intervals
from ..evaluation.predictions import Judged, from_table
from ..evaluation.summary import (
    FEW_CLIPS,
    evaluate_predictions,
    few_clips,
    few_speakers,
    known_intervals,
    mean_metrics,
)
from ..utils.run_folder import RunFolder
from .data import Fold, Material
from .outputs import header
from .recipe import Recipe

Reports = Mapping[int, dict[str, Any]]


def read_predictions(folder: RunFolder, kind: str, numbers: Sequence[int]) -> pa.Table:
    """The predictions of every `kind`-N below `folder` in one table, with a column `kind` that names N."""
    return _numbered([_predictions(folder.child(f"{kind}-{number}")) for number in numbers], kind, numbers)


def _numbered(tables: Sequence[pa.Table], kind: str, numbers: Iterable[int]) -> pa.Table:
    return pa.concat_tables(
        table.append_column(kind, pa.array([number] * len(table)))
        for table, number in zip(tables, numbers, strict=True)
    )


def _predictions(folder: RunFolder) -> pa.Table:
    return pq.read_table(folder.report / "predictions.parquet")


def over_seeds(
    recipe: Recipe, material: Material, fold: Fold, folder: RunFolder, reports: Reports, foil: dict | None
) -> dict[str, Any]:
    """The report over the seeds of one split: metrics are their mean, intervals those of the mean."""
    tables = [_predictions(folder.child(f"seed-{number}")) for number in reports]
    judged = _judged(recipe, material, _numbered(tables, "seed", reports))
    judgement = evaluate_predictions(judged, **recipe.evaluation.bootstrapping)
    report = _together(recipe, material, [fold], folder, reports, judgement, foil)
    report["seeds"] = {
        str(seed): {"metrics": own["metrics"], "validation": own["parts"]["validation"]}
        for seed, own in reports.items()
    }
    return report | _extras("seed", reports, same_clips=True) | {"chosen_seed": preferred(reports)}


def over_folds(
    recipe: Recipe, material: Material, folds: Sequence[Fold], folder: RunFolder, reports: Reports, foil: dict | None
) -> dict[str, Any]:
    """The report over folds: metrics are the folds' mean, with the intervals of that mean; `pooled` holds those of
    all folds' predictions taken together, as do per_class, confusion and slices. Clips that several folds judge count
    each time in those, which `warnings` says."""
    tables = [_predictions(folder.child(f"fold-{fold.number}")) for fold in folds]
    judged = [_judged(recipe, material, table) for table in tables]
    everything = _judged(recipe, material, _numbered(tables, "fold", [fold.number for fold in folds]))
    bootstrapping = recipe.evaluation.bootstrapping
    judgement = evaluate_predictions(everything, **bootstrapping)
    pooled = {key: judgement[key] for key in ("metrics", "intervals", "clip_intervals")}
    settings = {"resamples": bootstrapping["bootstrap"], "confidence": bootstrapping["confidence"]}
    metrics = mean_metrics([own["metrics"] for own in reports.values()])
    over_clips = fold_intervals(judged, draw_folds=False, by_speaker=False, **settings)
    judgement |= {
        "metrics": metrics,
        "intervals": known_intervals(fold_intervals(judged, draw_folds=True, **settings), metrics),
        "clip_intervals": known_intervals(over_clips, metrics),
        "pooled": pooled,
    }
    few = sum(bool(few_clips(own["per_class"])) for own in reports.values() if "per_class" in own)
    if few:
        judgement["warnings"].append(
            f"In {few} of {len(folds)} folds fewer than {FEW_CLIPS} clips judge some class: the intervals of UAR, "
            "macro-F1 and AUROC lean upwards, as resamples lack such classes."
        )
    judgement["warnings"] += _repeated(folds, recipe.evaluation.part)
    report = _together(recipe, material, folds, folder, reports, judgement, foil)
    for fold in folds:
        own = reports[fold.number]
        report["protocol"]["folds"][str(fold.number)] |= {
            "metrics": own["metrics"],
            "validation": own["parts"]["validation"],
        }
    return report | _extras("fold", reports, same_clips=False) | {"chosen_fold": preferred(reports)}


def _repeated(folds: Sequence[Fold], part: str) -> list[str]:
    """A sentence where folds judge the same clips, as their validation parts mostly do; none where each is judged
    once."""
    times = Counter(clip for fold in folds for clip in fold.split.ids[part])
    several = sum(count > 1 for count in times.values())
    if not several:
        return []
    return [
        f"{several} of the {len(times)} {part} clips are judged by several folds (up to {max(times.values())}), and "
        f"count each time in what is pooled: {times.total()} answers in all."
    ]


def _merged(kind: str, reports: Reports, told: Sequence[str]) -> list[str]:
    """What is told of all runs together, then what is told of some of them, each once with the runs that it is about.
    How few judged a run is told of all together."""
    about: dict[str, list[int]] = {}
    for number, own in reports.items():
        few = few_clips(own.get("per_class", {})) + few_speakers(own.get("speakers", 0))
        for warning in dict.fromkeys(own.get("warnings", ())):
            if warning not in (*told, *few):
                about.setdefault(warning, []).append(number)
    return [*told] + [
        warning if len(numbers) == len(reports) else f"{kind.capitalize()} {', '.join(map(str, numbers))}: {warning}"
        for warning, numbers in about.items()
    ]


def _extras(kind: str, reports: Reports, same_clips: bool) -> dict[str, Any]:
    """What the runs found beside their figures, as far as all of them did: `temperatures` {number: value},
    `robustness` as the mean over runs, without intervals, `energy` as their sum, and `maps`, the runs whose page has a
    map of embeddings.

    Args:
        same_clips: whether the runs judge the same clips, so that these count once.
    """
    found: dict[str, Any] = {}
    if all(own.get("temperature") for own in reports.values()):
        found["temperatures"] = {str(number): own["temperature"]["value"] for number, own in reports.items()}
    if all(own.get("robustness") for own in reports.values()):
        found["robustness"] = _mean_robustness([own["robustness"] for own in reports.values()], same_clips)
    if all(own.get("energy") for own in reports.values()):
        found["energy"] = _together_taken([own["energy"] for own in reports.values()])
    maps = [f"{kind}-{number}" for number, own in reports.items() if own.get("embeddings")]
    return found | ({"maps": maps} if maps else {})


def _together_taken(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of what the runs took; emissions where all of them know theirs."""
    amounts = ("kwh", "processor_kwh", "accelerator_kwh", "memory_kwh", "seconds")
    emissions = [own["emissions_kg"] for own in runs]
    return {
        **runs[0],
        **{key: sum(own[key] for own in runs) for key in amounts},
        "emissions_kg": None if None in emissions else sum(emissions),
    }


def _mean_robustness(runs: Sequence[Mapping[str, Any]], same_clips: bool) -> dict[str, Any]:
    """Intervals are left out: those of the runs are of other figures than their mean."""
    first = runs[0]

    def clips(counts: Sequence[int]) -> int:
        return counts[0] if same_clips else sum(counts)

    conditions = []
    for each in zip(*(own["conditions"] for own in runs), strict=True):
        kept = {key: each[0][key] for key in ("name", "kind", "severity", "unit", "description")}
        scores = {key: float(np.mean([own[key] for own in each])) for key in ("uar", "wa", "macro_f1", "drop")}
        conditions.append({**kept, "changed": clips([own["changed"] for own in each]), **scores})
    clean = {key: float(np.mean([own["clean"][key] for own in runs])) for key in ("uar", "wa", "macro_f1")}
    return {
        "clips": clips([own["clips"] for own in runs]),
        "clean": clean,
        "chance": float(np.mean([own["chance"] for own in runs])),
        "conditions": conditions,
        "settings": first["settings"]
        | {"of_clips": clips([own["settings"]["of_clips"] for own in runs]), "runs": len(runs)},
    }


def preferred(reports: Reports) -> int:
    """The run whose kept checkpoint validation scored best."""
    return max(reports, key=lambda number: reports[number]["validated"])


def _judged(recipe: Recipe, material: Material, table: pa.Table) -> Judged:
    return from_table(table, recipe.evaluation.part, material.labels)


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
        "warnings": _merged("fold" if len(folds) > 1 else "seed", reports, judgement["warnings"] + material.notes),
        "model": first["model"],
        "training": first["training"],
        "deviations": {
            name: float(np.std([own["metrics"][name] for own in children], ddof=1))
            for name, mean in judgement["metrics"].items()
            if mean is not None
        },
        "parts": {part: mean_metrics([own["parts"][part] for own in children]) for part in first["parts"]},
        "selected_by": recipe.training.early_stopping.metric,
        "validated": max(own["validated"] for own in children),
        "history": [],
        "seconds": material.seconds
        | {
            "training": sum(own["seconds"]["training"] for own in children),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }
