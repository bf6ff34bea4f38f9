"""Compares runs: a table row for each run, and paired tests between runs that predicted the same clips."""

import base64
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from markupsafe import Markup
from matplotlib.figure import Figure

from ..evaluation.bootstrap import COMPARED, FEW_SPEAKERS, bootstrap_intervals, holm, mcnemar, paired_comparison
from ..evaluation.metrics import DEFINITIONS, NAMES
from ..report.page import template
from ..report.plots import COLORS, save_figure
from ..report.report import Environment, Report, read_report
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.run_folder import RunFolder
from .reproduce import find_saved_run

FILES = ("comparison.json", "comparison.csv", "comparison.png", "comparison.svg", "index.html")


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run: `source` as the user named it, `name` unique among the runs, and the path of its predictions."""

    source: str
    name: str
    report: Report
    predictions: Path | None


@dataclasses.dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run; classes, clips and seeds are sorted, so that runs are comparable."""

    classes: list[str]
    clips: list[str]  # ids, preceded by the fold where folds share clips
    labels: np.ndarray  # class numbers, (clips,)
    predictions: np.ndarray  # class numbers, (seeds, clips)
    seeds: list[int] | None  # None if the run has one training
    speakers: list[str] | None  # None if any is unknown


def compare_runs(
    sources: Sequence[str | Path],
    *,
    metric: str = "uar",
    part: str | None = None,
    output: str | Path | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """A table of runs, the best by `metric` first, and tests of the differences between runs on the same clips.

    Args:
        sources: run folders, sweeps (their winner), folders of published models, Hub ids or report.json files.
        metric: "uar", "wa" or "macro_f1": the order, the bar chart and the tests use it.
        part: "test" or "validation" (default: the one that each run was evaluated on).
        output: a folder for the page, the bar chart and the tables; an earlier comparison in it is replaced.
        resamples, confidence, seed: of the paired bootstrap.

    Returns:
        The content of comparison.json: `metric`, `runs` (`_row`), `pairs` (`_pairs`), `unpaired` (`_unpaired`),
        `warnings`, `settings` and `definitions`.

    Raises:
        UserError: for a source that is not a run or is given twice, or a run without results on that split.
    """
    if metric not in COMPARED:
        raise UserError(f"--metric: unknown metric {metric!r}; choose one of {', '.join(COMPARED)}")
    if output is not None:
        _check_output(Path(output))
    runs = [(run, part or run.report.evaluated_split) for run in _read_runs([str(source) for source in sources])]
    predictions = {run.name: _read_predictions(run, own) for run, own in runs}
    rows = [_row(run, own, predictions[run.name]) for run, own in runs]
    rows.sort(key=lambda row: -row["metrics"][metric])
    groups: dict[tuple, list[str]] = {}  # runs with the same clips, labels and classes
    for name in (row["name"] for row in rows):
        if own := predictions[name]:
            groups.setdefault((*own.classes, *own.clips, own.labels.tobytes()), []).append(name)
    settings = {"resamples": resamples, "confidence": confidence, "seed": seed}
    pairs = _pairs(predictions, list(groups.values()), metric, settings)
    comparison = {
        "metric": metric,
        "runs": rows,
        "pairs": pairs,
        "unpaired": _unpaired(rows, predictions, list(groups.values())),
        "warnings": _warnings(rows, pairs),
        "settings": settings,
        "definitions": {name: DEFINITIONS[name] for name in COMPARED},
    }
    if output is not None:
        _write_files(comparison, Path(output))
    return comparison


def _check_output(folder: Path) -> None:
    others = sorted({child.name for child in folder.iterdir()} - {*FILES}) if folder.is_dir() else []
    if folder.is_file() or others:
        found = f"contains {others[0]}, which is not a comparison's" if others else "is a file"
        raise UserError(f"--output: {folder} {found}; choose another folder")


def _read_runs(sources: Sequence[str]) -> list[SavedRun]:
    runs = [_read_run(source) for source in sources]
    seen: dict[str, str] = {}
    for run in runs:
        report = run.report
        key = repr((report.protocol.sha256, report.evaluated_split, report.metrics, report.seconds))
        if key in seen:
            raise UserError(f"{run.source}: the same run as {seen[key]}; name it once")
        seen[key] = run.source
    if len(runs) < 2:
        raise UserError(f"{', '.join(sources) or 'RUN'}: a comparison needs two runs or more")
    counts = Counter(run.name for run in runs)
    # Runs of the same recipe are named after their folders.
    return [run if counts[run.name] == 1 else dataclasses.replace(run, name=run.source.rstrip("/")) for run in runs]


def _read_run(source: str) -> SavedRun:
    path = Path(source)
    if (path / "sweep.json").is_file():
        path = path / "best"
        if not RunFolder(path).complete:
            raise UserError(f"{source}: a sweep whose best recipe has not run; name its trials, trials/N in it")
    if not path.exists():
        report = find_saved_run(source).report  # from the Hub
        return SavedRun(source, report.name, report, None)
    files = [path] if path.is_file() else [RunFolder(path).report / "report.json", path / "report.json"]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise UserError(
            f"{source}: contains no report; name the folder of a finished run or of a model saved by ser_hf, or a "
            "report.json"
        )
    report, predictions = read_report(file), file.with_name("predictions.parquet")
    if report.protocol.sha256 is None or any(report.metrics.get(name) is None for name in COMPARED):
        raise UserError(f"{file}: not a report of ser_hf: it lacks the protocol's sha256, or metrics")
    return SavedRun(source, report.name, report, predictions if predictions.is_file() else None)


def _read_predictions(run: SavedRun, part: str) -> RunPredictions | None:
    """The predictions of a split; None if they are not available."""
    if run.predictions is None:
        return None
    try:
        table = pd.read_parquet(run.predictions)
        table = table[table["part"] == part]
        if table.empty:
            return None
        seeded = "seed" in table
        table = table if seeded else table.assign(seed=0)
        if table.duplicated(["seed", "id"]).any() and "fold" in table:
            table = table.assign(id=table["fold"].astype(str) + "/" + table["id"])
        classes = sorted(run.report.labels)
        for column in ("label", "predicted"):
            table[column] = pd.Categorical(table[column], classes).codes
        predicted = table.pivot(index="seed", columns="id", values="predicted")
        if predicted.isna().any(axis=None):
            raise ValueError("seeds with different clips")
        first = table.drop_duplicates("id").set_index("id").loc[predicted.columns]
        speakers = None if first["speaker"].isna().any() else first["speaker"].tolist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{run.predictions}: not a table of predictions of ser_hf ({reason})") from None
    seeds = predicted.index.tolist() if seeded else None
    codes = predicted.to_numpy(dtype=int)
    return RunPredictions(classes, predicted.columns.tolist(), first["label"].to_numpy(int), codes, seeds, speakers)


def _row(run: SavedRun, part: str, predictions: RunPredictions | None) -> dict[str, Any]:
    """A run in the table; unknown values are None.

    `repeats` is {kind: seeds or folds, number}, `values` has the metrics of each of them, `seconds.training` is their
    sum, and `protocol.shared_speakers` is the number of evaluated speakers that are in the training split, too.
    """
    report, protocol = run.report, run.report.protocol
    evaluated = part == report.evaluated_split
    metrics = report.metrics if evaluated else report.parts.get(part)
    if metrics is None:
        raise UserError(f"{run.source}: its report has no results on the {part} split (--part)")
    kind = "folds" if protocol.folds else "seeds"
    repeated = [own.metrics if evaluated else getattr(own, part, None) for own in report.runs.values()]
    values = {metric: [own[metric] for own in repeated] for metric in COMPARED} if all(repeated) and repeated else {}
    intervals = report.intervals if evaluated else {}
    if not evaluated and predictions is not None and kind != "folds":  # the validation clips of folds overlap
        own = (predictions.labels, predictions.predictions, len(predictions.classes))
        intervals = bootstrap_intervals(*own, speakers=predictions.speakers, confidence=report.confidence)
    split = protocol.parts.get(part)
    return {
        "name": run.name,
        "source": run.source,
        "part": part,
        "protocol": {
            **{key: getattr(protocol, key) for key in ("name", "sha256", "leak")},
            "shared_speakers": report.audit.shared.get(f"train/{part}", {}).get("speakers", 0),
        },
        "labels": report.labels,
        "clips": len(predictions.clips) if predictions else split and split.clips,
        "speakers": split and len(split.speakers),
        "repeats": {"kind": kind, "number": len(repeated)} if values else None,
        "metrics": {name: metrics[name] for name in (*COMPARED, "weighted_f1") if name in metrics},
        "intervals": {metric: intervals[metric] for metric in COMPARED if metric in intervals},
        "confidence": report.confidence,
        "deviations": {metric: float(np.std(own, ddof=1)) for metric, own in values.items() if len(own) > 1},
        "values": values,
        "parameters": report.model.parameters,
        "learning": report.model.learning,
        "seconds": {name: getattr(report.seconds, name) for name in ("training", "per_epoch")},
        "machine": _machine(report.environment),
    }


def _machine(environment: Environment) -> str | None:
    name = environment.accelerator or environment.processor
    return name and f"{name}, {environment.threads} threads, {environment.processes} processes"


def _pairs(
    predictions: Mapping[str, RunPredictions | None],
    groups: Sequence[Sequence[str]],
    metric: str,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every two runs with the same clips; `a` is the better one by `metric`.

    {a, b, clips, speakers, metrics, p_holm, verdict, mcnemar, notes}: `metrics` is the result of `paired_comparison`,
    `p_holm` the p of `metric` with Holm's correction for all pairs. `mcnemar` has a test for each seed that both runs
    have, or one with seed None if both have one training, also with Holm's correction.
    """
    pairs = []
    for names in groups:
        first = predictions[names[0]]
        tables = {name: predictions[name].predictions for name in names}
        arguments = (len(first.classes), first.speakers, *settings.values())
        compared = paired_comparison(first.labels, tables, *arguments) if len(names) > 1 else {}
        for (a, b), metrics in compared.items():
            if metrics[metric]["difference"] < 0:
                a, b, metrics = b, a, {name: _swapped(values) for name, values in metrics.items()}
            pairs.append({"a": a, "b": b, "metrics": metrics, **_tests(predictions[a], predictions[b])})
    for pair, p in zip(pairs, holm([pair["metrics"][metric]["p"] for pair in pairs]), strict=True):
        better = p < 1 - settings["confidence"]
        pair |= {"p_holm": p, "verdict": "a is better" if better else "no difference shown"}
    tests = [test for pair in pairs for test in pair["mcnemar"]]
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = p
    return pairs


def _swapped(values: Mapping[str, Any]) -> dict[str, Any]:
    ends = {name: [-values[name][1], -values[name][0]] for name in ("interval", "clip_interval")}
    return {"a": values["b"], "b": values["a"], "difference": -values["difference"], **ends, "p": values["p"]}


def _tests(a: RunPredictions, b: RunPredictions) -> dict[str, Any]:
    trainings = len(a.predictions), len(b.predictions)
    seeds = [(seed, a.seeds.index(seed), b.seeds.index(seed)) for seed in a.seeds or [] if seed in (b.seeds or [])]
    if trainings == (1, 1):
        seeds = [(None, 0, 0)]
    speakers = None if a.speakers is None else len(set(a.speakers))
    notes = []
    if min(trainings) == 1:
        notes.append("one training on each side" if max(trainings) == 1 else "one training on one side")
    if speakers is None:
        notes.append("speakers unknown: only clips are resampled")
    elif speakers < FEW_SPEAKERS:
        notes.append(f"{speakers} speakers")
    return {
        "clips": len(a.clips),
        "speakers": speakers,
        "mcnemar": [{"seed": seed} | mcnemar(a.labels, a.predictions[i], b.predictions[j]) for seed, i, j in seeds],
        "notes": notes,
    }


def _unpaired(
    rows: Sequence[Mapping[str, Any]],
    predictions: Mapping[str, RunPredictions | None],
    groups: Sequence[Sequence[str]],
) -> list[dict[str, Any]]:
    """{runs, others, why}: runs that are not paired with which others (with any, if `others` is empty)."""
    found = []
    if without := [name for name, own in predictions.items() if own is None]:
        why = "no predictions; they are in report/predictions.parquet of the run's folder"
        found.append({"runs": without, "others": [], "why": why})
    protocols = {row["name"]: f"{row['part']} clips of {_protocol(row)}" for row in rows}
    for names, others in itertools.combinations(groups, 2):
        a, b = predictions[names[0]], predictions[others[0]]
        if a.classes != b.classes:
            why = f"different classes ({', '.join(sorted(set(a.classes) ^ set(b.classes)))} on one side only)"
        elif a.clips != b.clips:
            sides = f"{len(a.clips)} {protocols[names[0]]}, {len(b.clips)} {protocols[others[0]]}"
            why = f"different clips ({sides}; {len(set(a.clips) & set(b.clips))} in common)"
        else:
            why = f"different labels of {np.count_nonzero(a.labels != b.labels)} of the same clips"
        found.append({"runs": list(names), "others": list(others), "why": why})
    return found


def _warnings(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for row in rows:
        protocol = row["protocol"]
        if protocol["leak"]:
            found.append(f"{row['name']}: LEAKY: {protocol['leak']}")
        elif protocol["shared_speakers"]:
            found.append(f"{row['name']}: evaluated on speakers of its training split.")
        elif protocol["shared_speakers"] is None:
            found.append(f"{row['name']}: it is unknown whether these speakers are in its training split.")
    if len({row["protocol"]["sha256"] for row in rows}) > 1:
        found.append("The runs have different protocols: their figures are not comparable.")
    if any(row["part"] == "validation" for row in rows):
        found.append("The validation split selected the checkpoints: figures on it are too good.")
    if few := sorted({pair["speakers"] for pair in pairs if pair["speakers"] and pair["speakers"] < FEW_SPEAKERS}):
        found.append(
            f"Differences on few speakers ({', '.join(map(str, few))}): intervals and p-values are optimistic."
        )
    if any("training" in note for pair in pairs for note in pair["notes"]):
        found.append("Runs with one training: the variation between seeds is not included.")
    folded = {row["name"] for row in rows if row["repeats"] and row["repeats"]["kind"] == "folds"}
    if any({pair["a"], pair["b"]} & folded for pair in pairs):
        found.append("Pairs pool the clips of all folds; the table has the mean over folds.")
    return found


def _write_files(comparison: Mapping[str, Any], folder: Path) -> None:
    with atomic_folder(folder, "--output") as partial:
        figure = bar_chart(comparison["runs"], comparison["metric"])
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        table = pd.json_normalize(comparison["runs"]).drop(columns=["labels"])
        table.map(_cell).to_csv(partial / "comparison.csv", index=False)
        text = json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "comparison.json").write_text(text + "\n", encoding="utf-8")
        page = _page(comparison, (partial / "comparison.svg").read_bytes())
        (partial / "index.html").write_text(page, encoding="utf-8")


def _cell(value: Any) -> Any:
    """An apostrophe precedes what a spreadsheet would evaluate as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def bar_chart(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """A bar for each run with its interval; runs that are evaluated on training speakers are hatched."""
    figure = Figure(figsize=(8.5, 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        leaky = bool(row["protocol"]["leak"] or row["protocol"]["shared_speakers"])
        low, high = row["intervals"].get(metric, (value, value))
        error = [[max(0, value - low)], [max(0, high - value)]]
        axes.barh(place, value, 0.62, xerr=error, capsize=3, color=COLORS[leaky], hatch="//" if leaky else "")
        axes.text(max(value, high) + 0.012, place, f"{value:.3f}", va="center", fontsize=9)
    # A dollar sign in a name is no formula.
    axes.set_yticks(np.arange(len(rows)), [row["name"] for row in rows], parse_math=False, fontsize=9)
    axes.set(xlim=(0, 1.1), xlabel=f"{NAMES[metric]} (lines: intervals; hatched: evaluated on training speakers)")
    axes.set_ylim(len(rows) - 0.45, -0.55)
    return figure


def tables(comparison: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs, and the pairs, as formatted text."""
    metric = comparison["metric"]
    runs = []
    for row in comparison["runs"]:
        repeats, deviation, seconds = row["repeats"], row["deviations"].get(metric), row["seconds"]["training"]
        shared = row["protocol"]["shared_speakers"]
        mark = {None: " (training speakers unknown)", 0: ""}.get(shared, " (training speakers)")
        runs.append(
            {
                "run": row["name"],
                "protocol": _protocol(row) + (" LEAKY" if row["protocol"]["leak"] else mark),
                "split": row["part"],
                NAMES[metric]: f"{row['metrics'][metric]:.3f}",
                "interval": _span(row["intervals"].get(metric)),
                **{NAMES[name]: f"{row['metrics'][name]:.3f}" for name in COMPARED if name != metric},
                "sd": "-" if deviation is None else f"{deviation:.3f}",
                "over": f"{repeats['number']} {repeats['kind']}" if repeats else "-",
                **{title: _count(row[key]) for title, key in (("parameters",) * 2, ("trainable", "learning"))},
                "training": "-" if seconds is None else f"{seconds / 60:.1f} min",
            }
        )
    pairs = []
    for pair in comparison["pairs"]:
        own, tests = pair["metrics"][metric], sorted({test["p_holm"] for test in pair["mcnemar"]})
        pairs.append(
            {
                "on the same clips": f"{pair['a']} over {pair['b']}",
                "verdict": f"{pair['a']} is better" if pair["verdict"] == "a is better" else pair["verdict"],
                "difference": f"{own['difference']:+.3f}",
                "interval": _span(own["interval"], "+.3f"),
                "p (Holm)": _p_value(pair["p_holm"]),
                "McNemar p (Holm)": " to ".join(map(_p_value, dict.fromkeys([*tests[:1], *tests[-1:]]))) or "-",
            }
        )
    return pd.DataFrame(runs), pd.DataFrame(pairs)


def summary(comparison: Mapping[str, Any]) -> str:
    """The tables of runs and pairs, and the warnings, for the terminal."""
    lines = []
    for table in tables(comparison):
        if len(table):
            lines += ["", table.to_string(index=False)]
    lines += [f"  not paired: {_not_paired(one)}" for one in comparison["unpaired"]]
    return "\n".join(lines + [f"  warning: {warning}" for warning in comparison["warnings"]])


def _page(comparison: Mapping[str, Any], chart: bytes) -> str:
    metric = comparison["metric"]
    figures = ", ".join(f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"])
    return template(__package__, "compare.html").render(
        **comparison,
        version=__version__,
        names=NAMES,
        tables=[Markup(table.to_html(index=False, border=0)) for table in tables(comparison)],
        not_paired=_not_paired,
        picture=f"data:image/svg+xml;base64,{base64.b64encode(chart).decode('ascii')}",
        alt=f"Bar chart of {NAMES[metric]} with intervals, the best first: {figures}.",
    )


def _protocol(row: Mapping[str, Any]) -> str:
    return f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"


def _span(interval: Sequence[float] | None, form: str = ".3f") -> str:
    """An interval, such as ``0.612 to 0.704``."""
    return " to ".join(format(end, form) for end in interval) if interval else "-"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _not_paired(one: Mapping[str, Any]) -> str:
    others = f" with {', '.join(one['others'])}" if one["others"] else ""
    return f"{', '.join(one['runs'])}{others}: {one['why']}"
