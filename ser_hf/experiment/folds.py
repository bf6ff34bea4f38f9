"""Divides a run into folds and seeds, and aggregates their reports."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.abstention import aggregated_abstention
from ..evaluation.adaptation import mean_adaptation
from ..evaluation.degenerate import without_details
from ..evaluation.maps import mean_map
from ..evaluation.metrics import mean_metrics, transductive_note
from ..evaluation.new_speakers import (
    is_about_speakers,
    is_near_chance,
    speaker_scores,
    speaker_warnings,
)
from ..evaluation.predictions import Predictions, from_table, values_of_runs
from ..evaluation.robustness import mean_robustness
from ..evaluation.sections import Abstention, NewSpeaker
from ..evaluation.summary import evaluate_folds, evaluate_predictions, few_clips, few_speakers
from ..report.report import Report
from ..report.sections import Protocol, Run, Seconds
from ..utils.run_folder import RunFolder
from .context import RunContext
from .sections import extended, foil_section, merged_notes, report_header

Reports = Mapping[int, Report]


def is_single(run: RunContext) -> bool:
    """Whether the run has one fold and one seed, so that it is one training."""
    return len(run.folds) == 1 and len(run.recipe.training.seeds) == 1


def kind_of_children(run: RunContext) -> str:
    """The kind of the subfolders of a run with several trainings: "fold" or "seed"."""
    return "fold" if len(run.folds) > 1 else "seed"


def child_runs(run: RunContext) -> dict[int, RunContext]:
    """The run of each fold, by number; if the run has one fold, the run of each seed.

    The run of a fold with several seeds has child runs too. The foil is compared only with the
    whole run.
    """
    recipe = run.recipe
    protocol = recipe.protocol.replace(foil=None)
    children = {}
    if len(run.folds) > 1:
        for fold in run.folds:
            fold_recipe = recipe.replace(protocol=protocol.replace(folds=[fold.number]))
            children[fold.number] = run.child(f"fold-{fold.number}", fold_recipe, [fold], run.watch)
    else:
        for seed in recipe.training.seeds:
            training = recipe.training.replace(seeds=[seed])
            seed_recipe = recipe.replace(protocol=protocol, training=training)
            children[seed] = run.child(f"seed-{seed}", seed_recipe, run.folds, run.watch)
    return children


def read_child_predictions(folder: RunFolder, kind: str, numbers: Iterable[int]) -> pa.Table:
    """Read the predictions of all folds or seeds of a run into one table.

    A new column, "fold" or "seed" (`kind`), has the number.
    """
    tables = []
    for number in numbers:
        child = folder.child(f"{kind}-{number}")
        table = pq.read_table(child.report / "predictions.parquet")
        tables.append(table.append_column(kind, pa.array([number] * len(table))))
    return pa.concat_tables(tables)


def aggregate(run: RunContext, reports: Reports, table: pa.Table) -> Report:
    """Make the report of a run from those of its folds or seeds.

    Metrics are the means over folds or seeds, with the intervals of these means. For folds,
    `pooled`, per_class, confusion and slices are computed from the predictions of all folds
    together; a clip that several folds evaluate counts once per fold.

    Args:
        reports: the report of each fold or seed, by number.
        table: the predictions of all folds or seeds, from `read_child_predictions`.
    """
    kind = kind_of_children(run)
    recipe = run.recipe
    children = list(reports.values())
    predictions = _predictions(run, table)
    evaluation = recipe.evaluation
    results = evaluate_predictions(
        predictions, bootstrap=evaluation.bootstrap, confidence=evaluation.confidence
    )
    if kind == "fold":
        results = evaluate_folds(
            results,
            _predictions_of_folds(run, reports, table),
            [child.metrics for child in children],
            bootstrap=evaluation.bootstrap,
            confidence=evaluation.confidence,
        )
    common_warnings = [*results.warnings, *run.data.notes]
    transductive = None
    if recipe.evaluation.per_speaker:
        transductive = mean_metrics([child.transductive for child in children])
        common_warnings.append(transductive_note(transductive))
    new_speaker = None
    if not any(fold.split.leak for fold in run.folds):
        evaluated = speaker_scores(predictions, f"{recipe.evaluation.part} speakers")
        common_warnings += speaker_warnings(evaluated)
        if evaluated is not None:
            new_speaker = NewSpeaker(evaluated=evaluated)
    common_warnings += _folds_near_chance(kind, reports)
    warnings = merged_warnings(kind, reports, common_warnings)

    header = report_header(run)
    header = header.model_copy(
        update={
            "foil": foil_section(results.metrics, run.foil),
            "model": children[0].model,
        }
    )
    chosen = max(reports, key=lambda number: reports[number].validated)
    report = Report(
        **header.filled(),
        **results.model_copy(update={"warnings": warnings}).filled(),
        training=children[0].training,
        deviations=_deviations(children, results.metrics),
        parts={
            split: mean_metrics([child.parts[split] for child in children])
            for split in children[0].parts
        },
        selected_by=recipe.training.early_stopping.metric,
        validated=reports[chosen].validated,
        history=[],
        seconds=_seconds(run, children),
    )
    if kind == "fold":
        protocol = _with_results(report.protocol, reports)
        report = extended(report, protocol=protocol, chosen_fold=chosen)
    else:
        report = extended(report, seeds=_seed_sections(reports), chosen_seed=chosen)
    if transductive is not None:
        report = extended(report, transductive=transductive)
    if new_speaker is not None:
        report = extended(report, new_speaker=new_speaker)
    if run.curve is not None:
        report = extended(report, learning_curve=run.curve)
    if all(child.abstention for child in children):
        abstention = _abstention(run, reports, table, predictions)
        report = extended(report, abstention=abstention)
    return _with_optional_sections(report, reports)


def _abstention(
    run: RunContext, reports: Reports, table: pa.Table, predictions: Predictions
) -> Abstention:
    """The report's `abstention` over folds or seeds, each with its threshold."""
    evaluation = run.recipe.evaluation
    columns = [kind_of_children(run)]
    if columns == ["fold"] and "seed" in table.column_names:
        columns.append("seed")
    if run.task.has_classes and run.data.dimensions:
        table = table.filter(pa.compute.is_valid(table["label"]))
    numbers = values_of_runs(table, evaluation.part, columns)
    return aggregated_abstention(
        predictions,
        _thresholds(reports),
        numbers,
        evaluation.error,
        bootstrap=evaluation.bootstrap,
        confidence=evaluation.confidence,
    )


