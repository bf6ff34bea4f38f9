"""Two runs of one recipe compared: protocol, recipe, figures, predictions, environment, and the verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What decides the verdict.
HEADLINE = ("uar", "macro_f1", "wa")
# Keys that say where things stand, not what is learnt, and who saved it.
_PLACES = ("output_dir", "corpus.root", "corpus.download", "audio.cache_dir", "provenance")


def compare(
    saved_recipe: Mapping[str, Any],
    saved: Mapping[str, Any],
    recipe: Mapping[str, Any],
    report: Mapping[str, Any],
    predictions: tuple[Path | None, Path],
    tolerance: float,
) -> dict[str, Any]:
    """The comparison of a saved run with its rerun; `ser_hf.reproduction.reproduce` says what it holds.

    Args:
        saved_recipe, saved: the resolved recipe and the report of the saved run.
        recipe, report: the rerun's; the report without `metrics` as long as it is not trained.
        predictions: both runs' predictions.parquet, where they are.
    """
    then, now = saved["protocol"], report["protocol"]
    same_clips = then["clips"] == now["clips"] if then.get("clips") and now.get("clips") else None
    changed, added = _differing(saved_recipe, recipe)
    comparison: dict[str, Any] = {
        "protocol": {
            "name": now["name"],
            "sha256": _pair(then["sha256"], now["sha256"]) | {"equal": then["sha256"] == now["sha256"]},
            "clips": _pair(then.get("clips"), now.get("clips")) | {"equal": same_clips},
        },
        "recipe": changed,
        "added": added,
        "recordings": _other_recordings(saved, report),
        "environment": _differing(saved["environment"], report["environment"])[0],
        "tolerance": tolerance,
        "trained": "metrics" in report,
    }
    comparison["incomparable"] = _incomparable(saved, report, comparison)
    nothing = {"figures": [], "missing": [], "predictions": None}
    if comparison["incomparable"] or not comparison["trained"]:
        return comparison | nothing | _verdict(False, False, tolerance)

    figures, missing = _figures(saved, report)
    alike = _same_predictions(*predictions)
    differences = {(row["of"], row["metric"]): abs(row["difference"]) for row in figures}
    # The subtraction's own rounding is no difference.
    within = all(differences[report["judged_on"], name] <= tolerance + 1e-12 for name in HEADLINE)
    same_heard = same_clips is not False and not comparison["recordings"]
    exact = not missing and same_heard and not any(differences.values())
    exact = exact and all(part["same"] == 1 for part in (alike or {}).values())
    found = {"figures": figures, "missing": missing, "predictions": alike}
    return comparison | found | _verdict(exact, within, tolerance)


def _verdict(exact: bool, within: bool, tolerance: float) -> dict[str, Any]:
    words = f"reproduced within {tolerance:g}" if within else "NOT reproduced"
    return {"verdict": "reproduced to the last digit" if exact else words, "reproduced": exact or within}


def _pair(saved: Any, now: Any) -> dict[str, Any]:
    return {"saved": saved, "now": now}


def _other_recordings(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Folders of augmentation that hold others than they did, by key; of older reports nothing is known."""
    then, here = saved.get("recordings", {}), now.get("recordings", {})
    return {key: _pair(then[key], here[key]) for key in then if key in here and then[key] != here[key]}


