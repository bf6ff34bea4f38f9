"""The report over folds or seeds, from the reports of each of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.metrics import mean_metrics, transductive_note
from ..evaluation.predictions import from_table
from ..evaluation.robustness import mean_robustness
from ..evaluation.summary import (
    evaluate_folds,
    evaluate_predictions,
    few_clips,
    few_speakers,
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
    results = evaluate_predictions(predictions, **recipe.evaluation.bootstrapping)
    if kind == "fold":
        of_folds = [
            from_table(
                table.filter(pa.compute.equal(table["fold"], number)),
                recipe.evaluation.part,
                run.data.labels,
            )
            for number in reports
        ]
        measured = [report.metrics for report in reports.values()]
        results = evaluate_folds(results, of_folds, measured, **recipe.evaluation.bootstrapping)
    fields = report_header(run, results.metrics) | results.filled()
    runs = {
        str(n): {"metrics": own.metrics, "validation": own.parts["validation"]}
        for n, own in reports.items()
    }
    if kind == "fold":
        folds = fields["protocol"]["folds"]
        fields["protocol"]["folds"] = {number: folds[number] | own for number, own in runs.items()}
    else:
        fields["seeds"] = runs
    common = results.warnings + run.data.notes
    if recipe.evaluation.per_speaker:
        fields["transductive"] = mean_metrics([own.transductive for own in children])
        common.append(transductive_note(fields["transductive"]))
    if all(own.temperature for own in children):
        fields["temperatures"] = {
            str(number): own.temperature.value for number, own in reports.items()
        }
    if all(own.robustness for own in children):
        fields["robustness"] = mean_robustness([own.robustness for own in children], results.clips)
    # A run that was resumed after its last epoch has no time per epoch.
    epochs = [own.seconds.per_epoch for own in children if own.seconds.per_epoch]
    chosen = max(reports, key=lambda number: reports[number].validated)
    fields |= {
        "model": children[0].model,
        "training": children[0].training,
        "warnings": merged_warnings(kind, reports, common),
        "deviations": {
            name: float(np.std([own.metrics[name] for own in children], ddof=1))
            for name, mean in results.metrics.items()
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
