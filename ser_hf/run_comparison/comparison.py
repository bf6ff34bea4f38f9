"""The comparison itself: runs read, figures gathered, differences tested, cautions told, files written."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..evaluation.intervals import FEW_SPEAKERS
from ..evaluation.metrics import DEFINITIONS
from ..evaluation.paired import METRICS
from ..whole import whole_folder
from .pairs import pairs_of, unpaired
from .rows import row_of
from .saved_runs import read_answers, read_runs

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
    from ..evaluation.plots import save_figure
    from .bars import bars_figure
    from .page import page

    with whole_folder(folder, "--output") as partial:
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