def _thresholds(reports: Reports) -> dict[str, float | None]:
    """The threshold of each fold or seed, by number; of the seeds of folds by `fold/seed`."""
    thresholds: dict[str, float | None] = {}
    for number, child in reports.items():
        if child.abstention.thresholds is None:
            thresholds[str(number)] = child.abstention.threshold
            continue
        for seed, threshold in child.abstention.thresholds.items():
            thresholds[f"{number}/{seed}"] = threshold
    return thresholds


def _with_optional_sections(report: Report, reports: Reports) -> Report:
    """Add sections to the report that all folds or seeds have.

    They are temperatures, thresholds of labels, robustness and the silhouettes of embeddings.
    """
    children = list(reports.values())
    if all(child.temperature for child in children):
        temperatures = {str(n): child.temperature.value for n, child in reports.items()}
        report = extended(report, temperatures=temperatures)
    if all(child.label_threshold for child in children):
        thresholds = {str(n): child.label_threshold.value for n, child in reports.items()}
        report = extended(report, label_thresholds=thresholds)
    if all(child.adaptation for child in children):
        adaptation = mean_adaptation([child.adaptation for child in children])
        report = extended(report, adaptation=adaptation)
    if all(child.robustness for child in children):
        robustness = mean_robustness([child.robustness for child in children], report.clips)
        report = extended(report, robustness=robustness)
    if all(child.embeddings for child in children):
        embeddings = mean_map([child.embeddings for child in children], report.clips)
        report = extended(report, embeddings=embeddings)
    return report


