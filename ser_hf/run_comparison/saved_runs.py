"""Runs as they are saved: a report, and where the run's folder is at hand the answer to every clip."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..evaluation.judged import from_table
from ..run_folder import RunFolder
from ..strict import read_text

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
        from ..reproduction import find_saved

        saved = find_saved(source)  # on the Hub, or it says why not
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
