"""A run as a line of the comparison: figures, protocol, spread over seeds or folds, and what it cost."""

from typing import Any

import numpy as np

from ..errors import UserError
from ..evaluation.intervals import bootstrap_intervals
from ..evaluation.paired import METRICS
from .saved_runs import Answers, SavedRun


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
