"""The comparison itself: runs read, figures gathered, differences tested, cautions told, files written."""

import csv
import dataclasses
import io
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.bootstrap import FEW_SPEAKERS, bootstrap_intervals
from ..evaluation.metrics import DEFINITIONS
from ..evaluation.paired import METRICS, compare_answers, holm, mcnemar
from ..evaluation.predictions import from_table
from ..utils.errors import UserError
from ..utils.files import atomic_folder
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_text

# Without these there is no line in the table.
_FIGURES = ("uar", "wa", "macro_f1")


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """One run: `source` as the user named it, `name` what tells it from the others, `predictions` the table of its
    answers where that is at hand, and `told` what the reader should know of how it was found."""

    source: str
    name: str
    report: dict[str, Any]
    predictions: Path | None
    told: list[str]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a run answered: class ids count through `classes`, in alphabetical order whatever order the run has.

    Args:
        clips: what names each clip, in alphabetical order: its id, preceded by its fold where folds share clips.
        labels: (clips,).
        predictions: (runs, clips), one row a seed, in the order of `seeds`.
        seeds: None where there is one run only.
        speakers: of each clip, None where they are not known.
    """

    classes: list[str]
    clips: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    seeds: list[int] | None
    speakers: list[str] | None


def read_runs(sources: Sequence[str | Path]) -> list[SavedRun]:
    """Two runs or more, each once, under names of their own.

    Args:
        sources: run folders, the folder of a sweep (whose winner's run is taken), published model folders, ids of such
            models on the Hub, or report.json files under any name.

    Raises:
        UserError: for fewer than two, for what is no run, and for a run that is given twice.
    """
    sources = [str(source) for source in sources]
    if not sources:
        raise UserError("RUN: missing; name two runs or more, as in ser-hf compare runs/a runs/b")
    runs = [_read(source) for source in sources]
    met: dict[str, str] = {}
    for run in runs:
        key = _identity(run.report)
        if key in met:
            both = "twice" if met[key] == run.source else f"as {met[key]} too"
            raise UserError(f"{run.source}: the same run is given {both}; name it once")
        met[key] = run.source
    if len(runs) < 2:
        raise UserError(f"{sources[0]}: one run has nothing to be compared with; name two or more")
    counts = Counter(run.name for run in runs)
    # Runs of one recipe are told apart by where they stand.
    return [run if counts[run.name] == 1 else dataclasses.replace(run, name=run.source.rstrip("/")) for run in runs]


def read_answers(run: SavedRun, part: str) -> Answers | None:
    """What the run answered to the clips of a part; None where that is not at hand.

    Raises:
        UserError: if the table of its answers is damaged.
    """
    if run.predictions is None:
        return None
    names = run.report["labels"]
    try:
        table = pq.read_table(run.predictions)
        table = table.filter(pa.compute.equal(table["part"], part))
        if not len(table):
            return None
        judged = from_table(table, part, names)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{run.predictions}: not a table of predictions of ser_hf ({reason})") from None
    clips, seeds = judged.ids, None
    if "seed" in table.column_names:
        seeds = list(dict.fromkeys(table["seed"].to_pylist()))
        table = table.filter(pa.compute.equal(table["seed"], seeds[0]))
    if len(set(clips)) < len(clips) and "fold" in table.column_names:
        clips = [f"{fold}/{clip}" for fold, clip in zip(table["fold"].to_pylist(), clips, strict=True)]
    # One order of clips, of classes and of seeds for all runs.
    order = sorted(range(len(clips)), key=clips.__getitem__)
    classes = sorted(names)
    number = np.asarray([classes.index(name) for name in names])
    by_seed = sorted(range(len(seeds)), key=seeds.__getitem__) if seeds else [0]
    speakers = judged.speakers
    return Answers(
        classes,
        [clips[i] for i in order],
        number[judged.labels][order],
        number[judged.predictions][by_seed][:, order],
        seeds and sorted(seeds),
        None if None in speakers else [speakers[i] for i in order],
    )


def _read(source: str) -> SavedRun:
    path, told = Path(source), []
    if (path / "sweep.json").is_file():
        path = path / "best"
        if not RunFolder(path).complete:
            raise UserError(f"{source}: a sweep whose best recipe has not been run; name its trials, trials/N in it")
        told.append("a sweep, of which this is the winner's run; leaderboard.html in its folder has all trials")
    if path.is_dir():
        report, predictions = _inside(source, path)
    elif path.is_file():
        report, predictions = path, None
    else:
        from .reproduce import find_saved_run

        saved = find_saved_run(source)  # on the Hub, or it says why not
        return _run(source, saved.report, None, told)
    return _run(source, _read_report(report), predictions if predictions and predictions.is_file() else None, told)


def _inside(source: str, folder: Path) -> tuple[Path, Path]:
    run = RunFolder(folder)
    if run.complete:
        return run.report / "report.json", run.report / "predictions.parquet"
    if (folder / "report.json").is_file():
        return folder / "report.json", folder / "predictions.parquet"
    if run.recipe.is_file():
        raise UserError(f"{source}: an unfinished run; finish it with --resume")
    below = sorted(child.name for child in folder.iterdir() if RunFolder(child).complete)
    if below:
        some = ", ".join(below[:3]) + (", ..." if len(below) > 3 else "")
        raise UserError(f"{source}: no run, but a folder of runs ({some}); name them, as in {folder.as_posix()}/*")
    raise UserError(f"{source}: holds no report; name a run's folder, a model that ser_hf has saved or a report.json")


def _run(source: str, report: dict[str, Any], predictions: Path | None, told: list[str]) -> SavedRun:
    return SavedRun(source, report["name"], report, predictions, told)


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(read_text(path))
        # What every report has had from the first; the rest is read as it may be missing.
        known = [report["name"], report["judged_on"], report["labels"], report["protocol"]["sha256"]]
        known += [report["protocol"]["name"], *(report["metrics"][name] + 0.0 for name in _FIGURES)]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a report of ser_hf ({type(error).__name__}: {error})") from None
    return report


def _identity(report: dict[str, Any]) -> str:
    """What no two trainings have in common, wherever their reports stand."""
    facts = [report["protocol"]["sha256"], report["judged_on"], report["metrics"], report.get("seconds")]
    return json.dumps(facts, sort_keys=True)


def groups_of(answers: Mapping[str, Answers | None]) -> list[list[str]]:
    """Names of the runs that answered the same clips, under the same labels and classes, together; those without
    answers are in none."""
    groups: dict[tuple, list[str]] = {}
    for name, own in answers.items():
        if own is not None:
            groups.setdefault((*own.classes, *own.clips, own.labels.tobytes()), []).append(name)
    return list(groups.values())


def pairs_of(
    answers: Mapping[str, Answers | None], metric: str, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Every two runs that answered the same clips, the better one by `metric` as `a`.

    {a, b, clips, speakers, metrics, p_holm, verdict, mcnemar, notes}: `metrics` is what `paired_comparison` gives,
    `p_holm` the p of `metric` corrected for all pairs (Holm), `mcnemar` a list of {seed, only_a, only_b, test, p,
    p_holm}, corrected for all such tests. With one training on each side there is one, its seed None; otherwise one of
    each seed that both have, and none where they share none: pooled over seeds a clip would count as many, and the
    seeds' majority is a classifier that nobody trained.
    """
    pairs = []
    for names in groups_of(answers):
        group = {name: answers[name] for name in names}
        first = group[names[0]]
        compared = {}
        if len(names) > 1:
            predictions = {name: own.predictions for name, own in group.items()}
            settings = (len(first.classes), first.speakers, resamples, confidence, seed)
            compared = compare_answers(first.labels, predictions, *settings)
        for (a, b), metrics in compared.items():
            pairs.append(_pair(a, b, group[a], group[b], metrics, metric))
    _correct(pairs, metric, 1 - confidence)
    return pairs


def _pair(a: str, b: str, own: Answers, other: Answers, metrics: dict[str, Any], metric: str) -> dict[str, Any]:
    if metrics[metric]["difference"] < 0:
        a, b, own, other = b, a, other, own
        metrics = {name: _turned(values) for name, values in metrics.items()}
    return {
        "a": a,
        "b": b,
        "clips": len(own.clips),
        "speakers": None if own.speakers is None else len(set(own.speakers)),
        "metrics": metrics,
        "mcnemar": [
            {"seed": seed} | mcnemar(own.labels, own.predictions[i], other.predictions[j])
            for seed, i, j in _equal_seeds(own, other)
        ],
        "notes": _notes(own, other),
    }


def _turned(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same comparison, b less a."""
    ends = {name: [-values[name][1], -values[name][0]] for name in ("interval", "clip_interval")}
    return {"a": values["b"], "b": values["a"], "difference": -values["difference"], **ends, "p": values["p"]}


def _equal_seeds(own: Answers, other: Answers) -> list[tuple[int | None, int, int]]:
    """(seed, its place on this side, on the other)."""
    if len(own.predictions) == len(other.predictions) == 1:
        return [(None, 0, 0)]
    here, there = own.seeds or [], other.seeds or []
    return [(seed, here.index(seed), there.index(seed)) for seed in here if seed in there]


def _notes(own: Answers, other: Answers) -> list[str]:
    runs = len(own.predictions), len(other.predictions)
    notes = []
    if min(runs) == 1:
        notes.append("one training on each side" if max(runs) == 1 else "one training on one side")
    if own.speakers is None:
        notes.append("speakers unknown: clips alone are drawn")
    elif len(set(own.speakers)) < FEW_SPEAKERS:
        notes.append(f"{len(set(own.speakers))} speakers")
    return notes


def _correct(pairs: Sequence[dict[str, Any]], metric: str, level: float) -> None:
    for pair, p in zip(pairs, holm([pair["metrics"][metric]["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
        pair["verdict"] = "a is better" if p < level else "no difference shown"
    tests = [test for pair in pairs for test in pair["mcnemar"]]
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = p


def unpaired(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, Answers | None]) -> list[dict[str, Any]]:
    """{runs, others, why}: which runs are not paired with which others (or with any, where `others` is empty)."""
    of = {row["name"]: row for row in rows}
    without = [name for name, own in answers.items() if own is None]
    found = []
    if without:
        why = "the answers to the clips are not at hand, as report/predictions.parquet of the run's folder has them"
        found.append({"runs": without, "others": [], "why": why})
    for some, others in itertools.combinations(groups_of(answers), 2):
        why = _difference(answers[some[0]], answers[others[0]], of[some[0]], of[others[0]])
        found.append({"runs": some, "others": others, "why": why})
    return found


def _difference(own: Answers, other: Answers, row: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    reasons = []
    one_sided = set(own.classes) ^ set(other.classes)
    if one_sided:
        single = [name for name in dict.fromkeys(row["labels"] + there["labels"]) if name in one_sided]
        reasons.append(f"other classes ({', '.join(single)} on one side only)")
    common = set(own.clips) & set(other.clips)
    if len(common) < max(len(own.clips), len(other.clips)):
        count = f"{len(own.clips)} {row['part']} and {len(other.clips)} {there['part']} clips, {len(common)} in common"
        reasons.append(f"other clips ({count}; protocols {fingerprint(row)} and {fingerprint(there)})")
    if common and not reasons:
        labels, theirs = (dict(zip(one.clips, one.labels.tolist(), strict=True)) for one in (own, other))
        reasons.append(f"other labels of {sum(labels[clip] != theirs[clip] for clip in common)} of the same clips")
    return "; ".join(reasons)


def fingerprint(row: Mapping[str, Any]) -> str:
    return f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"


def row_of(run: SavedRun, part: str, answers: Answers | None) -> dict[str, Any]:
    """The line of a run; what a report does not tell is None.

    {name, source, part, protocol {name, sha256, leak, heard_before}, labels, clips, speakers, repeats {kind, number},
    metrics, intervals, confidence, deviations and values (each {metric: ...}, over seeds or folds), parameters,
    learning, seconds {training, per_epoch}, machine, told}. `training` is the sum over seeds and folds.

    Raises:
        UserError: if the run was not judged on that part.
    """
    report = run.report
    judged_on, protocol, model = report["judged_on"], report["protocol"], report.get("model", {})
    metrics = report["metrics"] if part == judged_on else report.get("parts", {}).get(part)
    if metrics is None:
        raise UserError(f"{run.source}: was judged on {judged_on}, its report says nothing of {part} (--part)")
    kind, repeated = _repeats(report, judged_on, part)
    values = {metric: [own[metric] for own in repeated] for metric in METRICS}
    environment, seconds = report.get("environment", {}), report.get("seconds", {})
    shared = _shared_speakers(report, part)
    described = protocol.get("parts", {}).get(part, {})
    return {
        "name": run.name,
        "source": run.source,
        "part": part,
        "protocol": {
            "name": protocol["name"],
            "sha256": protocol["sha256"],
            "leak": protocol.get("leak"),
            "heard_before": shared,
        },
        "labels": report["labels"],
        "clips": len(answers.clips) if answers else described.get("clips"),
        "speakers": len(described["speakers"]) if "speakers" in described else None,
        "repeats": {"kind": kind, "number": len(repeated)} if kind else None,
        "metrics": {name: metrics[name] for name in (*METRICS, "weighted_f1") if name in metrics},
        "intervals": _intervals(report, part, kind, answers),
        "confidence": report.get("confidence", 0.95),
        "deviations": {metric: float(np.std(own, ddof=1)) for metric, own in values.items() if len(own) > 1},
        "values": values if kind else {},
        "parameters": model.get("parameters"),
        "learning": model.get("learning"),
        "seconds": {name: seconds.get(name) for name in ("training", "per_epoch")},
        "machine": _machine(environment) if environment else None,
        "told": run.told,
    }


def _repeats(report: dict[str, Any], judged_on: str, part: str) -> tuple[str | None, list[dict[str, float]]]:
    """Whether it is "seeds" or "folds", and the metrics of each."""
    key = "metrics" if part == judged_on else part
    for kind, runs in (("folds", report["protocol"].get("folds")), ("seeds", report.get("seeds"))):
        if runs and all(key in own for own in runs.values()):
            return kind, [own[key] for own in runs.values()]
    return None, []


def _intervals(report: dict[str, Any], part: str, kind: str | None, answers: Answers | None) -> dict[str, list[float]]:
    """The report's own, or those of another part, which reports have no intervals of; none of a mean over folds, whose
    validation clips overlap."""
    if part == report["judged_on"]:
        return {metric: own for metric, own in report.get("intervals", {}).items() if metric in METRICS}
    if answers is None or kind == "folds":
        return {}
    settings = {"speakers": answers.speakers, "confidence": report.get("confidence", 0.95)}
    found = bootstrap_intervals(answers.labels, answers.predictions, len(answers.classes), **settings)
    return {metric: found[metric] for metric in METRICS}


def _shared_speakers(report: dict[str, Any], part: str) -> int | None:
    """How many of the judged speakers were heard in training too; None where nobody knows."""
    return report.get("audit", {}).get("shared", {}).get(f"train/{part}", {}).get("speakers", 0)


def _machine(environment: dict[str, Any]) -> str:
    words = [environment.get("accelerator") or environment.get("processor") or "unknown"]
    words += [f"{environment[key]} {key}" for key in ("threads", "processes") if environment.get(key)]
    return ", ".join(words)


FILES = ("comparison.json", "comparison.csv", "comparison.png", "comparison.svg", "index.html")


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
    """Runs side by side, the best by `metric` first, and what the differences are worth between those that answered
    the same clips.

    Args:
        sources: run folders, sweeps, model folders, Hub ids or report.json files (`saved_runs.read_runs`).
        metric: "uar", "wa" or "macro_f1": what is sorted by, drawn, and tested.
        part: "test" or "validation"; None is the one that each run was judged on.
        output: a folder for `FILES`; one that an earlier comparison wrote is replaced.
        resamples, confidence, seed: of the paired bootstrap.

    Returns:
        What comparison.json holds: `metric`, `runs` (`rows.row_of`), `pairs` (`pairs.pairs_of`), `unpaired`
        (`pairs.unpaired`), `warnings`, `settings` and `definitions`.

    Raises:
        UserError: naming what is no run, is given twice, or was not judged on that part.
    """
    if metric not in METRICS:
        raise UserError(f"--metric: {metric!r} is none of {', '.join(METRICS)}")
    if part not in (None, "test", "validation"):
        raise UserError(f"--part: expected test or validation, got {part!r}")
    if output is not None:
        _require_ours(Path(output))
    runs = read_runs(sources)
    answers, rows = {}, []
    for run in runs:
        judged_on = part or run.report["judged_on"]
        answers[run.name] = read_answers(run, judged_on)
        rows.append(row_of(run, judged_on, answers[run.name]))
    rows.sort(key=lambda row: -row["metrics"][metric])
    answers = {row["name"]: answers[row["name"]] for row in rows}
    pairs = pairs_of(answers, metric, resamples, confidence, seed)
    comparison = {
        "metric": metric,
        "runs": rows,
        "pairs": pairs,
        "unpaired": unpaired(rows, answers),
        "warnings": _warnings(rows, pairs),
        "settings": {"resamples": resamples, "confidence": confidence, "seed": seed},
        "definitions": {name: DEFINITIONS[name] for name in METRICS},
    }
    if output is not None:
        _write(comparison, Path(output))
    return comparison


def _warnings(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the table alone would get wrong."""
    told = [f"{row['name']}: LEAKY: {row['protocol']['leak']}" for row in rows if row["protocol"]["leak"]]
    for row in rows:
        if row["protocol"]["heard_before"] and not row["protocol"]["leak"]:
            told.append(f"{row['name']}: judged on speakers that it heard in training.")
        if row["protocol"]["heard_before"] is None and not row["protocol"]["leak"]:
            told.append(f"{row['name']}: nobody knows whether it heard these speakers in training.")
    if len({row["protocol"]["sha256"] for row in rows}) > 1:
        told.append("The runs have several protocols: figures from different ones rank nothing.")
    if any(row["part"] == "validation" for row in rows):
        told.append("Validation chose the checkpoints that it judges here, which flatters them.")
    counted = sorted({pair["speakers"] for pair in pairs if pair["speakers"] and pair["speakers"] < FEW_SPEAKERS})
    if counted:
        words = " and ".join(map(str, counted)) + (" speaker" if counted == [1] else " speakers")
        told.append(
            f"Differences on {words}: intervals and p-values over so few promise too much, and those over clips alone "
            "say nothing about other speakers."
        )
    if any(any("training" in note for note in pair["notes"]) for pair in pairs):
        told.append("A run trained once is compared as it is: what another seed would change is not counted.")
    paired = {pair[side] for pair in pairs for side in ("a", "b")}
    if any(row["name"] in paired and row["repeats"] and row["repeats"]["kind"] == "folds" for row in rows):
        told.append("Pairs have the folds' clips taken together; the table has the mean over folds.")
    if len({row["confidence"] for row in rows}) > 1:
        told.append("The reports' intervals have different confidence levels.")
    if len({row["machine"] for row in rows if row["machine"]}) > 1:
        told.append("Seconds are of different machines.")
    return told


def _require_ours(folder: Path) -> None:
    """Only an empty place, or what an earlier comparison wrote, is written over."""
    if folder.is_file():
        raise UserError(f"--output: {folder} is a file; name a folder")
    strange = sorted({child.name for child in folder.iterdir()} - {*FILES}) if folder.is_dir() else []
    if strange:
        raise UserError(f"--output: {folder} holds {strange[0]}, which no comparison wrote; choose another folder")


def _write(comparison: Mapping[str, Any], folder: Path) -> None:
    from ..report.plots import save_figure
    from .compare_page import bars_figure, page

    with atomic_folder(folder, "--output") as partial:
        figure = bars_figure(comparison["runs"], comparison["metric"])
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        (partial / "comparison.csv").write_text(table(comparison["runs"]), encoding="utf-8")
        text = json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "comparison.json").write_text(text + "\n", encoding="utf-8")
        picture = (partial / "comparison.svg").read_bytes()
        (partial / "index.html").write_text(page(comparison, picture), encoding="utf-8")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a run, as CSV."""
    lines = []
    for row in rows:
        line = {"name": row["name"], "source": row["source"], "part": row["part"]}
        line |= {f"protocol_{key}": row["protocol"][key] for key in ("name", "sha256", "leak")}
        line |= {"clips": row["clips"], "speakers": row["speakers"]}
        for metric in METRICS:
            low, high = row["intervals"].get(metric, (None, None))
            line |= {metric: row["metrics"][metric], f"{metric}_low": low, f"{metric}_high": high}
            line[f"{metric}_deviation"] = row["deviations"].get(metric)
        line |= row["repeats"] or {"kind": None, "number": None}
        line |= {name: row[name] for name in ("parameters", "learning")}
        line |= {f"{name}_seconds": value for name, value in row["seconds"].items()}
        lines.append(line | {"machine": row["machine"]})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula has an apostrophe before it, as is usual there."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
