"""Compares runs: a table with a row for each run, and paired tests of runs on the same clips."""

import dataclasses
import itertools
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ..evaluation.bootstrap import FEW_SPEAKERS, PairedDifference, holm, paired_comparison
from ..evaluation.label_sets import LabelSets
from ..evaluation.metrics import AnyOutputs, Outputs, Ratings, definitions, lower_is_better
from ..evaluation.tasks import MULTI_LABEL, Task
from ..report.report import Report
from ..utils.errors import UserError
from .saved_runs import find_saved_run, read_finished_report, read_predictions

# The files of a comparison in its folder.
FILES = (
    "comparison.json",
    "comparison.csv",
    "comparison.png",
    "comparison.svg",
    "comparison.pdf",
    "index.html",
)


@dataclasses.dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run; classes, clips and seeds are sorted, so that runs are comparable.

    Args:
        classes: names of the classes or dimensions.
        clips: ids of the clips; they start with the fold number if several folds have a clip.
        outputs: labels and predictions for each seed.
        speakers: speaker of each clip; None if any speaker is unknown.
    """

    classes: list[str]
    clips: list[str]
    outputs: list[AnyOutputs]
    speakers: list[str] | None


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run; `source` is the user's name for it, `name` is unique among the runs."""

    source: str
    name: str
    report: Report
    predictions: RunPredictions | None


@dataclasses.dataclass(frozen=True)
class ComparedProtocol:
    """The protocol of a run.

    Args:
        shared_speakers: number of speakers that are in both the evaluated and the training split;
            None if unknown.
    """

    name: str | None
    sha256: str | None
    leak: str | None
    shared_speakers: int | None


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """A row of the table: one run; unknown values are None.

    Args:
        part: the evaluated split.
        noise: the mean of the main metric over the degrees of noise.
        seconds: duration of the training.
    """

    name: str
    source: str
    part: str
    protocol: ComparedProtocol
    clips: int | None
    speakers: int | None
    folds: int
    seeds: int
    metrics: dict[str, float]
    confidence: float
    intervals: dict[str, list[float] | None]
    deviations: dict[str, float | None]
    noise: float | None
    parameters: int | None
    trainable: int | None
    seconds: float | None

    @property
    def is_leaky(self) -> bool:
        """Whether speakers of the training split are in the evaluated split too."""
        return bool(self.protocol.leak or self.protocol.shared_speakers)


@dataclasses.dataclass(frozen=True)
class ComparedPair:
    """A paired test of two runs `a` and `b` on the same clips.

    Args:
        speakers: number of speakers; None if any speaker is unknown.
        p_holm: p-value of the compared metric, after Holm's correction for all pairs.
    """

    a: str
    b: str
    clips: int
    speakers: int | None
    metrics: dict[str, PairedDifference]
    p_holm: float
    verdict: str


@dataclasses.dataclass(frozen=True)
class BootstrapSettings:
    """Settings of the paired bootstrap that tests differences."""

    resamples: int
    confidence: float
    seed: int


@dataclasses.dataclass(frozen=True)
class PublishedResults:
    """Results that others published under the protocol of one of the runs.

    Args:
        runs: names of the runs under this protocol.
        figures: {system: {metric: score}}.
        figures_source: address of the figures.
    """

    protocol: str
    runs: list[str]
    figures: dict[str, dict[str, float]]
    figures_source: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The content of comparison.json: the best run by `metric` comes first."""

    metric: str
    runs: list[ComparedRun]
    pairs: list[ComparedPair]
    warnings: list[str]
    settings: BootstrapSettings
    definitions: dict[str, str]
    published: list[PublishedResults] = dataclasses.field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as comparison.json has it."""
        return dataclasses.asdict(self)


