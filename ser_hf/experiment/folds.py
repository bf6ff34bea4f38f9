"""The report over folds or seeds, from the reports of each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.bootstrap import fold_intervals
from ..evaluation.metrics import mean_metrics, transductive_note
from ..evaluation.predictions import from_table
from ..evaluation.summary import (
    evaluate_predictions,
    few_clips,
    few_speakers,
    known_intervals,
    without_details,
)
from ..report.report import Report
from ..utils.run_folder import RunFolder
from .context import RunContext
from .sections import merged_notes, report_header

Reports = Mapping[int, Report]


def aggregate(run: RunContext, reports: Reports, table: pa.Table) -> Report:
    """The report over folds or seeds: metrics are their mean, with the intervals of that mean.

    Over folds, `pooled`, per_class, confusion and slices are those of the predictions of all folds
    together; a clip that several folds evaluate counts once per fold.

    Args:
        reports: of each fold or seed, by number.
        table: predictions of all of them (`read_child_predictions`).
    """
    kind = "fold" if len(run.folds) > 1 else "seed"
    recipe = run.recipe
    children = list(reports.values())
    predictions = from_table(table, recipe.evaluation.part, run.data.labels)
    scores = evaluate_predictions(predictions, **recipe.evaluation.bootstrapping)
    if kind == "fold":
        scores |= _over_folds(run, reports, table, scores)
    fields = report_header(run, scores["metrics"]) | scores
    runs = {
        str(n): {"metrics": own.metrics, "validation": own.parts["validation"]}
        for n, own in reports.items()
    }
    if kind == "fold":
        folds = fields["protocol"]["folds"]
        fields["protocol"]["folds"] = {number: folds[number] | own for number, own in runs.items()}
    else:
        fields["seeds"] = runs
    common = scores["warnings"] + run.data.notes
    if recipe.evaluation.per_speaker:
        fields["transductive"] = mean_metrics([own.transductive for own in children])
        common.append(transductive_note(fields["transductive"]))
    if all(own.temperature for own in children):
        fields["temperatures"] = {
            str(number): own.temperature.value for number, own in reports.items()
        }
    if all(own.robustness for own in children):
        fields["robustness"] = _mean([own.robustness.to_dict() for own in children]) | {
            "clips": scores["clips"]
        }
    # A run that was resumed after its last epoch has no time per epoch.
    epochs = [own.seconds.per_epoch for own in children if own.seconds.per_epoch]
    chosen = max(reports, key=lambda number: reports[number].validated)
    fields |= {
        "model": children[0].model,
        "training": children[0].training,
        "warnings": merged_warnings(kind, reports, common),
        "deviations": {
            name: float(np.std([own.metrics[name] for own in children], ddof=1))
            for name, mean in scores["metrics"].items()
            if mean is not None
        },
        "parts": {
            name: mean_metrics([own.parts[name] for own in children]) for name in children[0].parts
        },
        "selected_by": recipe.training.early_stopping.metric,
        "validated": reports[chosen].validated,
        f"chosen_{kind}": chosen,
        "history": [],
        "seconds": run.data.seconds
        | {
            "training": sum(own.seconds.training for own in children),
            "per_epoch": float(np.mean(epochs)) if epochs else None,
        },
    }
    return Report(**fields)


def _mean(values: Sequence[Any]) -> Any:
    """The mean of nested values: numbers are averaged, others are the first; intervals of single
    runs are left out.
    """
    first = values[0]
    if isinstance(first, dict):
        left_out = ("interval", "drop_interval", "changed")
        return {key: _mean([own[key] for own in values]) for key in first if key not in left_out}
    if isinstance(first, list):
        return [_mean(each) for each in zip(*values, strict=True)]
    return float(np.mean(values)) if isinstance(first, float) and len(set(values)) > 1 else first


def read_child_predictions(folder: RunFolder, kind: str, numbers: Sequence[int]) -> pa.Table:
    """The predictions of every `kind`-N below `folder` in one table, with N in a column `kind`."""
    tables = [
        pq.read_table(folder.child(f"{kind}-{number}").report / "predictions.parquet")
        for number in numbers
    ]
    return pa.concat_tables(
        table.append_column(kind, pa.array([number] * len(table)))
        for table, number in zip(tables, numbers, strict=True)
    )


def _over_folds(
    run: RunContext, reports: Reports, table: pa.Table, pooled: Mapping[str, Any]
) -> dict[str, Any]:
    settings = run.recipe.evaluation
    own = [table.filter(pa.compute.equal(table["fold"], number)) for number in reports]
    predictions = [from_table(one, settings.part, run.data.labels) for one in own]
    metrics = mean_metrics([own.metrics for own in reports.values()])
    drawn = {"resamples": settings.bootstrap, "confidence": settings.confidence}
    over_clips = fold_intervals(predictions, draw_folds=False, by_speaker=False, **drawn)
    return {
        "metrics": metrics,
        "intervals": known_intervals(
            fold_intervals(predictions, draw_folds=True, **drawn), metrics
        ),
        "clip_intervals": known_intervals(over_clips, metrics),
        "pooled": {key: pooled[key] for key in ("metrics", "intervals", "clip_intervals")},
    }


def merged_warnings(kind: str, reports: Reports, common: Sequence[str]) -> list[str]:
    """The warnings that all runs share, then others with the numbers of their runs. Warnings about
    few speakers or clips are left out."""
    about = {}
    for number, own in reports.items():
        supports = {name: one.support for name, one in own.per_class.items()}
        left_out = [*common, *few_clips(supports), *few_speakers(own.speakers or 0)]
        left_out += [transductive_note(own.transductive)] if own.transductive else []
        about[number] = [
            without_details(warning) for warning in own.warnings if warning not in left_out
        ]
    return [*common, *merged_notes(kind, about)]
