"""Compares runs: a table row for each run, and paired tests between runs that predicted the same
clips.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..evaluation.bootstrap import FEW_SPEAKERS, holm, paired_comparison
from ..evaluation.metrics import definitions, lower_is_better
from ..evaluation.outputs import Outputs
from ..evaluation.ratings import Ratings
from ..report.report import Report
from ..utils.errors import UserError
from .comparison_page import write_comparison
from .saved_runs import find_saved_run, read_finished_report, read_predictions

FILES = ("comparison.json", "comparison.csv", "comparison.png", "comparison.svg", "index.html")


@dataclasses.dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run; classes, clips and seeds are sorted, so that runs are comparable."""

    classes: list[str]  # or dimensions
    clips: list[str]  # ids, preceded by the fold where folds share clips
    outputs: list[Outputs] | list[Ratings]  # of each seed
    speakers: list[str] | None  # None if any is unknown


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run: `source` as the user named it, and `name`, unique among the runs."""

    source: str
    name: str
    report: Report
    predictions: RunPredictions | None


def compare_runs(
    sources: Sequence[str | Path],
    *,
    metric: str | None = None,
    output: str | Path | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare runs in a table, the best by `metric` first, and test the differences of runs on the
    same clips.

    Example: `ser_hf.compare_runs(["runs/a", "runs/b"], output="comparison")["pairs"]`

    Args:
        sources: run folders, sweeps (their winner), folders of published models, Hub ids or
            report.json files.
        metric: of the order, the bar chart and the verdicts: "uar" (the default), "wa" or
            "macro_f1"; of dimensions "ccc" (the default), "pearson" or "rmse".
        output: a folder for the page, the bar chart and the tables; an earlier comparison in it is
            replaced.
        resamples, confidence, seed: of the paired bootstrap.

    Returns:
        The content of comparison.json: `metric`, `runs`, `pairs`, `warnings`, `settings`,
        `definitions`.

    Raises:
        UserError: for an unknown metric, fewer than two runs, runs of two tasks, a run named twice,
            or a source without a report.
    """
    if output is not None:
        folder = Path(output)
        others = (
            sorted({child.name for child in folder.iterdir()} - {*FILES}) if folder.is_dir() else []
        )
        if folder.is_file() or others:
            raise UserError(
                f"--output: {Path(folder, *others[:1])} is not of a comparison; choose another folder"
            )
    found = _read_runs([str(source) for source in sources])
    task = found[0].report.measured
    for run in found:
        if run.report.measured is not task:
            raise UserError(
                f"{run.source}: of task {run.report.task}, {found[0].source} of {task.name}: not comparable"
            )
    metric = metric or task.main
    if metric not in task.compared:
        raise UserError(
            f"--metric: unknown metric {metric!r}; choose one of {', '.join(task.compared)}"
        )
    runs = sorted(
        found, key=lambda run: run.report.metrics[metric], reverse=not lower_is_better(metric)
    )
    same: dict[tuple, list[SavedRun]] = {}  # runs with the same clips, labels and classes
    for run in runs:
        if own := run.predictions:
            same.setdefault((*own.classes, *own.clips, own.outputs[0].labels.tobytes()), []).append(
                run
            )
    groups = list(same.values())
    settings = {"resamples": resamples, "confidence": confidence, "seed": seed}
    rows = [_row(run) for run in runs]
    pairs = _pairs(groups, metric, settings)
    comparison = {
        "metric": metric,
        "runs": rows,
        "pairs": pairs,
        "warnings": _warnings(rows, pairs, groups),
        "settings": settings,
        "definitions": {name: definitions(task)[name] for name in task.compared},
    }
    if output is not None:
        write_comparison(comparison, Path(output))
    return comparison


def _read_runs(sources: Sequence[str]) -> list[SavedRun]:
    runs = [_read_run(source) for source in sources]
    for a, b in itertools.combinations(runs, 2):
        if a.report.metrics == b.report.metrics and a.report.seconds == b.report.seconds:
            raise UserError(f"{b.source}: the same run as {a.source}; name it once")
    if len(runs) < 2:
        raise UserError(f"{', '.join(sources) or 'RUN'}: a comparison needs two runs or more")
    names = [run.name for run in runs]
    # Runs of the same recipe are named after their folders.
    named = [run.name if names.count(run.name) == 1 else run.source.rstrip("/") for run in runs]
    return [dataclasses.replace(run, name=name) for run, name in zip(runs, named, strict=True)]


def _read_run(source: str) -> SavedRun:
    path = Path(source)
    if not path.exists():
        report = find_saved_run(source).report  # from the Hub
        return SavedRun(source, report.name, report, None)
    if (path / "sweep.json").is_file():
        path = path / "best"
    files = [path, path / "report" / "report.json", path / "report.json"]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise UserError(
            f"{source}: contains no report; name the folder of a finished run, or a report.json"
        )
    report = read_finished_report(file)
    return SavedRun(
        source,
        report.name,
        report,
        _read_predictions(file.with_name("predictions.parquet"), report),
    )


