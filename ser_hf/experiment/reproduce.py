"""Rerun the recipe that was saved with a model, and say whether the same figures come out.

    comparison = reproduce("runs/ravdess_crnn", ["corpus.root=data/RAVDESS"])
    comparison["verdict"]  # "reproduced to the last digit", "reproduced within 0.005" or "NOT reproduced"

Figures are comparable where the same clips stand in the same parts, which the protocol's fingerprint tells before
anything is trained.
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

from ..utils.environment import PACKAGE, environment
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_text, read_yaml
from .recipe import Recipe
from .recipe_checks import read_recipe

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
    """The comparison of a saved run with its rerun; `ser_hf.experiment.reproduce.reproduce` says what it holds.

    Args:
        saved_recipe, saved: the resolved recipe and the report of the saved run.
        recipe, report: the rerun's; the report without `metrics` as long as it is not trained.
        predictions: both runs' predictions.parquet, where they are.
    """
    then, now = saved["protocol"], report["protocol"]
    same_clips = then["clips"] == now["clips"] if then.get("clips") and now.get("clips") else None
    changed, added = _differing(_known(saved_recipe, recipe), recipe)
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


def _known(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The saved keys that this version has. Reading the saved recipe refuses a removed key unless it is off."""
    return {
        key: _known(value, now[key]) if isinstance(value, Mapping) and isinstance(now[key], Mapping) else value
        for key, value in saved.items()
        if key in now
    }


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
    return {
        (of, metric): value for of, metrics in told.items() for metric, value in metrics.items() if value is not None
    }


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


