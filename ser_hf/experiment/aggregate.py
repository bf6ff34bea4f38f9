"""One report over several runs of a recipe, seeds or folds: mean, deviation, pooled predictions, the preferred run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.bootstrap import fold_intervals
from ..evaluation.metrics import mean_metrics
from ..evaluation.predictions import from_table
from ..evaluation.summary import (
    FEW_CLIPS,
    evaluate_predictions,
    few_clips,
    few_speakers,
    known_intervals,
)
from ..report.report import CleanScores, Energy, Report, Robustness
from ..utils.run_folder import RunFolder
from .data import ExperimentData, Fold
from .outputs import header
from .recipe import Recipe

Reports = Mapping[int, Report]


def read_predictions(folder: RunFolder, kind: str, numbers: Sequence[int]) -> pa.Table:
    """The predictions of every `kind`-N below `folder` in one table, with N in a column `kind`."""
    return _numbered([_predictions(folder.child(f"{kind}-{number}")) for number in numbers], kind, numbers)


def _numbered(tables: Sequence[pa.Table], kind: str, numbers: Iterable[int]) -> pa.Table:
    return pa.concat_tables(
        table.append_column(kind, pa.array([number] * len(table)))
        for table, number in zip(tables, numbers, strict=True)
    )


def _predictions(folder: RunFolder) -> pa.Table:
    return pq.read_table(folder.report / "predictions.parquet")


def over_seeds(
    recipe: Recipe,
    material: ExperimentData,
    fold: Fold,
    folder: RunFolder,
    reports: Mapping[int, dict[str, Any]],
    foil: dict | None,
) -> dict[str, Any]:
    """The report over the seeds of one split: metrics are their mean, intervals are those of the mean."""
    runs = {number: Report.from_dict(own) for number, own in reports.items()}
    tables = [_predictions(folder.child(f"seed-{number}")) for number in runs]
    judged = from_table(_numbered(tables, "seed", runs), recipe.evaluation.part, material.labels)
    scores = evaluate_predictions(judged, **recipe.evaluation.bootstrapping)
    report = _together(recipe, material, [fold], folder, runs, scores, foil)
    report["seeds"] = {
        str(seed): {"metrics": own.metrics, "validation": own.parts["validation"]} for seed, own in runs.items()
    }
    return report | _extras("seed", runs, same_clips=True) | {"chosen_seed": preferred(runs)}


def over_folds(
    recipe: Recipe,
    material: ExperimentData,
    folds: Sequence[Fold],
    folder: RunFolder,
    reports: Mapping[int, dict[str, Any]],
    foil: dict | None,
) -> dict[str, Any]:
    """The report over folds: metrics are the mean over folds, with the intervals of that mean. `pooled` has the scores
    of the predictions of all folds together, as have per_class, confusion and slices. Clips in the evaluated split of
    several folds count once per fold there; `warnings` says so."""
    runs = {number: Report.from_dict(own) for number, own in reports.items()}
    part, labels = recipe.evaluation.part, material.labels
    tables = [_predictions(folder.child(f"fold-{fold.number}")) for fold in folds]
    judged = [from_table(table, part, labels) for table in tables]
    everything = from_table(_numbered(tables, "fold", [fold.number for fold in folds]), part, labels)
    bootstrapping = recipe.evaluation.bootstrapping
    scores = evaluate_predictions(everything, **bootstrapping)
    pooled = {key: scores[key] for key in ("metrics", "intervals", "clip_intervals")}
    settings = {"resamples": bootstrapping["bootstrap"], "confidence": bootstrapping["confidence"]}
    metrics = mean_metrics([own.metrics for own in runs.values()])
    over_clips = fold_intervals(judged, draw_folds=False, by_speaker=False, **settings)
    scores |= {
        "metrics": metrics,
        "intervals": known_intervals(fold_intervals(judged, draw_folds=True, **settings), metrics),
        "clip_intervals": known_intervals(over_clips, metrics),
        "pooled": pooled,
    }
    few = sum(bool(few_clips(_supports(own))) for own in runs.values())
    if few:
        scores["warnings"].append(
            f"In {few} of {len(folds)} folds some class has fewer than {FEW_CLIPS} clips: the intervals of UAR, "
            "macro-F1 and AUROC are biased upwards, because resamples lack such classes."
        )
    times = Counter(clip for fold in folds for clip in fold.split.ids[part])
    several = sum(count > 1 for count in times.values())
    if several:
        scores["warnings"].append(
            f"{several} of the {len(times)} {part} clips are evaluated in several folds (up to {max(times.values())}) "
            f"and count once per fold in the pooled scores: {times.total()} predictions in total."
        )
    report = _together(recipe, material, folds, folder, runs, scores, foil)
    for number, own in runs.items():
        report["protocol"]["folds"][str(number)] |= {"metrics": own.metrics, "validation": own.parts["validation"]}
    return report | _extras("fold", runs, same_clips=False) | {"chosen_fold": preferred(runs)}


def _supports(report: Report) -> dict[str, int]:
    return {name: own.support for name, own in report.per_class.items()}


def _merged(kind: str, reports: Reports, common: Sequence[str]) -> list[str]:
    """The warnings about all runs together, then those about some of them, each once with its runs. Warnings about few
    speakers or clips of single runs are left out."""
    about: dict[str, list[int]] = {}
    for number, own in reports.items():
        few = few_clips(_supports(own)) + few_speakers(own.speakers or 0)
        for warning in dict.fromkeys(own.warnings):
            if warning not in (*common, *few):
                about.setdefault(warning, []).append(number)
    return [*common] + [
        warning if len(numbers) == len(reports) else f"{kind.capitalize()} {', '.join(map(str, numbers))}: {warning}"
        for warning, numbers in about.items()
    ]


def _extras(kind: str, reports: Reports, same_clips: bool) -> dict[str, Any]:
    """Sections that all runs have: `temperatures` {number: value}, `robustness` as the mean, without intervals,
    `energy` as the sum, and `maps`, the runs with a map of embeddings.

    Args:
        same_clips: whether the runs evaluate the same clips, so that clips count once.
    """
    runs, found = list(reports.values()), {}
    if all(own.temperature for own in runs):
        found["temperatures"] = {str(number): own.temperature.value for number, own in reports.items()}
    if all(own.robustness for own in runs):
        found["robustness"] = _mean_robustness([own.robustness for own in runs], same_clips)
    if all(own.energy for own in runs):
        found["energy"] = total_energy([own.energy for own in runs]).to_dict()
    maps = [f"{kind}-{number}" for number, own in reports.items() if own.embeddings]
    return found | ({"maps": maps} if maps else {})


def total_energy(runs: Sequence[Energy]) -> Energy:
    """The sum over runs; emissions if they are known for all of them."""
    amounts = ("kwh", "processor_kwh", "accelerator_kwh", "memory_kwh", "seconds")
    total = {key: sum(getattr(own, key) for own in runs) for key in amounts}
    emissions = [own.emissions_kg for own in runs]
    total["emissions_kg"] = None if None in emissions else sum(emissions)
    return runs[0].model_copy(update=total)


def _mean_robustness(runs: Sequence[Robustness], same_clips: bool) -> dict[str, Any]:
    """The mean over runs. It has no intervals: those of the runs are not those of their mean."""

    def clips(counts: Sequence[int]) -> int:
        return counts[0] if same_clips else sum(counts)

    def mean(scores: Sequence[CleanScores], *keys: str) -> dict[str, float]:
        return {key: float(np.mean([getattr(own, key) for own in scores])) for key in ("uar", "wa", "macro_f1", *keys)}

    conditions = []
    for each in zip(*(own.conditions for own in runs), strict=True):
        described = each[0].model_dump(include={"name", "kind", "severity", "unit", "description"})
        conditions.append(described | {"changed": clips([own.changed for own in each])} | mean(each, "drop"))
    available = clips([own.settings["of_clips"] for own in runs])
    return {
        "clips": clips([own.clips for own in runs]),
        "clean": mean([own.clean for own in runs]),
        "chance": float(np.mean([own.chance for own in runs])),
        "conditions": conditions,
        "settings": runs[0].settings | {"of_clips": available, "runs": len(runs)},
    }


def preferred(reports: Reports) -> int:
    """The run with the best validation score."""
    return max(reports, key=lambda number: reports[number].validated)


def _together(
    recipe: Recipe,
    material: ExperimentData,
    folds: Sequence[Fold],
    folder: RunFolder,
    reports: Reports,
    scores: dict[str, Any],
    foil: dict | None,
) -> dict[str, Any]:
    children = list(reports.values())
    first = children[0]
    # A run that was resumed after its last epoch has no time per epoch.
    epochs = [own.seconds.per_epoch for own in children if own.seconds.per_epoch]
    return {
        **header(recipe, material, folds, folder, scores["metrics"], foil),
        **scores,
        "warnings": _merged("fold" if len(folds) > 1 else "seed", reports, scores["warnings"] + material.notes),
        "model": first.model.to_dict(),
        "training": first.training.to_dict(),
        "deviations": {
            name: float(np.std([own.metrics[name] for own in children], ddof=1))
            for name, mean in scores["metrics"].items()
            if mean is not None
        },
        "parts": {part: mean_metrics([own.parts[part] for own in children]) for part in first.parts},
        "selected_by": recipe.training.early_stopping.metric,
        "validated": max(own.validated for own in children),
        "history": [],
        "seconds": material.seconds
        | {
            "training": sum(own.seconds.training for own in children),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }
