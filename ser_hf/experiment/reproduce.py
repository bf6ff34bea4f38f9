"""Reruns the recipe that was saved with a model and compares: splits before any training, then the
figures.
"""

import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..report.report import Report
from ..utils.environment import PACKAGE, usable_cores
from ..utils.errors import UserError
from ..utils.files import write_json
from ..utils.run_folder import RunFolder, flat
from .recipe import Recipe
from .recipe_checks import read_recipe
from .saved_runs import PREDICTION_KEYS, Saved, find_saved_run, read_predictions

TOLERANCE = 0.005  # half of the second decimal, the last one that most papers print
_MOST_THREADS = 4  # a core
# Keys that name places and versions, and do not change the training.
_PLACES = ("output_dir", "corpus.root", "corpus.download", "audio.cache_dir", "provenance")


def reproduce(
    source: str | Path,
    overrides: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    tolerance: float = TOLERANCE,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Rerun a saved recipe and return the content of report/reproduction.json of the new run.

    Different splits are reported before anything is trained or written.

    Args:
        source: a run's folder, a published model's folder, or its id on the Hub.
        output: folder of the new run (default: NAME-reproduced beside a run, runs/NAME-reproduced
            otherwise).
        tolerance: largest difference of UAR, WA and macro-F1, or of CCC, Pearson and MAE, that
            counts as reproduced.

    Raises:
        UserError: for a source that is not a saved run, other splits, or an unsuitable output
            folder.
    """
    if not 0 <= tolerance < math.inf:
        raise UserError(f"--tolerance: expected zero or more, got {tolerance}")
    saved = find_saved_run(source)
    values = saved.recipe | {"output_dir": str(output or saved.rerun_in)}
    try:
        read_recipe(values)
    except UserError as error:
        version = saved.report.environment.versions.get("ser_hf") or "of an unknown version"
        raise UserError(
            f"{error} ({saved.source} was saved by ser_hf {version}; use that version)"
        ) from None
    recipe = read_recipe(values, overrides)
    folder = RunFolder(recipe.output_dir)
    there = Path(source).resolve()
    here = folder.path.resolve()
    if Path(source).is_dir() and (here in (there, *there.parents) or there in here.parents):
        raise UserError(
            f"output_dir: {folder.path} and {source} overlap; choose another folder (--output)"
        )
    folder.check(recipe.to_dict(), resume, overwrite)
    if not (resume and folder.complete):
        comparison = compare(saved, recipe, _untrained(recipe, folder), tolerance)
        if comparison["incomparable"]:
            return comparison
    import torch

    from .run import run

    before = torch.get_num_threads()
    threads = saved.report.environment.threads
    # Their number decides the order of additions, and with it the last digits.
    torch.set_num_threads(
        threads if threads and threads <= _MOST_THREADS * usable_cores() else before
    )
    try:
        comparison = compare(
            saved, recipe, run(recipe, resume=resume, overwrite=overwrite), tolerance
        )
    finally:
        torch.set_num_threads(before)
    if os.environ.get("RANK", "0") == "0":
        write_json(folder.report / "reproduction.json", comparison)
    return comparison


def compare(saved: Saved, recipe: Recipe, report: Report, tolerance: float) -> dict[str, Any]:
    """The comparison of a saved run with its rerun; `report` has no metrics before training.

    `missing` are figures of the saved run only, `predictions` is the share of equal predicted
    classes.
    """
    then = saved.report
    now = report
    before = read_recipe(saved.recipe | {"output_dir": recipe.output_dir})
    fingerprints = {}
    for key in ("sha256", "clips"):
        own = getattr(then.protocol, key)
        other = getattr(now.protocol, key)
        fingerprints[key] = _pair(own, other) | {"equal": own == other if own and other else None}
    comparison: dict[str, Any] = {
        "name": recipe.name,
        "source": saved.source,
        "output_dir": recipe.output_dir,
        "protocol": {"name": now.protocol.name} | fingerprints,
        "recipe": _differing(before.to_dict(), recipe.to_dict()),
        "environment": _differing(then.environment.to_dict(), now.environment.to_dict()),
        "tolerance": tolerance,
        "trained": bool(now.metrics),
    }
    reasons = []
    if then.evaluated_split != now.evaluated_split:
        reasons.append(
            f"evaluated on {now.evaluated_split}, the saved run on {then.evaluated_split}"
        )
    if then.labels != now.labels:
        reasons.append(
            f"the classes are {', '.join(now.labels)}, the saved run's {', '.join(then.labels)}"
        )
    if then.model.revision and then.model.revision != now.model.revision:
        weights = f"{now.model.revision or 'random'}, the saved run's {then.model.revision}"
        reasons.append(
            f"the weights that training starts from are {weights}; set model.checkpoint or model.revision"
        )
    if not fingerprints["sha256"]["equal"]:
        changed = ", ".join(
            key for key in comparison["recipe"] if key.startswith(("corpus.", "protocol."))
        )
        reasons.append(
            f"the splits have other clips; the likely cause: {changed or 'another release of the corpus'}"
        )
    rows = []
    missing = []
    agreement = None
    exact = False
    within = False
    if comparison["trained"] and not reasons:
        measured = _measured(then)
        here = _measured(now)
        rows = [
            {
                "of": of,
                "metric": metric,
                **_pair(value, here[of, metric]),
                "difference": here[of, metric] - value,
            }
            for (of, metric), value in measured.items()
            if (of, metric) in here
        ]
        missing = [f"{of} {metric}" for of, metric in measured if (of, metric) not in here]
        table = RunFolder(recipe.output_dir).report / "predictions.parquet"
        agreement = _same_predictions(saved.predictions, then, table, now)
        headline = [
            row
            for row in rows
            if row["of"] == now.evaluated_split and row["metric"] in now.measured.headline[:3]
        ]
        # 1e-12: rounding
        within = all(abs(row["difference"]) <= tolerance + 1e-12 for row in headline)
        exact = not (missing or any(row["difference"] for row in rows))
        exact = exact and fingerprints["clips"]["equal"] is not False and agreement in (None, 1)
    verdict = f"reproduced within {tolerance:g}" if within else "NOT reproduced"
    verdict = "reproduced to the last digit" if exact else verdict
    comparison |= {
        "incomparable": reasons,
        "figures": rows,
        "missing": missing,
        "predictions": agreement,
    }
    return comparison | {"verdict": verdict, "reproduced": exact or within}


def _pair(saved: Any, now: Any) -> dict[str, Any]:
    return {"saved": saved, "now": now}


def _differing(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    then = flat(saved)
    here = flat(now)
    keys = [key for key in sorted(then.keys() | here.keys()) if not key.startswith(_PLACES)]
    return {
        key: _pair(then.get(key), here.get(key)) for key in keys if then.get(key) != here.get(key)
    }


def _measured(report: Report) -> dict[tuple[str, str], float]:
    """{(kind, metric): value}, where the kind names a split, or a seed or fold."""
    scores = report.parts | {report.evaluated_split: report.metrics}
    kind = "fold" if report.protocol.folds else "seed"
    scores |= {
        f"{kind} {number}, {report.evaluated_split}": own.metrics
        for number, own in report.runs.items()
    }
    return {
        (of, metric): value
        for of, own in scores.items()
        for metric, value in own.items()
        if value is not None
    }


def _same_predictions(saved: Path | None, then: Report, now: Path, here: Report) -> float | None:
    """The share of equal predicted classes of all splits, seeds and folds; None if a table is
    missing.
    """
    if saved is None or not (saved.is_file() and now.is_file()):
        return None
    one = read_predictions(saved, then)
    other = read_predictions(now, here)
    both = one.merge(
        other,
        on=[name for name in PREDICTION_KEYS if name in one and name in other],
        suffixes=("", "_now"),
    )
    columns = [f"p_{name}" for name in here.labels] if here.ranges else ["predicted"]
    equal = np.all([both[name] == both[f"{name}_now"] for name in columns], axis=0)
    return float(equal.mean()) if len(both) else None


def _untrained(recipe: Recipe, folder: RunFolder) -> Report:
    """The report of the new run before training, without results."""
    from .context import RunContext
    from .data import load_experiment_data
    from .sections import report_header

    level = PACKAGE.level
    PACKAGE.setLevel(logging.ERROR)  # the run logs it again
    try:
        data = load_experiment_data(recipe)
    except UserError as error:
        if any(
            str(error).startswith(key)
            for key in ("corpus.root", "model.checkpoint", "protocol.path", "augment.")
        ):
            raise UserError(
                f"{error} (as in the saved recipe; override it, as in corpus.root=DIR)"
            ) from None
        raise
    finally:
        PACKAGE.setLevel(level)
    header = report_header(RunContext(recipe, data, data.folds, folder))
    return Report(**header.filled(), metrics={})