def _differing(saved: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> tuple[dict, dict]:
    """What differs, full key -> {saved, now}, and what only `now` has, full key -> value."""
    differing, added = {}, {}
    for name in sorted(saved.keys() | now.keys()):
        key, values = path + name, _pair(saved.get(name), now.get(name))
        if key in _PLACES:
            continue
        if all(isinstance(value, Mapping) for value in values.values()):
            inner, more = _differing(*values.values(), f"{key}.")
            differing, added = differing | inner, added | more
        elif name not in saved:
            added[key] = values["now"]
        elif values["saved"] != values["now"]:
            differing[key] = values
    return differing, added


def _incomparable(saved: Mapping[str, Any], now: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[str]:
    """Why the figures of the two runs say nothing of each other: what differs, and what may have made it so."""
    reasons = []
    if saved["judged_on"] != now["judged_on"]:
        reasons.append(f"judged on {now['judged_on']}, the saved run on {saved['judged_on']}")
    if saved["labels"] != now["labels"]:
        reasons.append(f"the classes are {', '.join(now['labels'])}, the saved run's {', '.join(saved['labels'])}")
    if comparison["protocol"]["sha256"]["equal"]:
        return reasons
    then, here = _clips(saved["protocol"]), _clips(now["protocol"])
    counts = [f"{part}: {here.get(part, 0)} clips, {then.get(part, 0)} then" for part in then | here]
    reasons.append(f"the parts hold other clips ({'; '.join(counts)})")
    changed = [key for key in comparison["recipe"] if key.startswith(("corpus.", "protocol."))]
    if changed:
        reasons.append(f"the likely cause: {', '.join(changed)} of the recipe")
    else:
        reasons.append("the likely cause: another release of the corpus, or files that were added or are missing")
    if {"versions.ser_hf", "git_revision"} & comparison["environment"].keys():
        reasons.append("or another version of ser_hf, whose rule or labels may differ")
    return reasons


def _clips(protocol: Mapping[str, Any]) -> dict[str, int]:
    """Clips of each part, of each fold where there are several."""
    folds = {f"fold {number}, ": own["parts"] for number, own in protocol.get("folds", {}).items()}
    folds = folds or {"": protocol.get("parts", {})}
    return {name + part: facts["clips"] for name, parts in folds.items() for part, facts in parts.items()}


def _figures(saved: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of {of, metric, saved, now, difference}, and what only the saved run measured."""
    then, here = _measured(saved), _measured(now)
    rows = []
    for of, metric in then:
        if (of, metric) in here:
            values = _pair(then[of, metric], here[of, metric])
            rows.append({"of": of, "metric": metric} | values | {"difference": values["now"] - values["saved"]})
    still = {of for of, _ in here}
    gone = [of if of not in still else f"{of} {metric}" for of, metric in then if (of, metric) not in here]
    return rows, list(dict.fromkeys(gone))


def _measured(report: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(of what, metric) -> figure: the headline first, then the other parts, pooled, each seed or fold, the foil."""
    judged = report["judged_on"]
    told = {judged: report["metrics"]}
    told |= {part: metrics for part, metrics in report["parts"].items() if part != judged}
    if report.get("pooled"):
        told["pooled"] = report["pooled"]["metrics"]
    for kind, runs in (("seed", report.get("seeds", {})), ("fold", report["protocol"].get("folds", {}))):
        for number, own in runs.items():
            told[f"{kind} {number}, {judged}"] = own["metrics"]
            told[f"{kind} {number}, validation"] = own["validation"]
    if report.get("foil"):
        foil = report["foil"]
        # Another draw is another foil.
        told[f"foil {foil['protocol']} {foil['sha256'][:8]}"] = foil["metrics"]
    return {(of, metric): value for of, metrics in told.items() for metric, value in metrics.items()}


def _same_predictions(saved: Path | None, now: Path) -> dict[str, dict[str, Any]] | None:
    """Of each part that was judged: clips (of each seed and fold), share of equal predicted classes, and the largest
    difference of a class's probability."""
    if saved is None or not (saved.is_file() and now.is_file()):
        return None
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in (saved, now)]
    keys = [name for name in ("part", "id", "fold", "seed") if name in tables[0].column_names]
    scores = [name for name in tables[0].column_names if name.startswith("p_")]
    if set(tables[0].column_names) != set(tables[1].column_names):
        return None
    then, here = ({tuple(row[key] for key in keys): row for row in table.to_pylist()} for table in tables)
    parts: dict[str, list[tuple[bool, float]]] = {}
    for key in (key for key in then if key in here):
        a, b = then[key], here[key]
        farthest = max(abs(a[name] - b[name]) for name in scores)
        parts.setdefault(a["part"], []).append((a["predicted"] == b["predicted"], farthest))
    return {
        part: {
            "clips": len(pairs),
            "same": sum(same for same, _ in pairs) / len(pairs),
            "probability": max(farthest for _, farthest in pairs),
        }
        for part, pairs in parts.items()
    }