def _read_predictions(path: Path, report: Report) -> RunPredictions | None:
    """The predictions of the evaluated split; None if they are not available."""
    if not path.is_file():
        return None
    table = read_predictions(path, report)
    table = table[table["part"] == report.evaluated_split]
    table = table if "seed" in table else table.assign(seed=0)
    if "fold" in table and table.duplicated(["seed", "id"]).any():
        table = table.assign(id=table["fold"].astype(str) + "/" + table["id"])
    names = sorted(report.labels)
    seeds = []
    for _, own in table.sort_values(["seed", "id"]).groupby("seed"):
        if report.measured.problem_type:
            labels, values = (
                own[[f"{kind}_{name}" for name in names]].to_numpy(float) for kind in ("true", "p")
            )
            seeds.append((own, Ratings(labels, values)))
        else:
            codes = (
                pd.Categorical(own[column], names).codes.astype(int)
                for column in ("label", "predicted")
            )
            seeds.append((own, Outputs(*codes, len(names))))
    clips = [own["id"].tolist() for own, _ in seeds]
    if not seeds or any(ids != clips[0] for ids in clips):
        raise UserError(f"{path}: not a table of predictions of ser_hf (clips are missing)")
    first = seeds[0][0]
    speakers = None if first["speaker"].isna().any() else first["speaker"].tolist()
    return RunPredictions(names, clips[0], [outputs for _, outputs in seeds], speakers)


def _row(run: SavedRun) -> dict[str, Any]:
    """A run in the table; unknown values are None. `shared_speakers` are in the evaluated and the
    training split.
    """
    report, protocol, compared = run.report, run.report.protocol, run.report.measured.compared
    split = protocol.parts.get(report.evaluated_split)
    areas = report.robustness.areas if report.robustness else {}
    return {
        "name": run.name,
        "source": run.source,
        "part": report.evaluated_split,
        "protocol": {
            **{key: getattr(protocol, key) for key in ("name", "sha256", "leak")},
            "shared_speakers": report.audit.shared.get(f"train/{report.evaluated_split}", {}).get(
                "speakers", 0
            ),
        },
        "clips": len(run.predictions.clips) if run.predictions else split and split.clips,
        "speakers": split and len(split.speakers),
        "folds": len(protocol.folds or ()),
        "seeds": len(report.seeds or ()),
        "metrics": {metric: report.metrics[metric] for metric in compared},
        "confidence": report.confidence,
        "intervals": {
            metric: report.intervals[metric] for metric in compared if metric in report.intervals
        },
        "deviations": {
            metric: report.deviations[metric] for metric in compared if metric in report.deviations
        },
        "noise": getattr(areas["noise"], report.main) if "noise" in areas else None,
        "parameters": report.model.parameters,
        "trainable": report.model.learning,
        "seconds": report.seconds.training,
    }


def _pairs(
    groups: Sequence[Sequence[SavedRun]], metric: str, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every two runs with the same clips, with Holm's correction of the p of `metric` for all
    pairs.
    """
    pairs = []
    for runs in groups:
        if len(runs) == 1:
            continue
        first = runs[0].predictions
        sides = {run.name: run.predictions.outputs for run in runs}
        speakers = first.speakers and len(set(first.speakers))
        compared = paired_comparison(sides, first.speakers, **settings)
        for (a, b), metrics in compared.items():
            differences = {name: dataclasses.asdict(own) for name, own in metrics.items()}
            facts = {"clips": len(first.clips), "speakers": speakers, "metrics": differences}
            pairs.append({"a": a, "b": b, **facts})
    for pair, p in zip(pairs, holm([pair["metrics"][metric]["p"] for pair in pairs]), strict=True):
        higher = pair["metrics"][metric]["difference"] > 0
        better = pair["a"] if higher != lower_is_better(metric) else pair["b"]
        shown = p < 1 - settings["confidence"]
        pair |= {"p_holm": p, "verdict": f"{better} is better" if shown else "no difference shown"}
    return pairs


def _warnings(
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    groups: Sequence[Sequence[SavedRun]],
) -> list[str]:
    found = []
    if len(groups) > 1:
        named = "; ".join(", ".join(run.name for run in own) for own in groups)
        found.append(f"Only runs with the same clips, labels and classes are paired: {named}.")
    for row in rows:
        if not any(run.name == row["name"] for own in groups for run in own):
            found.append(f"{row['name']}: not paired, its predictions are missing.")
        if leak := row["protocol"]["leak"]:
            found.append(f"{row['name']}: LEAKY: {leak}")
        elif row["protocol"]["shared_speakers"] is None:
            found.append(
                f"{row['name']}: it is unknown whether these speakers are in its training split."
            )
        elif row["protocol"]["shared_speakers"]:
            found.append(f"{row['name']}: evaluated on speakers of its training split.")
    if len({row["protocol"]["sha256"] for row in rows}) > 1:
        found.append(
            "The runs have different splits (protocol, or clips in it): their figures are not comparable."
        )
    if any(row["part"] == "validation" for row in rows):
        found.append("Figures on a validation split that selected the checkpoint are too good.")
    if any(pair["speakers"] and pair["speakers"] < FEW_SPEAKERS for pair in pairs):
        found.append(
            f"Differences on fewer than {FEW_SPEAKERS} speakers: intervals and p-values are optimistic."
        )
    if pairs and not all(row["seeds"] for row in rows):
        found.append("Runs with one training: the variation between seeds is not included.")
    if pairs and any(row["folds"] for row in rows):
        found.append("Pairs pool the clips of all folds; the table has the mean over folds.")
    return found
