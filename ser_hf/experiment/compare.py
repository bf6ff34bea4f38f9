"""Compares runs: a table row for each run, and paired tests between runs that predicted the same
clips.
"""

import dataclasses
import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.bootstrap import FEW_SPEAKERS, holm, paired_comparison
from ..evaluation.metrics import NAMES, Outputs, Ratings, definitions, lower_is_better
from ..report.page import picture, template
from ..report.plots import COLORS, save_figure, svg
from ..report.report import Report
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .reproduce import find_saved_run, read_finished_report, read_predictions

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
        _write_files(comparison, Path(output))
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
            facts = {"clips": len(first.clips), "speakers": speakers, "metrics": metrics}
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


def _write_files(comparison: Mapping[str, Any], folder: Path) -> None:
    with atomic_folder(folder, "--output") as partial:
        figure, narrow = (
            bar_chart(comparison["runs"], comparison["metric"], width) for width in (8.5, 3.7)
        )
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        (partial / "comparison.csv").write_text(_csv(comparison), encoding="utf-8")
        write_json(partial / "comparison.json", comparison)
        metric = comparison["metric"]
        figures = ", ".join(
            f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"]
        )
        alt = f"Bar chart of {NAMES[metric]} with intervals, the best first: {figures}."
        page = template(__package__, "compare.html").render(
            **comparison,
            version=__version__,
            names=NAMES,
            tables=[table.to_dict("records") for table in tables(comparison)],
            picture=picture(alt, svg(figure), figure.get_size_inches()),
            narrow=picture(alt, svg(narrow), narrow.get_size_inches()),
        )
        (partial / "index.html").write_text(page, encoding="utf-8")