def _folds_near_chance(kind: str, reports: Reports) -> list[str]:
    """A warning that names the folds near chance that have several speakers.

    Folds of a single speaker are named as speakers.
    """
    near = []
    for number, report in reports.items():
        uar = report.metrics.get("uar")
        if kind == "fold" and uar is not None and (report.speakers or 0) > 1:
            if is_near_chance(uar, len(report.labels)):
                near.append(f"fold {number} ({uar:.3f})")
    if not near:
        return []
    return [
        f"Near chance, {1 / len(next(iter(reports.values())).labels):.3f}: {', '.join(near)}; the "
        "mean over folds hides it."
    ]


def _predictions_of_folds(
    run: RunContext, numbers: Iterable[int], table: pa.Table
) -> list[Predictions]:
    """The predictions of each fold for its evaluated split."""
    predictions = []
    for number in numbers:
        fold_table = table.filter(pa.compute.equal(table["fold"], number))
        predictions.append(_predictions(run, fold_table))
    return predictions


def _predictions(run: RunContext, table: pa.Table) -> Predictions:
    """The predictions of a table for the evaluated split."""
    dimensions = run.data.dimensions if run.task.has_classes else ()
    return from_table(table, run.recipe.evaluation.part, run.data.labels, dimensions)


def _with_results(protocol: Protocol, reports: Reports) -> Protocol:
    """The report's `protocol` with the results of each fold."""
    folds = {}
    for number, report in reports.items():
        results = {"metrics": report.metrics, "validation": report.parts["validation"]}
        folds[str(number)] = protocol.folds[str(number)].model_copy(update=results)
    return protocol.model_copy(update={"folds": folds})


def _seed_sections(reports: Reports) -> dict[str, Run]:
    """The report's `seeds`: the results of each seed."""
    return {
        str(seed): Run(metrics=report.metrics, validation=report.parts["validation"])
        for seed, report in reports.items()
    }


def _deviations(children: Sequence[Report], means: Mapping[str, float | None]) -> dict[str, float]:
    """The standard deviation (n - 1) of each metric over the folds or seeds.

    A metric that some of them do not have is left out.
    """
    deviations = {}
    for name, mean in means.items():
        if mean is not None:
            values = [child.metrics[name] for child in children]
            deviations[name] = float(np.std(values, ddof=1))
    return deviations


def _seconds(run: RunContext, children: Sequence[Report]) -> Seconds:
    """The report's `seconds`: the sum of the training times, and the mean time of an epoch."""
    # A run that was resumed after its last epoch has no time per epoch.
    epochs = [child.seconds.per_epoch for child in children if child.seconds.per_epoch]
    return Seconds(
        preparation=run.data.preparation_seconds,
        training=sum(child.seconds.training for child in children),
        per_epoch=float(np.mean(epochs)) if epochs else None,
    )


def merged_warnings(kind: str, reports: Reports, common: Sequence[str]) -> list[str]:
    """Merge the warnings of folds or seeds: first those about all predictions, then the others.

    Each of the others starts with the numbers of its folds or seeds, unless all have it. Warnings
    about few speakers or few clips in a single fold or seed are left out, and those that name
    speakers of a single fold, because the report describes all predictions together.

    Args:
        kind: "fold" or "seed".
        reports: the report of each fold or seed, by number.
        common: warnings about all predictions together.
    """
    warnings_of_run = {}
    for number, report in reports.items():
        supports = {name: scores.support for name, scores in report.per_class.items()}
        left_out = [*common, *few_clips(supports), *few_speakers(report.speakers or 0)]
        if report.transductive:
            left_out.append(transductive_note(report.transductive))
        warnings_of_run[number] = [
            without_details(warning)
            for warning in report.warnings
            if warning not in left_out and not (kind == "fold" and is_about_speakers(warning))
        ]
    return [*common, *merged_notes(kind, warnings_of_run)]