def compare_runs(
    sources: Sequence[str | Path],
    *,
    metric: str | None = None,
    output: str | Path | None = None,
    pictures: Literal["pdf"] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare runs in a table, the best by `metric` first, and test the differences.

    Runs on the same clips are tested in pairs.
    Example: `ser_hf.compare_runs(["runs/a", "runs/b"], output="comparison").pairs`

    Args:
        sources: run folders, sweeps (their winner), folders of published models, Hub ids or
            report.json files.
        metric: the metric for the order, the bar chart and the verdicts: "uar" (the default), "wa"
            or "macro_f1"; for dimensions "ccc" (the default), "pearson" or "rmse".
        output: a folder for the page, the bar chart and the tables; an earlier comparison in the
            folder is replaced.
        pictures: ``pdf`` also writes the bar chart as PDF, as wide as a column of a paper.
        resamples, confidence, seed: settings of the paired bootstrap.

    Raises:
        UserError: for an unknown metric, fewer than two runs, runs of two tasks, a run that is
            named twice, or a source without a report.
    """
    if output is not None:
        check_output(Path(output), FILES, "a comparison")
    runs = _read_runs([str(source) for source in sources])
    task = _common_task(runs)
    metric = metric or task.main
    if metric not in task.compared:
        raise UserError(
            f"--metric: unknown metric {metric!r}; choose one of {', '.join(task.compared)}"
        )
    runs.sort(key=lambda run: run.report.metrics[metric], reverse=not lower_is_better(metric))

    settings = BootstrapSettings(resamples, confidence, seed)
    groups = runs_on_same_clips(runs)
    rows = [compared_run(run) for run in runs]
    pairs = paired_tests(groups, metric, settings)
    comparison = Comparison(
        metric=metric,
        runs=rows,
        pairs=pairs,
        warnings=_warnings(rows, pairs, groups),
        settings=settings,
        definitions={name: definitions(task)[name] for name in task.compared},
        published=_published(runs),
    )
    if output is not None:
        from .comparison_page import write_comparison

        write_comparison(comparison, Path(output), pictures)
    return comparison


def _published(runs: Sequence[SavedRun]) -> list[PublishedResults]:
    """The published results under the protocols of the runs, one entry for each protocol."""
    results: dict[str, PublishedResults] = {}
    for run in runs:
        section = run.report.protocol.published
        if section is None:
            continue
        figures = {figure.system: figure.metrics for figure in section.figures}
        entry = PublishedResults(
            protocol=section.protocol,
            runs=[],
            figures=figures,
            figures_source=section.figures_source,
        )
        results.setdefault(section.protocol, entry).runs.append(run.name)
    return list(results.values())


def check_output(folder: Path, files: Sequence[str], content: str) -> None:
    """Refuse a folder with other files than `files`, because it will be replaced.

    Args:
        files: names, or patterns of names.
        content: what the folder may contain, for the message.

    Raises:
        UserError: naming the first other file.
    """
    other_files = []
    if folder.is_dir():
        names = sorted(child.name for child in folder.iterdir())
        other_files = [name for name in names if not any(fnmatch(name, file) for file in files)]
    if folder.is_file() or other_files:
        first = folder / other_files[0] if other_files else folder
        raise UserError(f"--output: {first} is not of {content}; choose another folder")


def _read_runs(sources: Sequence[str]) -> list[SavedRun]:
    """Read two or more runs, and give each a unique name."""
    runs = [read_run(source) for source in sources]
    for a, b in itertools.combinations(runs, 2):
        if a.report.metrics == b.report.metrics and a.report.seconds == b.report.seconds:
            raise UserError(f"{b.source}: the same run as {a.source}; name it once")
    if len(runs) < 2:
        raise UserError(f"{', '.join(sources) or 'RUN'}: a comparison needs two runs or more")
    # Runs of the same recipe have the same name, so they are named after their folders instead.
    names = [run.name for run in runs]
    named_runs = []
    for run in runs:
        name = run.name if names.count(run.name) == 1 else run.source.rstrip("/")
        named_runs.append(dataclasses.replace(run, name=name))
    return named_runs


def read_run(source: str) -> SavedRun:
    """Read a run from its folder, a sweep, a report.json, or the Hub."""
    path = Path(source)
    if not path.exists():
        report = find_saved_run(source).report  # from the Hub
        return SavedRun(source, report.name, report, predictions=None)
    if (path / "sweep.json").is_file():
        path = path / "best"
    for file in (path, path / "report" / "report.json", path / "report.json"):
        if file.is_file():
            report = read_finished_report(file)
            predictions = _read_predictions(file.with_name("predictions.parquet"), report)
            return SavedRun(source, report.name, report, predictions)
    raise UserError(
        f"{source}: contains no report; name the folder of a finished run, or a report.json"
    )


def _read_predictions(path: Path, report: Report) -> RunPredictions | None:
    """The predictions of the evaluated split; None if they are not available."""
    if not path.is_file():
        return None
    table = read_predictions(path, report)
    table = table[table["part"] == report.evaluated_split]
    if "seed" not in table:
        table = table.assign(seed=0)
    if "fold" in table and table.duplicated(["seed", "id"]).any():
        table = table.assign(id=table["fold"].astype(str) + "/" + table["id"])
    names = sorted(report.labels)
    seeds = [rows for _, rows in table.sort_values(["seed", "id"]).groupby("seed")]
    clips = [rows["id"].tolist() for rows in seeds]
    if not seeds or any(ids != clips[0] for ids in clips):
        raise UserError(f"{path}: not a table of predictions of ser_hf (clips are missing)")
    speakers = seeds[0]["speaker"]
    return RunPredictions(
        classes=names,
        clips=clips[0],
        outputs=[_outputs(rows, names, report.measured) for rows in seeds],
        speakers=None if speakers.isna().any() else speakers.tolist(),
    )


def _outputs(table: pd.DataFrame, names: Sequence[str], task: Task) -> AnyOutputs:
    """The labels and predictions of one seed."""
    if not task.one_label:
        targets = table[[f"true_{name}" for name in names]].to_numpy()
        values = table[[f"p_{name}" for name in names]].to_numpy(float)
        if task is MULTI_LABEL:
            return LabelSets(targets.astype(bool), values, table["threshold"].to_numpy())
        return Ratings(targets.astype(float), values)
    labels = pd.Categorical(table["label"], names).codes.astype(int)
    predicted = pd.Categorical(table["predicted"], names).codes.astype(int)
    return Outputs(labels, predicted, len(names))


def _common_task(runs: Sequence[SavedRun]) -> Task:
    """The task of all runs; a `UserError` if tasks differ."""
    task = runs[0].report.measured
    for run in runs:
        if run.report.measured is not task:
            raise UserError(
                f"{run.source}: of task {run.report.task}, {runs[0].source} of {task.name}: "
                "not comparable"
            )
    return task


def runs_on_same_clips(runs: Sequence[SavedRun]) -> list[list[SavedRun]]:
    """Group the runs that have the same clips, labels and classes.

    Runs without predictions are in no group.
    """
    groups: dict[tuple, list[SavedRun]] = {}
    for run in runs:
        predictions = run.predictions
        if predictions is not None:
            labels = predictions.outputs[0].labels.tobytes()
            key = (tuple(predictions.classes), tuple(predictions.clips), labels)
            groups.setdefault(key, []).append(run)
    return list(groups.values())


def compared_run(run: SavedRun) -> ComparedRun:
    """The row of a run in the table."""
    report = run.report
    protocol = report.protocol
    evaluated = report.evaluated_split
    compared = report.measured.compared
    split = protocol.parts.get(evaluated)
    shared = report.audit.shared.get(f"train/{evaluated}", {})
    clips = None if split is None else split.clips
    if run.predictions is not None:
        clips = len(run.predictions.clips)
    noise = None
    if report.robustness and "noise" in report.robustness.areas:
        noise = getattr(report.robustness.areas["noise"], report.main)
    return ComparedRun(
        name=run.name,
        source=run.source,
        part=evaluated,
        protocol=ComparedProtocol(
            name=protocol.name,
            sha256=protocol.sha256,
            leak=protocol.leak,
            shared_speakers=shared.get("speakers", 0),
        ),
        clips=clips,
        speakers=None if split is None else len(split.speakers),
        folds=len(protocol.folds or ()),
        seeds=len(report.seeds or ()),
        metrics={name: report.metrics[name] for name in compared},
        confidence=report.confidence,
        intervals={name: report.intervals[name] for name in compared if name in report.intervals},
        deviations={
            name: report.deviations[name] for name in compared if name in report.deviations
        },
        noise=noise,
        parameters=report.model.parameters,
        trainable=report.model.learning,
        seconds=report.seconds.training,
    )


def paired_tests(
    groups: Sequence[Sequence[SavedRun]], metric: str, settings: BootstrapSettings
) -> list[ComparedPair]:
    """Test every two runs on the same clips; p-values of `metric` are corrected (Holm 1979)."""
    pairs = []
    for runs in groups:
        if len(runs) == 1:
            continue
        predictions = runs[0].predictions
        speakers = predictions.speakers
        compared = paired_comparison(
            {run.name: run.predictions.outputs for run in runs},
            speakers,
            resamples=settings.resamples,
            confidence=settings.confidence,
            seed=settings.seed,
        )
        for (a, b), metrics in compared.items():
            pairs.append(
                ComparedPair(
                    a=a,
                    b=b,
                    clips=len(predictions.clips),
                    speakers=None if speakers is None else len(set(speakers)),
                    metrics=metrics,
                    p_holm=metrics[metric].p,
                    verdict="",
                )
            )
    corrected = holm([pair.p_holm for pair in pairs])
    return [
        dataclasses.replace(pair, p_holm=p, verdict=_verdict(pair, metric, p, settings.confidence))
        for pair, p in zip(pairs, corrected, strict=True)
    ]


def _verdict(pair: ComparedPair, metric: str, p: float, confidence: float) -> str:
    """The result of a paired test, in words."""
    if p >= 1 - confidence:
        return "no difference shown"
    a_is_higher = pair.metrics[metric].difference > 0
    better = pair.a if a_is_higher != lower_is_better(metric) else pair.b
    return f"{better} is better"


def _warnings(
    rows: Sequence[ComparedRun],
    pairs: Sequence[ComparedPair],
    groups: Sequence[Sequence[SavedRun]],
) -> list[str]:
    """All warnings about a comparison, as sentences."""
    return [
        *_warnings_about_groups(groups),
        *_warnings_about_runs(rows, groups),
        *_warnings_about_pairs(rows, pairs),
    ]


def _warnings_about_groups(groups: Sequence[Sequence[SavedRun]]) -> list[str]:
    """A warning if not all runs have the same clips."""
    if len(groups) < 2:
        return []
    names = "; ".join(", ".join(run.name for run in runs) for runs in groups)
    return [f"Only runs with the same clips, labels and classes are paired: {names}."]


def _warnings_about_runs(
    rows: Sequence[ComparedRun], groups: Sequence[Sequence[SavedRun]]
) -> list[str]:
    """Warnings about missing predictions, leaks and splits."""
    with_predictions = {run.name for runs in groups for run in runs}
    warnings = []
    for row in rows:
        if row.name not in with_predictions:
            warnings.append(f"{row.name}: not paired, its predictions are missing.")
        if row.protocol.leak:
            warnings.append(f"{row.name}: LEAKY: {row.protocol.leak}")
        elif row.protocol.shared_speakers is None:
            warnings.append(
                f"{row.name}: it is unknown whether these speakers are in its training split."
            )
        elif row.protocol.shared_speakers:
            warnings.append(f"{row.name}: evaluated on speakers of its training split.")
    if len({row.protocol.sha256 for row in rows}) > 1:
        warnings.append(
            "The runs have different splits (protocol, or clips in it): their figures are not "
            "comparable."
        )
    if any(row.part == "validation" for row in rows):
        warnings.append("Figures on a validation split that selected the checkpoint are too good.")
    return warnings


def _warnings_about_pairs(rows: Sequence[ComparedRun], pairs: Sequence[ComparedPair]) -> list[str]:
    """Warnings about sources of variation that the paired tests do not cover."""
    warnings = []
    if any(pair.speakers and pair.speakers < FEW_SPEAKERS for pair in pairs):
        warnings.append(
            f"Differences on fewer than {FEW_SPEAKERS} speakers: intervals and p-values are "
            "optimistic."
        )
    if pairs and not all(row.seeds for row in rows):
        warnings.append("Runs with one training: the variation between seeds is not included.")
    if pairs and any(row.folds for row in rows):
        warnings.append("Pairs pool the clips of all folds; the table has the mean over folds.")
    return warnings
