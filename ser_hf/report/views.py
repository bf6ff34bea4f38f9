"""What each section of the page shows, from a report as plain values; None where there is nothing to show."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metrics import DEFINITIONS, NAMES
from . import text

# A column with more values than this scrolls.
TALL = 14
# Of the metrics, those that small tables have room for.
SHORT = ("uar", "wa", "macro_f1", "weighted_f1")


def results(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every metric with its definition, intervals and deviation."""
    definitions = {**report.get("definitions", {}), **DEFINITIONS}
    return [
        {
            "name": NAMES.get(key, key),
            "definition": definitions.get(key, ""),
            "value": value,
            "interval": report.get("intervals", {}).get(key),
            "clip_interval": report.get("clip_intervals", {}).get(key),
            "deviation": report.get("deviations", {}).get(key),
            "pooled": report.get("pooled", {}).get("metrics", {}).get(key),
        }
        for key, value in report["metrics"].items()
    ]


def protocol(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """People and audit in words, the counts behind them, and who they are."""
    own, audit = report["protocol"], report["audit"]
    if not own.get("parts"):
        return None
    kinds = list(dict.fromkeys(kind for counts in audit.get("shared", {}).values() for kind in counts))
    return {
        "people": text.people(report),
        "shared": text.shared(report),
        "notes": own.get("notes", []),
        "name": own.get("name"),
        "sha256": own.get("sha256"),
        "parts": own["parts"],
        "kinds": kinds,
        "counts": audit.get("shared", {}),
        "several": bool(own.get("folds")),
    }


def classes(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Clips of each class (rows) in each part (columns), `share` of the part's largest class."""
    parts = report.get("class_distribution")
    if not parts:
        return None
    largest = {part: max(1, *counts.values()) for part, counts in parts.items()}
    rows = {
        label: [{"clips": counts[label], "share": counts[label] / largest[part]} for part, counts in parts.items()]
        for label in report["labels"]
    }
    return {"parts": {part: sum(counts.values()) for part, counts in parts.items()}, "rows": rows}


def training(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same weights on each part, the judged one last."""
    parts = {part: scores for part, scores in report.get("parts", {}).items() if part != report["judged_on"]}
    if not parts:
        return None
    parts[report["judged_on"]] = report["metrics"]
    metrics = {key: NAMES[key] for key in SHORT[:3] if all(key in scores for scores in parts.values())}
    return {"parts": parts, "metrics": metrics, "model": report.get("model", {})}


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], verb: str = "heard as") -> list[dict[str, Any]]:
    """A row a true class that has clips: cells with count, share of the row, the sentence that tells them, and how
    dark they are."""
    rows = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = sum(row)
        cells = []
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            told = f"{name} {verb} {names[j]}: {count:,} of {total:,}"
            cells.append({"count": count, "share": share, "told": told, "right": i == j, "depth": _depth(share)})
        rows.append({"label": name, "cells": cells, "total": total})
    return rows


def _depth(share: float) -> str:
    """Where the ink must change for a contrast of 4.5: on a light ground later than on a dark one."""
    return "deep" if share > 0.73 else "middle" if share > 0.575 else ""


def slices(report: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """A table for each column, speakers from the worst to the best, with the gap in words."""
    tables = []
    for column, values in report.get("slices", {}).items():
        rows = [{"value": value, **row} for value, row in values.items()]
        if column == "speaker":
            rows.sort(key=lambda row: row["uar"])
        title = column.replace("_", " ")
        gap = _gap(report, column, rows)
        tables.append({"title": title, "rows": rows, "gap": gap, "tall": len(rows) > TALL})
    return tables or None


def _gap(report: Mapping[str, Any], column: str, rows: Sequence[Mapping[str, Any]]) -> str:
    own = report.get("gaps", {}).get(column)
    if own is None and "gaps" in report:
        return "Too few clips or speakers to tell best and worst."
    if own is None:
        worst, best = (pick(rows, key=lambda row: row["uar"]) for pick in (min, max))
        own = {"worst": worst["value"], "best": best["value"], "gap": best["uar"] - worst["uar"]}
    uar = {row["value"]: row["uar"] for row in rows}
    told = (
        f"Lowest: {own['worst']} with UAR {uar[own['worst']]:.3f}; highest: {own['best']} with "
        f"{uar[own['best']]:.3f}; a gap of {own['gap']:.3f}"
    )
    if own.get("interval"):
        low, high = own["interval"]
        told += f" ({100 * report.get('confidence', 0.95):g} % interval {low:.3f} to {high:.3f})".replace("-", "−")
    return told + "."


def corpora(report: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """A row a corpus, with what it takes for what, and its confusion."""
    rows = []
    for corpus, own in (report.get("corpora") or {}).items():
        taken = [
            f"{one['label']} for {one['taken_for']} ({100 * one['share']:.0f} %)"
            + (f", no label of {corpus}" if one["foreign"] else "")
            for one in own["collisions"][:3]
        ]
        kept = [row for row in confusion(own["confusion"], report["labels"]) if row["total"]]
        rows.append({"corpus": corpus, **own, "taken": "; ".join(taken) or "none", "confusion": kept})
    return rows or None


def foil(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The leaky protocol's figures beside the run's own."""
    own = report.get("foil")
    if not own:
        return None
    # Older reports say what they hold the foil against by its own figures alone.
    against = own.get("against", report["metrics"])
    rows = [
        {"name": NAMES[key], "honest": against[key], "leaky": own["metrics"][key], "gap": own["gap"][key]}
        for key in SHORT
        if key in own["gap"] and key in against
    ]
    return {"protocol": own["protocol"], "rows": rows, "flatters": own["gap"]["uar"] > 0}


def runs(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row a fold or seed."""
    folds, seeds = report["protocol"].get("folds"), report.get("seeds")
    if not folds and not seeds:
        return None
    kind = "fold" if folds else "seed"
    rows = []
    for number, own in (folds or seeds).items():
        judged = own.get("parts", {}).get(report["judged_on"])
        validation = own.get("validation", {}).get("uar")
        clips = judged and judged["clips"]
        rows.append({"tested": None} | own | {"number": number, "clips": clips, "validation": validation})
    return {
        "kind": kind,
        "rows": rows,
        "chosen": report.get(f"chosen_{kind}"),
        "deviations": report.get("deviations", {}),
    }


def perceived(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answers against the other label that the corpus knows of its clips."""
    own = report.get("perceived")
    if not own:
        return None
    label = "intended" if own["by"] == "perceived" else "perceived"
    rows = [
        {"name": NAMES[key], "own": own["same_clips"][key], "other": own["metrics"][key]}
        for key in SHORT
        if key in own["metrics"]
    ]
    names = report["labels"]
    heard = confusion(own["counts"], names, "was perceived as" if own["by"] == "perceived" else "was meant as")
    return {**own, "label": label, "rows": rows, "table": [row for row in heard if row["total"]]}


def robustness(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The conditions by kind, and those that cost most."""
    own = report.get("robustness")
    if not own:
        return None
    worst = max(own["conditions"], key=lambda condition: condition["drop"], default=None)
    return {**own, "worst": worst}


def calibration(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The reliability bins that hold clips, and the temperature in words."""
    own = report.get("calibration")
    if not own:
        return None
    bins = [one for one in own["bins"] if one["clips"]]
    clips = sum(one["clips"] for one in bins)
    confidence, accuracy = (sum(one["clips"] * one[key] for one in bins) / clips for key in ("confidence", "accuracy"))
    return {
        "ece": own["ece"],
        "bins": bins,
        "confidence": confidence,
        "accuracy": accuracy,
        "temperature": text.temperature(report),
    }


def cost(report: Mapping[str, Any]) -> dict[str, str] | None:
    """What it took, by name."""
    model, seconds, machine = (report.get(key, {}) for key in ("model", "seconds", "environment"))
    own = report.get("training", {})
    told = {
        "Parameters": f"{model['parameters']:,}" if "parameters" in model else None,
        "Of them learnt": f"{model['learning']:,}" if "learning" in model else None,
        "Preparing audio": duration(seconds.get("preparation")),
        "Training": duration(seconds.get("training")),
        "An epoch": duration(seconds.get("per_epoch")),
        "Judging": duration(seconds.get("judgement")),
        "Energy": energy(report.get("energy")),
        "Precision": own.get("precision"),
        "Clips a step": f"{own['clips_per_step']:,}" if "clips_per_step" in own else None,
        "Strategy": own.get("strategy"),
        "Machine": machine.get("accelerator") or machine.get("processor"),
        "Cores": f"{machine['cores']}" if "cores" in machine else None,
        "Threads": f"{machine['threads']}" if "threads" in machine else None,
        "Processes": str(machine["processes"]) if machine.get("processes", 1) > 1 else None,
    }
    return {name: value for name, value in told.items() if value} or None


def environment(report: Mapping[str, Any]) -> dict[str, str] | None:
    """Versions, platform and revision, by name."""
    own = report.get("environment", {})
    told = {name: version for name, version in own.get("versions", {}).items() if version}
    told |= {"platform": own.get("platform"), "git revision": own.get("git_revision")}
    return {name: value for name, value in told.items() if value} or None


def energy(own: Mapping[str, Any] | None) -> str | None:
    """What a training took from the socket, where it was measured."""
    if not own:
        return None
    amount = f"{own['kwh']:.3g} kWh" if own["kwh"] >= 0.1 else f"{1000 * own['kwh']:.3g} Wh"
    told = f"{amount} in training, estimated by {own['measured_by']}"
    if own.get("emissions_kg") is not None:
        told += f"; {1000 * own['emissions_kg']:.3g} g of CO2 equivalents on the grid of {own['country']}"
    return told


def duration(seconds: float | None) -> str | None:
    """Seconds as people say them."""
    if seconds is None:
        return None
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def cite(report: Mapping[str, Any], corpus: Mapping[str, Any] | None) -> dict[str, Any]:
    """A sentence for a paper, BibTeX of the toolkit, and what the corpora ask to be cited as."""
    machine = report.get("environment", {})
    fields = {
        "title": "{ser_hf}: fine-tune, judge and publish speech emotion recognisers on the Hugging Face stack",
        "author": "{The ser_hf developers}",
        "version": machine.get("versions", {}).get("ser_hf"),
        "note": machine.get("git_revision") and f"Revision {machine['git_revision'][:12]}",
        "license": "Apache-2.0",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return {"sentence": _sentence(report), "bibtex": "\n".join(["@software{ser_hf,", *lines, "}"]), "corpus": corpus}


def _sentence(report: Mapping[str, Any]) -> str:
    metrics, protocol = report["metrics"], report["protocol"]
    judged = protocol.get("parts", {}).get(report["judged_on"])
    told = f"{report['name']}: UAR {metrics['uar']:.3f}"
    if report.get("intervals", {}).get("uar"):
        low, high = report["intervals"]["uar"]
        drawn = f" over {text.counted(len(judged['speakers']), 'speaker')} and their clips" if judged else ""
        level = f"{100 * report.get('confidence', 0.95):g} % interval"
        told += f" ({level} {low:.3f} to {high:.3f}, hierarchical bootstrap{drawn})"
    told += f", macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}"
    runs = protocol.get("folds") or report.get("seeds")
    if runs:
        told += f", mean of {len(runs)} {'folds' if protocol.get('folds') else 'seeds'}"
    told += f"; {len(report['labels'])} classes; protocol {protocol.get('name', 'unnamed')}"
    if protocol.get("leak"):
        told += " (leaky: speakers are shared with the training part)"
    if protocol.get("sha256"):
        told += f", split {protocol['sha256'][:16]}"
    return told + (f", judged on the {report['judged_on']} part." if report["judged_on"] != "test" else ".")
