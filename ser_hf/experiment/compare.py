"""Compares runs: a table row for each run, and paired tests between runs that predicted the same clips."""

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

from ..evaluation.bootstrap import FEW_SPEAKERS, bootstrap_intervals
from ..evaluation.metrics import DEFINITIONS
from ..evaluation.paired import METRICS, holm, mcnemar, paired_comparison
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_text
from .compare_page import FILES, protocol_name, write_files


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A finished run: `source` as the user named it, `name` unique among the runs, `predictions` the path of its table
    of predictions, if there is one, and `notes` for the reader."""

    source: str
    name: str
    report: dict[str, Any]
    predictions: Path | None
    notes: list[str]


@dataclasses.dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run; classes, clips and seeds are sorted, so that runs are comparable.

    Attributes:
        clips: ids, preceded by the fold where folds share clips.
        labels: class numbers, (clips,).
        predictions: class numbers, (seeds, clips).
        seeds: None if the run has one training.
        speakers: of each clip; None if any is unknown.
    """

    classes: list[str]
    clips: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    seeds: list[int] | None
    speakers: list[str] | None


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
    if metric not in METRICS:
        raise UserError(f"--metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    if part not in (None, "test", "validation"):
        raise UserError(f"--part: expected test or validation, got {part!r}")
    if output is not None:
        _check_output(Path(output))
    runs = [(run, part or run.report["judged_on"]) for run in _read_runs(sources)]
    predictions = {run.name: _read_predictions(run, own) for run, own in runs}
    rows = [_row(run, own, predictions[run.name]) for run, own in runs]
    rows.sort(key=lambda row: -row["metrics"][metric])
    predictions = {row["name"]: predictions[row["name"]] for row in rows}
    groups = _groups(predictions)
    pairs = _pairs(predictions, groups, metric, resamples, confidence, seed)
    comparison = {
        "metric": metric,
        "runs": rows,
        "pairs": pairs,
        "unpaired": _unpaired(rows, predictions, groups),
        "warnings": _warnings(rows, pairs),
        "settings": {"resamples": resamples, "confidence": confidence, "seed": seed},
        "definitions": {name: DEFINITIONS[name] for name in METRICS},
    }
    if output is not None:
        write_files(comparison, Path(output))
    return comparison


def _check_output(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"--output: {folder} is a file; name a folder")
    others = sorted({child.name for child in folder.iterdir()} - {*FILES}) if folder.is_dir() else []
    if others:
        raise UserError(f"--output: {folder} contains {others[0]}, which is not a comparison's; choose another folder")


def _read_runs(sources: Sequence[str | Path]) -> list[SavedRun]:
    sources = [str(source) for source in sources]
    if not sources:
        raise UserError("RUN: missing; name two runs or more, as in ser-hf compare runs/a runs/b")
    runs = [_read_run(source) for source in sources]
    seen: dict[str, str] = {}
    for run in runs:
        report = run.report
        facts = [report["protocol"]["sha256"], report["judged_on"], report["metrics"], report.get("seconds")]
        key = json.dumps(facts, sort_keys=True)
        if key in seen:
            how = "twice" if seen[key] == run.source else f"as {seen[key]}, too"
            raise UserError(f"{run.source}: the same run is given {how}; name it once")
        seen[key] = run.source
    if len(runs) < 2:
        raise UserError(f"{sources[0]}: a comparison needs two runs or more")
    counts = Counter(run.name for run in runs)
    # Runs of the same recipe are named after their folders.
    return [run if counts[run.name] == 1 else dataclasses.replace(run, name=run.source.rstrip("/")) for run in runs]


def _read_run(source: str) -> SavedRun:
    path, notes = Path(source), []
    if (path / "sweep.json").is_file():
        path = path / "best"
        if not RunFolder(path).complete:
            raise UserError(f"{source}: a sweep whose best recipe has not run; name its trials, trials/N in it")
        notes.append("the winner of a sweep; leaderboard.html in the sweep's folder has all trials")
    if not path.exists():
        from .reproduce import find_saved_run

        report = find_saved_run(source).report  # from the Hub
        return SavedRun(source, report["name"], report, None, notes)
    file = _report_file(source, path) if path.is_dir() else path
    try:
        report = json.loads(read_text(file))
        required = [report["name"], report["judged_on"], report["labels"], report["protocol"]["sha256"]]
        required += [report["protocol"]["name"], *(report["metrics"][name] + 0.0 for name in METRICS)]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not a report of ser_hf ({type(error).__name__}: {error})") from None
    predictions = file.with_name("predictions.parquet")
    return SavedRun(source, report["name"], report, predictions if predictions.is_file() else None, notes)


def _report_file(source: str, folder: Path) -> Path:
    run = RunFolder(folder)
    for place in (run.report, folder):
        if (place / "report.json").is_file():
            return place / "report.json"
    if run.recipe.is_file():
        raise UserError(f"{source}: an unfinished run; finish it with --resume")
    below = sorted(child.name for child in folder.iterdir() if RunFolder(child).complete)
    if below:
        raise UserError(f"{source}: a folder of runs ({', '.join(below[:3])}); name them, as in {folder.as_posix()}/*")
    raise UserError(f"{source}: contains no report; name a run's folder, a model saved by ser_hf or a report.json")


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
        predicted = table.pivot(index="seed", columns="id", values="predicted")
        if predicted.isna().any(axis=None):
            raise ValueError("seeds with different clips")
        first = table.drop_duplicates("id").set_index("id").loc[predicted.columns]
        classes = sorted(run.report["labels"])
        number = {name: i for i, name in enumerate(classes)}
        labels = np.array([number[name] for name in first["label"]])
        predictions = np.array([[number[name] for name in row] for row in predicted.to_numpy()])
        speakers = None if first["speaker"].isna().any() else first["speaker"].tolist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{run.predictions}: not a table of predictions of ser_hf ({reason})") from None
    seeds = predicted.index.tolist() if seeded else None
    return RunPredictions(classes, predicted.columns.tolist(), labels, predictions, seeds, speakers)


def _row(run: SavedRun, part: str, predictions: RunPredictions | None) -> dict[str, Any]:
    """A run in the table; unknown values are None.

    `repeats` is {kind: seeds or folds, number}, `values` has the metrics of each of them, `seconds.training` is their
    sum, and `protocol.shared_speakers` is the number of evaluated speakers that are in the training split, too.
    """
    report = run.report
    protocol, model, seconds = report["protocol"], report.get("model", {}), report.get("seconds", {})
    evaluated = part == report["judged_on"]
    metrics = report["metrics"] if evaluated else report.get("parts", {}).get(part)
    if metrics is None:
        raise UserError(f"{run.source}: its report has no results on the {part} split (--part)")
    kind, repeated, key = None, [], "metrics" if evaluated else part
    for name, children in (("folds", protocol.get("folds")), ("seeds", report.get("seeds"))):
        if kind is None and children and all(key in child for child in children.values()):
            kind, repeated = name, [child[key] for child in children.values()]
    values = {metric: [own[metric] for own in repeated] for metric in METRICS} if kind else {}
    intervals, confidence = {}, report.get("confidence", 0.95)
    if evaluated:
        intervals = report.get("intervals", {})
    elif predictions is not None and kind != "folds":  # the validation clips of folds overlap
        intervals = bootstrap_intervals(
            predictions.labels,
            predictions.predictions,
            len(predictions.classes),
            speakers=predictions.speakers,
            confidence=confidence,
        )
    split = protocol.get("parts", {}).get(part, {})
    shared = report.get("audit", {}).get("shared", {}).get(f"train/{part}", {}).get("speakers", 0)
    return {
        "name": run.name,
        "source": run.source,
        "part": part,
        "protocol": {key: protocol.get(key) for key in ("name", "sha256", "leak")} | {"shared_speakers": shared},
        "labels": report["labels"],
        "clips": len(predictions.clips) if predictions else split.get("clips"),
        "speakers": len(split["speakers"]) if "speakers" in split else None,
        "repeats": {"kind": kind, "number": len(repeated)} if kind else None,
        "metrics": {name: metrics[name] for name in (*METRICS, "weighted_f1") if name in metrics},
        "intervals": {metric: intervals[metric] for metric in METRICS if metric in intervals},
        "confidence": confidence,
        "deviations": {metric: float(np.std(own, ddof=1)) for metric, own in values.items() if len(own) > 1},
        "values": values,
        "parameters": model.get("parameters"),
        "learning": model.get("learning"),
        "seconds": {name: seconds.get(name) for name in ("training", "per_epoch")},
        "machine": _machine(report.get("environment", {})),
        "notes": run.notes,
    }


def _machine(environment: Mapping[str, Any]) -> str | None:
    words = [environment.get("accelerator") or environment.get("processor") or "unknown"]
    words += [f"{environment[key]} {key}" for key in ("threads", "processes") if environment.get(key)]
    return ", ".join(words) if environment else None


def _groups(predictions: Mapping[str, RunPredictions | None]) -> list[list[str]]:
    """Names of the runs with the same clips, labels and classes."""
    groups: dict[tuple, list[str]] = {}
    for name, own in predictions.items():
        if own is not None:
            groups.setdefault((*own.classes, *own.clips, own.labels.tobytes()), []).append(name)
    return list(groups.values())


def _pairs(
    predictions: Mapping[str, RunPredictions | None],
    groups: Sequence[Sequence[str]],
    metric: str,
    resamples: int,
    confidence: float,
    seed: int,
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
        settings = (len(first.classes), first.speakers, resamples, confidence, seed)
        compared = paired_comparison(first.labels, tables, *settings) if len(names) > 1 else {}
        for (a, b), metrics in compared.items():
            if metrics[metric]["difference"] < 0:
                a, b, metrics = b, a, {name: _swapped(values) for name, values in metrics.items()}
            pairs.append({"a": a, "b": b, "metrics": metrics, **_tests(predictions[a], predictions[b])})
    for pair, p in zip(pairs, holm([pair["metrics"][metric]["p"] for pair in pairs]), strict=True):
        pair |= {"p_holm": p, "verdict": "a is better" if p < 1 - confidence else "no difference shown"}
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
    by_name = {row["name"]: row for row in rows}
    found = []
    without = [name for name, own in predictions.items() if own is None]
    if without:
        why = "no predictions; they are in report/predictions.parquet of the run's folder"
        found.append({"runs": without, "others": [], "why": why})
    for names, others in itertools.combinations(groups, 2):
        a, b = predictions[names[0]], predictions[others[0]]
        row, other_row = by_name[names[0]], by_name[others[0]]
        reasons = []
        single = sorted(set(a.classes) ^ set(b.classes))
        if single:
            reasons.append(f"different classes ({', '.join(single)} on one side only)")
        common = set(a.clips) & set(b.clips)
        if len(common) < max(len(a.clips), len(b.clips)):
            counts = f"{len(a.clips)} {row['part']} and {len(b.clips)} {other_row['part']} clips"
            protocols = f"protocols {protocol_name(row)} and {protocol_name(other_row)}"
            reasons.append(f"different clips ({counts}, {len(common)} in common; {protocols})")
        if not reasons:
            reasons.append(f"different labels of {np.count_nonzero(a.labels != b.labels)} of the same clips")
        found.append({"runs": list(names), "others": list(others), "why": "; ".join(reasons)})
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
    few = sorted({pair["speakers"] for pair in pairs if pair["speakers"] and pair["speakers"] < FEW_SPEAKERS})
    if few:
        found.append(
            f"Differences on few speakers ({', '.join(map(str, few))}): intervals and p-values are too optimistic; "
            "those over clips alone do not apply to other speakers."
        )
    if any("training" in note for pair in pairs for note in pair["notes"]):
        found.append("Runs with one training: the variation between seeds is not included.")
    paired = {pair[side] for pair in pairs for side in ("a", "b")}
    if any(row["name"] in paired and row["repeats"] and row["repeats"]["kind"] == "folds" for row in rows):
        found.append("Pairs pool the clips of all folds; the table has the mean over folds.")
    if len({row["confidence"] for row in rows}) > 1:
        found.append("The intervals of the reports have different confidence levels.")
    if len({row["machine"] for row in rows if row["machine"]}) > 1:
        found.append("Seconds are from different machines.")
    return found