# Half of the second decimal, the last one that most papers print. On the 240 clips of four actors of RAVDESS it is one
# clip of WA: what another processor's rounding may turn over, and far below the spread over seeds.
TOLERANCE = 0.005


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a run or a published model says of itself: its resolved recipe and its report, and where a run has it the
    table of its predictions. `rerun_in` is where a rerun goes by default."""

    source: str
    recipe: dict[str, Any]
    report: dict[str, Any]
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
    """Reruns a saved recipe and compares. A split that differs is told before anything is trained or written.

    Args:
        source: a run's folder, a model folder as published, or the id of one on the Hub.
        overrides: of the saved recipe, such as ``"corpus.root=data/RAVDESS"``; told where they change what is learnt.
        output: folder of the new run (default: NAME-reproduced beside a run, runs/NAME-reproduced otherwise).
        tolerance: largest difference of UAR, macro-F1 and WA that still counts as reproduced.
        resume, overwrite: as `ser_hf.run_recipe`, of the new run.

    Returns:
        The comparison, as report/reproduction.json of the new run holds it: `protocol` (`sha256` and `clips`: saved,
        now, equal), `incomparable` (why figures cannot be compared; empty where they can), `trained`, `recipe` and
        `environment` ({key: {saved, now}} of what differs), `added` (keys that the saved recipe does not have),
        `recordings` ({key: {saved, now}} of augmentation's folders that hold others than they did),
        `figures` (a list of {of, metric, saved, now, difference}), `missing` (what the saved run alone measured),
        `predictions` ({part: {clips, same, probability}}: share of equal predicted classes, largest difference of a
        probability; null where not both tables are at hand), `tolerance`, `verdict` and `reproduced`.

    Raises:
        UserError: naming the folder, id or key that is wrong.
    """
    if not 0 <= tolerance < math.inf:
        raise UserError(f"--tolerance: expected zero or more, got {tolerance}")
    saved = find_saved_run(source)
    recipe = _recipe(saved, overrides, output)
    folder = RunFolder(recipe.output_dir)
    _require_apart(source, folder.path)
    folder.check(recipe.to_dict(), resume, overwrite)
    if not (resume and folder.complete):
        comparison = _compared(saved, recipe, _head(recipe), tolerance)
        if comparison["incomparable"]:
            return comparison
    from .run import run

    with _threads(saved.report["environment"].get("threads")):
        # As JSON holds it: the same types on both sides.
        report = _with_kept(json.loads(json.dumps(run(recipe, resume=resume, overwrite=overwrite))), folder)
    comparison = _compared(saved, recipe, report, tolerance)
    if os.environ.get("RANK", "0") == "0":
        partial = folder.report / "reproduction.partial"
        partial.write_text(json.dumps(comparison, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.rename(partial.with_suffix(".json"))
    return comparison


@contextlib.contextmanager
def _threads(saved: int | None) -> Iterator[None]:
    """As many threads as the saved run had: they decide in which order numbers are added, `accelerate launch` gives
    each process one, and a training carries the last digit on into the first."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(saved or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compared(saved: Saved, recipe: Recipe, report: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    here = {"name": recipe.name, "source": saved.source, "output_dir": recipe.output_dir}
    tables = (saved.predictions, RunFolder(recipe.output_dir).report / "predictions.parquet")
    return here | compare(saved.recipe, saved.report, recipe.to_dict(), report, tables, tolerance)


def find_saved_run(source: str | Path) -> Saved:
    """The recipe and the report in a run's folder, a published model folder, or a Hub repository.

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
        raise UserError(f"{source}: holds no recipe.yaml; name a run's folder, or a model that ser_hf has published")
    if run.complete:
        report = _with_kept(_read_report(run.report / "report.json"), run)
        named = folder if folder.name not in ("", "..") else folder.resolve()
        beside = named.with_name(f"{named.name}-reproduced")
        return Saved(str(source), read_yaml(run.recipe), report, run.report / "predictions.parquet", beside)
    if (folder / "report.json").is_file():
        return _published(str(source), run.recipe, folder / "report.json")
    raise UserError(f"{source}: holds a recipe, but no report to compare with; finish that run with --resume")


def _with_kept(report: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """The report, and from beside it the digests of what was heard, where it does not hold them itself."""
    if run.split.is_file():
        kept = json.loads(read_text(run.split))
        report["protocol"].setdefault("clips", kept.get("clips"))
        report.setdefault("recordings", kept.get("recordings", {}))
    return report


def _published(source: str, recipe: Path, report: Path) -> Saved:
    values = read_yaml(recipe)
    return Saved(source, values, _read_report(report), None, Path("runs", f"{values.get('name', 'run')}-reproduced"))


def _from_hub(repository: str) -> tuple[Path, Path]:
    """recipe.yaml and report.json of one revision, as the Hub or its cache has them."""
    from huggingface_hub import errors, hf_hub_download

    try:
        recipe = Path(hf_hub_download(repository, "recipe.yaml"))
        # The cache keeps a file under its commit: the report of the same one.
        return recipe, Path(hf_hub_download(repository, "report.json", revision=recipe.parent.name))
    except errors.HFValidationError:
        reason = "and no Hub id either (they read owner/name)"
    except errors.RepositoryNotFoundError:
        reason = "and no such model on the Hub, or none that this account may read"
    except errors.LocalEntryNotFoundError:
        reason = "and the Hub is out of reach (offline, or HF_HUB_OFFLINE is set), its cache without its recipe"
    except errors.EntryNotFoundError:
        reason = "and the Hub's model holds no recipe.yaml with report.json: not one that ser_hf has published"
    except OSError as error:
        reason = f"and the Hub says: {' '.join(str(error).split())}"
    raise UserError(f"{repository}: no such folder here, {reason}")


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(read_text(path))
        known = [report["judged_on"], report["labels"], report["parts"], report["environment"]]
        known += [report["protocol"]["sha256"], *(report["metrics"][name] + 0.0 for name in HEADLINE)]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a report of ser_hf ({type(error).__name__}: {error})") from None
    return report


def _recipe(saved: Saved, overrides: Iterable[str], output: str | Path | None) -> Recipe:
    """The saved recipe with its overrides, in the folder of the new run. Raises a `UserError` naming the key, and the
    version that saved it where the saved recipe itself cannot be read."""
    folder = str(output if output is not None else saved.rerun_in)
    values, overrides = saved.recipe | {"output_dir": folder}, list(overrides)
    try:
        recipe = read_recipe(values, overrides)
    except UserError as error:
        if _reads(values):
            raise  # the overrides' own mistake
        made_with, here = saved.recipe.get("provenance") or {}, environment()
        raise UserError(
            f"{error} ({saved.source} was saved by {_version(made_with)}, this is {_version(here)}; rerun it with the "
            "version that saved it)"
        ) from None
    if output is not None and recipe.output_dir != folder:
        raise UserError(f"output_dir: {recipe.output_dir} by an override and {output} by --output; give one of them")
    return recipe


def _reads(values: Mapping[str, Any]) -> bool:
    try:
        read_recipe(values)
    except UserError:
        return False
    return True


def _version(made_with: Mapping[str, Any]) -> str:
    version = made_with.get("versions", {}).get("ser_hf") or "of an unknown version"
    revision = made_with.get("git_revision")
    return f"ser_hf {version}" + (f" (revision {revision[:12]})" if revision else "")


def _require_apart(source: str | Path, output: Path) -> None:
    """The saved run stays as it is, whatever --overwrite clears."""
    there, here = Path(source).resolve(), output.resolve()
    if Path(source).is_dir() and (here == there or here in there.parents or there in here.parents):
        raise UserError(f"output_dir: {output} and {source} lie in one another; choose another folder (--output)")


def _head(recipe: Recipe) -> dict[str, Any]:
    """What the new run's report will say of its protocol, before it is trained."""
    from .data import load_experiment_data
    from .outputs import protocol_facts

    try:
        with _unheard():
            material = load_experiment_data(recipe)
    except UserError as error:
        places = ("corpus.root", "model.checkpoint", "protocol.path", f"{recipe.protocol.options.get('path')}:")
        places += ("augment.reverberation.folder", "augment.background_noise.folder")
        if str(error).startswith(places):
            raise UserError(f"{error} (so the saved recipe has it; give yours, as in corpus.root=DIR)") from None
        raise
    judged_on = recipe.evaluation.part
    facts = {"protocol": protocol_facts(material.folds, judged_on), "environment": environment()}
    return {"judged_on": judged_on, "labels": material.labels, "recordings": material.recordings} | facts


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """The run itself says all of it again."""
    level = PACKAGE.level
    PACKAGE.setLevel(logging.ERROR)
    try:
        yield
    finally:
        PACKAGE.setLevel(level)