def bar_chart(rows: Sequence[Mapping[str, Any]], metric: str, width: float = 8.5) -> Figure:
    """A bar for each run with its interval, below its name; runs evaluated on training speakers are
    hatched.

    `width` is in inches; of a name that is longer than the figure the end is shown.
    """
    figure = Figure(figsize=(width, 1 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        leaky = _leaky(row)
        low, high = row["intervals"].get(metric) or (value, value)
        error = [[max(0, value - low)], [max(0, high - value)]]
        axes.barh(
            place,
            value,
            0.45,
            xerr=error,
            capsize=3,
            color=COLORS[leaky],
            hatch="//" if leaky else "",
        )
        axes.text(max(value, high) + 0.012, place, f"{value:.3f}", va="center", fontsize=9)
        room = int(12 * width)  # letters
        name = row["name"] if len(row["name"]) <= room else f"…{row['name'][1 - room :]}"
        # A dollar sign in a name is no formula.
        axes.text(0.01, place - 0.3, name, va="bottom", fontsize=9, parse_math=False)
    hatched = "; hatched: evaluated on training speakers" if any(map(_leaky, rows)) else ""
    label = textwrap.fill(f"{NAMES[metric]} (lines: intervals{hatched})", int(12 * width))
    axes.set(
        xlim=(min(0, axes.get_xlim()[0]), 1.1),
        xlabel=label,
        yticks=[],
        ylim=(len(rows) - 0.6, -0.8),
    )
    return figure


def tables(comparison: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs, and the pairs, as formatted text."""
    metric = comparison["metric"]
    noise = any(row["noise"] is not None for row in comparison["runs"])
    runs = [
        {
            "run": row["name"],
            "protocol": f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"
            + (" LEAKY" if row["protocol"]["leak"] else ""),
            "split": row["part"],
            NAMES[metric]: f"{row['metrics'][metric]:.3f}",
            "interval": _span(row["intervals"].get(metric)),
            **{
                NAMES[name]: _number(value, ".3f")
                for name, value in row["metrics"].items()
                if name != metric
            },
            "sd": _number(row["deviations"].get(metric), ".3f"),
            **({"in noise": _number(row["noise"], ".3f")} if noise else {}),
            "folds": row["folds"] or "-",
            "seeds": row["seeds"] or 1,
            "parameters": _number(row["parameters"]),
            "trainable": _number(row["trainable"]),
            "training": _number(row["seconds"] and row["seconds"] / 60, ".1f") + " min",
        }
        for row in comparison["runs"]
    ]
    pairs = [
        {
            "on the same clips": f"{pair['a']} over {pair['b']}",
            "verdict": pair["verdict"],
            "difference": f"{pair['metrics'][metric]['difference']:+.3f}",
            "interval": _span(pair["metrics"][metric]["interval"], "+.3f"),
            "p (Holm)": f"{pair['p_holm']:.2g}",
        }
        for pair in comparison["pairs"]
    ]
    return pd.DataFrame(runs), pd.DataFrame(pairs)


def summary(comparison: Mapping[str, Any]) -> str:
    """The tables of runs and pairs, and the warnings, for the terminal."""
    lines = [f"\n{table.to_string(index=False)}" for table in tables(comparison) if len(table)]
    return "\n".join(lines + [f"  warning: {warning}" for warning in comparison["warnings"]])


def paper_table(comparison: Mapping[str, Any], format: str) -> str:
    """The runs for a paper, as ``markdown``, ``latex`` (with booktabs) or ``csv``.

    The best figure is bold if a paired test shows that it is better than the next one, and the run
    has no leak.
    """
    if format == "csv":
        return _csv(comparison).rstrip()
    rows = comparison["runs"]
    metric = NAMES[comparison["metric"]]
    table = tables(comparison)[0]
    others = [NAMES[name] for name in rows[0]["metrics"] if NAMES[name] != metric]
    table = table[["run", metric, "interval", *others]].rename(
        columns={"interval": f"{100 * rows[0]['confidence']:g} % interval"}
    )
    table["run"] += [" (knows test speakers)" * _leaky(row) for row in rows]
    bold, note = _best(comparison)
    # a character that no format escapes
    figure = table.loc[0, metric]
    place = "\ue000"
    table.loc[0, metric] = place
    if format == "latex":
        text = table.to_latex(index=False, escape=True)
        best = r"\textbf{{{}}}"
    else:
        cells = table.map(lambda cell: re.sub(r"([\\`*|<])", r"\\\1", cell)).to_numpy().tolist()
        lines = [
            f"| {' | '.join(row)} |\n" for row in ([*table], ["---"] * len(table.columns), *cells)
        ]
        text = "".join(lines)
        best = "**{}**"
    text = text.replace(place, best.format(figure) if bold else figure)
    return f"{text}\n{'% ' * (format == 'latex')}{note}"


def _best(comparison: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the first run is shown to be better than the second, and a sentence about it."""
    best = comparison["runs"][0]
    names = {row["name"] for row in comparison["runs"][:2]}
    pair = next((pair for pair in comparison["pairs"] if {pair["a"], pair["b"]} == names), None)
    if pair is None or _leaky(best):
        return (
            False,
            "The best two are not compared: other clips, missing predictions, or known test speakers.",
        )
    bold = pair["verdict"] == f"{best['name']} is better"
    found = "Bold: better than the next" if bold else "No difference between the best two is shown"
    return bold, f"{found} (paired bootstrap, p = {pair['p_holm']:.2g} after Holm's correction)."


def _leaky(row: Mapping[str, Any]) -> bool:
    return bool(row["protocol"]["leak"] or row["protocol"]["shared_speakers"])


def _csv(comparison: Mapping[str, Any]) -> str:
    """The runs with the ends of intervals; an apostrophe precedes what a spreadsheet would evaluate
    as a formula.
    """
    table = pd.json_normalize(comparison["runs"])
    for name in [name for name in table if name.startswith("intervals.")]:
        for end, key in enumerate(("low", "high")):
            table[f"{name}.{key}"] = table[name].str[end]
        del table[name]
    return table.replace(r"^([=+\-@\t\r])", r"'\1", regex=True).to_csv(index=False)


def _span(interval: Sequence[float] | None, form: str = ".3f") -> str:
    return " to ".join(format(end, form) for end in interval) if interval else "-"


def _number(number: float | None, form: str = ",") -> str:
    return "-" if number is None else format(number, form)
