"""Reruns the recipe that was saved with a model and compares the results.

    comparison = reproduce("runs/ravdess_crnn", ["corpus.root=data/RAVDESS"])
    comparison["verdict"]  # "reproduced to the last digit", "reproduced within 0.005" or "NOT reproduced"

Results are comparable if the splits have the same clips, which the protocol's fingerprint shows before any training.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..report.report import Report, read_report
from ..utils.environment import PACKAGE
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .recipe import Recipe
from .recipe_checks import read_recipe

# The metrics that decide the verdict.
HEADLINE = ("uar", "macro_f1", "wa")
# Half of the second decimal, the last one that most papers print. On the 240 clips of four actors of RAVDESS it is one
# clip of WA, which the rounding of another processor may change.
TOLERANCE = 0.005
# Keys that name places and versions, and do not change the training.
_PLACES = ("output_dir", "corpus.root", "corpus.download", "audio.cache_dir", "provenance")


@dataclasses.dataclass(frozen=True)
class Saved:
    """A run or a published model: its resolved recipe and its report, and the path of the predictions of a run.
    `rerun_in` is the default folder of a rerun."""

    source: str
    recipe: dict[str, Any]
    report: Report
    predictions: Path | None
    rerun_in: Path


def reproduce(
    source: str | Path,
    overrides: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    tolerance: float = TOLERANCE,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Reruns a saved recipe and compares. Different splits are reported before anything is trained or written.

    Args:
        source: a run's folder, a published model's folder, or its id on the Hub.
        overrides: of the saved recipe, such as ``"corpus.root=data/RAVDESS"``.
        output: folder of the new run (default: NAME-reproduced beside a run, runs/NAME-reproduced otherwise).
        tolerance: largest difference of UAR, macro-F1 and WA that counts as reproduced.
        resume, overwrite: as `ser_hf.run_recipe`, for the new run.

    Returns:
        The content of report/reproduction.json of the new run: `protocol` (`sha256` and `clips`: saved, now, equal),
        `incomparable` (why figures cannot be compared), `trained`, `recipe`, `environment` and `recordings` ({key:
        {saved, now}} of the differences), `added` (keys that the saved recipe lacks), `figures` ({of, metric, saved,
        now, difference}), `missing` (figures of the saved run only), `predictions` ({split: {clips, same,
        probability}}: share of equal predicted classes, largest difference of a probability), `tolerance`, `verdict`
        and `reproduced`.

    Raises:
        UserError: naming the folder, id or key that is wrong.
    """
    if not 0 <= tolerance < math.inf:
        raise UserError(f"--tolerance: expected zero or more, got {tolerance}")
    saved = find_saved_run(source)
    recipe = _recipe(saved, overrides, output)
    folder = RunFolder(recipe.output_dir)
    there, here = Path(source).resolve(), folder.path.resolve()
    if Path(source).is_dir() and (here == there or here in there.parents or there in here.parents):
        raise UserError(f"output_dir: {folder.path} and {source} overlap; choose another folder (--output)")
    folder.check(recipe.to_dict(), resume, overwrite)
    if not (resume and folder.complete):
        comparison = compare(saved, recipe, _untrained(recipe, folder), tolerance)
        if comparison["incomparable"]:
            return comparison
    from .run import run

    with _threads(saved.report.environment.threads):
        comparison = compare(saved, recipe, run(recipe, resume=resume, overwrite=overwrite), tolerance)
    if os.environ.get("RANK", "0") == "0":
        partial = folder.report / "reproduction.partial"
        partial.write_text(json.dumps(comparison, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.rename(partial.with_suffix(".json"))
    return comparison


@contextlib.contextmanager
def _threads(saved: int | None) -> Iterator[None]:
    """The number of threads of the saved run, on which the order of additions and so the last digits depend."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(saved or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(saved: Saved, recipe: Recipe, report: Report, tolerance: float) -> dict[str, Any]:
    """The comparison of a saved run with its rerun, see `reproduce`; `report` has no metrics before training."""
    then, now = saved.report, report
    same_clips = then.protocol.clips == now.protocol.clips if then.protocol.clips and now.protocol.clips else None
    recipe_now = recipe.to_dict()
    changed, added = _differing(_known(saved.recipe, recipe_now), recipe_now)
    recordings, other = then.recordings or {}, now.recordings or {}
    comparison: dict[str, Any] = {
        "name": recipe.name,
        "source": saved.source,
        "output_dir": recipe.output_dir,
        "protocol": {
            "name": now.protocol.name,
            "sha256": _pair(then.protocol.sha256, now.protocol.sha256)
            | {"equal": then.protocol.sha256 == now.protocol.sha256},
            "clips": _pair(then.protocol.clips, now.protocol.clips) | {"equal": same_clips},
        },
        "recipe": changed,
        "added": added,
        "recordings": {
            key: _pair(own, other[key]) for key, own in recordings.items() if key in other and own != other[key]
        },
        "environment": _differing(then.environment.to_dict(), now.environment.to_dict())[0],
        "tolerance": tolerance,
        "trained": bool(now.metrics),
        "figures": [],
        "missing": [],
        "predictions": None,
    }
    comparison["incomparable"] = _incomparable(then, now, comparison)
    exact = within = False
    if comparison["trained"] and not comparison["incomparable"]:
        measured, here = _measured(then), _measured(now)
        rows = [
            {"of": of, "metric": metric, **_pair(value, here[of, metric]), "difference": here[of, metric] - value}
            for (of, metric), value in measured.items()
            if (of, metric) in here
        ]
        known = {of for of, _ in here}
        missing = [f"{of} {metric}" if of in known else of for of, metric in measured if (of, metric) not in here]
        alike = _same_predictions(saved.predictions, RunFolder(recipe.output_dir).report / "predictions.parquet")
        comparison |= {"figures": rows, "missing": list(dict.fromkeys(missing)), "predictions": alike}
        headline = [row for row in rows if row["of"] == now.evaluated_split and row["metric"] in HEADLINE]
        within = all(abs(row["difference"]) <= tolerance + 1e-12 for row in headline)  # 1e-12: rounding
        exact = not missing and same_clips is not False and not comparison["recordings"]
        exact = exact and not any(row["difference"] for row in rows)
        exact = exact and all(part["same"] == 1 for part in (alike or {}).values())
    words = f"reproduced within {tolerance:g}" if within else "NOT reproduced"
    verdict = "reproduced to the last digit" if exact else words
    return comparison | {"verdict": verdict, "reproduced": exact or within}


def _pair(saved: Any, now: Any) -> dict[str, Any]:
    return {"saved": saved, "now": now}


def _known(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The saved keys that this version has. Reading the saved recipe refuses a removed key unless it is off."""
    return {
        key: _known(value, now[key]) if isinstance(value, Mapping) and isinstance(now[key], Mapping) else value
        for key, value in saved.items()
        if key in now
    }


def _differing(saved: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> tuple[dict, dict]:
    """Differences, full key -> {saved, now}, and keys of `now` only, full key -> value."""
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


def _incomparable(then: Report, now: Report, comparison: Mapping[str, Any]) -> list[str]:
    """Why the figures of the two runs cannot be compared, and the likely causes."""
    reasons = []
    if then.evaluated_split != now.evaluated_split:
        reasons.append(f"evaluated on {now.evaluated_split}, the saved run on {then.evaluated_split}")
    if then.labels != now.labels:
        reasons.append(f"the classes are {', '.join(now.labels)}, the saved run's {', '.join(then.labels)}")
    if comparison["protocol"]["sha256"]["equal"]:
        return reasons
    before, here = _clips(then), _clips(now)
    counts = [f"{name}: {here.get(name, 0)} clips, {before.get(name, 0)} then" for name in before | here]
    reasons.append(f"the splits have other clips ({'; '.join(counts)})")
    changed = [key for key in comparison["recipe"] if key.startswith(("corpus.", "protocol."))]
    release = "another release of the corpus, or files that were added or are missing"
    reasons.append(f"the likely cause: {', '.join(changed) + ' of the recipe' if changed else release}")
    if {"versions.ser_hf", "git_revision"} & comparison["environment"].keys():
        reasons.append("or another version of ser_hf, whose rule or labels may differ")
    return reasons


def _clips(report: Report) -> dict[str, int]:
    """Clips of each split, of each fold if there are several."""
    folds = {f"fold {number}, ": own.parts for number, own in (report.protocol.folds or {}).items()}
    folds = folds or {"": report.protocol.parts}
    return {name + part: split.clips for name, parts in folds.items() for part, split in parts.items()}


def _measured(report: Report) -> dict[tuple[str, str], float]:
    """(of what, metric) -> figure: the headline first, then the other splits, pooled, each seed or fold, the foil."""
    scores = {report.evaluated_split: report.metrics} | {
        name: own for name, own in report.parts.items() if name != report.evaluated_split
    }
    if report.pooled:
        scores["pooled"] = report.pooled.metrics
    kind = "fold" if report.protocol.folds else "seed"
    for number, own in report.runs.items():
        scores[f"{kind} {number}, {report.evaluated_split}"] = own.metrics
        scores[f"{kind} {number}, validation"] = own.validation
    if report.foil:  # its fingerprint: figures of other foils are not comparable
        scores[f"foil {report.foil.protocol} {report.foil.sha256[:8]}"] = report.foil.metrics
    return {(of, metric): value for of, own in scores.items() for metric, value in own.items() if value is not None}


def _same_predictions(saved: Path | None, now: Path) -> dict[str, dict[str, Any]] | None:
    """By split: clips (of each seed and fold), share of equal predicted classes, largest difference of a
    probability; None if the tables are missing or differ in their columns."""
    import pandas as pd

    if saved is None or not (saved.is_file() and now.is_file()):
        return None
    then, here = pd.read_parquet(saved), pd.read_parquet(now)
    if set(then) != set(here):
        return None
    keys = [name for name in ("part", "id", "fold", "seed") if name in then]
    both = then.merge(here, on=keys, suffixes=("", "_now"))
    both["same"] = both["predicted"] == both["predicted_now"]
    scores = [name for name in then if name.startswith("p_")]
    both["probability"] = pd.concat([(both[name] - both[f"{name}_now"]).abs() for name in scores], axis=1).max(axis=1)
    return {
        part: {"clips": len(own), "same": float(own["same"].mean()), "probability": float(own["probability"].max())}
        for part, own in both.groupby("part", sort=False)
    }


def find_saved_run(source: str | Path) -> Saved:
    """The recipe and the report in a run's folder, a published model's folder, or a Hub repository.

    Raises:
        UserError: if there is none, or the run is unfinished.
    """
    folder = Path(source)
    if folder.is_file():
        raise UserError(f"{source}: a file; name the run's folder, a model folder or a Hub id")
    if not folder.is_dir():
        return _published(str(source), *_from_hub(str(source)))
    run = RunFolder(folder)
    if not run.recipe.is_file():
        raise UserError(f"{source}: has no recipe.yaml; name a run's folder, or a model that ser_hf has published")
    if run.complete:
        named = folder if folder.name not in ("", "..") else folder.resolve()
        beside = named.with_name(f"{named.name}-reproduced")
        report = _read_report(run.report / "report.json")
        return Saved(str(source), read_yaml(run.recipe), report, run.report / "predictions.parquet", beside)
    if (folder / "report.json").is_file():
        return _published(str(source), run.recipe, folder / "report.json")
    raise UserError(f"{source}: has a recipe, but no report to compare with; finish that run with --resume")


def _published(source: str, recipe: Path, report: Path) -> Saved:
    values = read_yaml(recipe)
    return Saved(source, values, _read_report(report), None, Path("runs", f"{values.get('name', 'run')}-reproduced"))


def _read_report(path: Path) -> Report:
    report = read_report(path)
    for name in HEADLINE:
        if report.metrics.get(name) is None:
            raise UserError(f"{path}: not a report of ser_hf: it lacks {name}")
    return report


def _from_hub(repository: str) -> tuple[Path, Path]:
    """recipe.yaml and report.json of one revision, from the Hub or its cache."""
    from huggingface_hub import errors, hf_hub_download

    try:
        recipe = Path(hf_hub_download(repository, "recipe.yaml"))
        # The cache keeps a file under its commit: the report of the same one.
        return recipe, Path(hf_hub_download(repository, "report.json", revision=recipe.parent.name))
    except (errors.HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
    raise UserError(f"{repository}: no such folder here, and no recipe.yaml and report.json on the Hub ({reason})")


def _recipe(saved: Saved, overrides: Iterable[str], output: str | Path | None) -> Recipe:
    """The saved recipe with overrides, in the folder of the new run."""
    folder = str(output if output is not None else saved.rerun_in)
    values = saved.recipe | {"output_dir": folder}
    try:
        read_recipe(values)
    except UserError as error:
        version = (saved.recipe.get("provenance") or {}).get("versions", {}).get("ser_hf", "of an unknown version")
        raise UserError(f"{error} ({saved.source} was saved by ser_hf {version}; use that version)") from None
    recipe = read_recipe(values, overrides)
    if output is not None and recipe.output_dir != folder:
        raise UserError(f"output_dir: {recipe.output_dir} by an override and {output} by --output; give one of them")
    return recipe


def _untrained(recipe: Recipe, folder: RunFolder) -> Report:
    """The report of the new run before training, without results."""
    from .context import RunContext
    from .data import load_experiment_data
    from .outputs import report_header

    level = PACKAGE.level
    PACKAGE.setLevel(logging.ERROR)  # the run logs it again
    try:
        data = load_experiment_data(recipe)
    except UserError as error:
        if any(str(error).startswith(key) for key in ("corpus.root", "model.checkpoint", "protocol.path", "augment.")):
            raise UserError(f"{error} (as in the saved recipe; override it, as in corpus.root=DIR)") from None
        raise
    finally:
        PACKAGE.setLevel(level)
    header = report_header(RunContext(recipe, data, data.folds, folder), {})
    return Report(**header, metrics={}, confusion=[])
