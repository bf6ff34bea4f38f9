"""Reruns the recipe that was saved with a model, and compares the new run with the saved one.

Splits are compared before any training, figures after it.
"""

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..report.report import Report
from ..report.terminal import Reproduced
from ..utils.environment import PACKAGE, usable_cores
from ..utils.errors import UserError
from ..utils.files import write_json
from ..utils.run_folder import RunFolder, flat
from .reading import read_recipe
from .recipe import Recipe
from .saved_runs import PREDICTION_KEYS, Saved, find_saved_run, read_predictions

TOLERANCE = 0.005  # half of the second decimal, the last one that most papers print
_ROUNDING = 1e-12
_MOST_THREADS = 4  # a core
# Keys that name places and versions, and do not change the training.
_PLACES = ("output_dir", "corpus.root", "corpus.download", "audio.cache_dir", "provenance")
# Keys whose files are the user's: a rerun may need other places than those of the saved recipe.
_KEYS_OF_FILES = ("corpus.root", "model.checkpoint", "protocol.path", "augment.")


class Reproduction(Reproduced):
    """The content of report/reproduction.json.

    `protocol` has the fingerprints of the splits (`sha256`) and of the clips, `recipe` and
    `environment` have what differs, `incomparable` has the reasons why figures cannot be compared,
    `missing` has figures of the saved run only, and `predictions` is the share of equal predicted
    classes.
    """

    tolerance: float
    reproduced: bool


@dataclasses.dataclass(frozen=True)
class _Figures:
    """The figures of a saved run and of its rerun.

    Args:
        rows: {of, metric, saved, now, difference} of each figure that both have.
        missing: figures of the saved run only.
        predictions: share of equal predicted classes; None if a table is missing.
        is_exact: whether all figures and predictions are equal.
        is_within: whether the headline figures differ by no more than the tolerance.
    """

    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    predictions: float | None = None
    is_exact: bool = False
    is_within: bool = False

    def verdict(self, tolerance: float) -> str:
        if self.is_exact:
            return "reproduced to the last digit"
        if self.is_within:
            return f"reproduced within {tolerance:g}"
        return "NOT reproduced"


def reproduce(
    source: str | Path,
    overrides: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    tolerance: float = TOLERANCE,
    resume: bool = False,
    overwrite: bool = False,
) -> Reproduction:
    """Rerun a saved recipe, and write report/reproduction.json of the new run.

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
    recipe = _rerun_recipe(saved, overrides, str(output or saved.rerun_in))
    folder = RunFolder(recipe.output_dir)
    _require_apart(source, folder)
    folder.check(recipe.to_dict(), resume, overwrite)
    if not (resume and folder.complete):
        reproduction = compare(saved, recipe, _untrained(recipe, folder), tolerance)
        if reproduction["incomparable"]:
            return reproduction

    from .run import run

    with _threads(saved.report.environment.threads):
        report = run(recipe, resume=resume, overwrite=overwrite)
        reproduction = compare(saved, recipe, report, tolerance)
    if os.environ.get("RANK", "0") == "0":
        write_json(folder.report / "reproduction.json", reproduction)
    return reproduction


def _rerun_recipe(saved: Saved, overrides: Iterable[str], output_dir: str) -> Recipe:
    """The saved recipe with overrides and the folder of the new run."""
    values = {**saved.recipe, "output_dir": output_dir}
    try:
        read_recipe(values)
    except UserError as error:
        version = saved.report.environment.versions.get("ser_hf") or "of an unknown version"
        raise UserError(
            f"{error} ({saved.source} was saved by ser_hf {version}; use that version)"
        ) from None
    return read_recipe(values, overrides)


def _require_apart(source: str | Path, folder: RunFolder) -> None:
    """Refuse a new folder that contains the saved run, or is inside it."""
    saved_path = Path(source).resolve()
    new_path = folder.path.resolve()
    overlap = new_path in (saved_path, *saved_path.parents) or saved_path in new_path.parents
    if Path(source).is_dir() and overlap:
        raise UserError(
            f"output_dir: {folder.path} and {source} overlap; choose another folder (--output)"
        )


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use as many threads as the saved run, if this machine can have so many.

    Their number decides the order of additions, and with it the last digits.
    """
    import torch

    before = torch.get_num_threads()
    if count and count <= _MOST_THREADS * usable_cores():
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(saved: Saved, recipe: Recipe, report: Report, tolerance: float) -> Reproduction:
    """Compare a saved run with its rerun.

    Args:
        recipe: of the rerun.
        report: of the rerun; before the training without metrics.
        tolerance: see `reproduce`.
    """
    saved_recipe = read_recipe({**saved.recipe, "output_dir": recipe.output_dir})
    changed = _differing(saved_recipe.to_dict(), recipe.to_dict())
    splits = _compared(saved.report.protocol.sha256, report.protocol.sha256)
    clips = _compared(saved.report.protocol.clips, report.protocol.clips)
    is_trained = bool(report.metrics)

    reasons = _reasons_against(saved.report, report)
    if not splits["equal"]:
        keys = [key for key in changed if key.startswith(("corpus.", "protocol."))]
        cause = ", ".join(keys) or "another release of the corpus"
        reasons.append(f"the splits have other clips; the likely cause: {cause}")

    figures = _Figures()
    if is_trained and not reasons:
        table = RunFolder(recipe.output_dir).report / "predictions.parquet"
        figures = _compare_figures(saved, report, table, tolerance, clips["equal"])
    return Reproduction(
        name=recipe.name,
        source=saved.source,
        output_dir=recipe.output_dir,
        protocol={"name": report.protocol.name, "sha256": splits, "clips": clips},
        recipe=changed,
        environment=_differing(saved.report.environment.to_dict(), report.environment.to_dict()),
        tolerance=tolerance,
        trained=is_trained,
        incomparable=reasons,
        figures=figures.rows,
        missing=figures.missing,
        predictions=figures.predictions,
        verdict=figures.verdict(tolerance),
        reproduced=figures.is_exact or figures.is_within,
    )


def _compared(saved: Any, now: Any) -> dict[str, Any]:
    """Two fingerprints; `equal` is None if one of them is missing."""
    equal = saved == now if saved and now else None
    return {"saved": saved, "now": now, "equal": equal}


def _reasons_against(saved: Report, now: Report) -> list[str]:
    """Why the figures of two reports cannot be compared, besides other splits."""
    reasons = []
    if saved.evaluated_split != now.evaluated_split:
        reasons.append(
            f"evaluated on {now.evaluated_split}, the saved run on {saved.evaluated_split}"
        )
    if saved.labels != now.labels:
        reasons.append(
            f"the classes are {', '.join(now.labels)}, the saved run's {', '.join(saved.labels)}"
        )
    if saved.model.revision and saved.model.revision != now.model.revision:
        reasons.append(
            f"the weights that training starts from are {now.model.revision or 'random'}, the "
            f"saved run's {saved.model.revision}; set model.checkpoint or model.revision"
        )
    return reasons


def _compare_figures(
    saved: Saved, report: Report, table: Path, tolerance: float, equal_clips: bool | None
) -> _Figures:
    """Compare the figures of a saved run with those of its rerun.

    Args:
        table: predictions of the rerun.
        equal_clips: whether the clips have the same samples; None if unknown.
    """
    saved_figures = _measured(saved.report)
    new_figures = _measured(report)
    rows = []
    missing = []
    for (of, metric), value in saved_figures.items():
        if (of, metric) not in new_figures:
            missing.append(f"{of} {metric}")
            continue
        now = new_figures[of, metric]
        rows.append(
            {"of": of, "metric": metric, "saved": value, "now": now, "difference": now - value}
        )
    agreement = _same_predictions(saved.predictions, saved.report, table, report)
    is_equal = not missing and all(row["difference"] == 0 for row in rows)
    headline = [
        abs(row["difference"])
        for row in rows
        if row["of"] == report.evaluated_split and row["metric"] in report.measured.headline[:3]
    ]
    return _Figures(
        rows=rows,
        missing=missing,
        predictions=agreement,
        is_exact=is_equal and equal_clips is not False and agreement in (None, 1),
        is_within=all(difference <= tolerance + _ROUNDING for difference in headline),
    )


def _differing(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{key: {saved, now}} of the keys with other values, without places and versions."""
    saved_values = flat(saved)
    new_values = flat(now)
    differing = {}
    for key in sorted(saved_values.keys() | new_values.keys()):
        pair = {"saved": saved_values.get(key), "now": new_values.get(key)}
        if not key.startswith(_PLACES) and pair["saved"] != pair["now"]:
            differing[key] = pair
    return differing


def _measured(report: Report) -> dict[tuple[str, str], float]:
    """{(of, metric): value}, of a split, or of a seed or fold."""
    scores = {**report.parts, report.evaluated_split: report.metrics}
    kind = "fold" if report.protocol.folds else "seed"
    for number, run in report.runs.items():
        scores[f"{kind} {number}, {report.evaluated_split}"] = run.metrics
    measured = {}
    for of, metrics in scores.items():
        for metric, value in metrics.items():
            if value is not None:
                measured[of, metric] = value
    return measured


def _same_predictions(
    saved_table: Path | None, saved: Report, new_table: Path, now: Report
) -> float | None:
    """The share of equal predicted classes of all splits, seeds and folds.

    None if a table is missing.
    """
    if saved_table is None or not (saved_table.is_file() and new_table.is_file()):
        return None
    saved_rows = read_predictions(saved_table, saved)
    new_rows = read_predictions(new_table, now)
    keys = [name for name in PREDICTION_KEYS if name in saved_rows and name in new_rows]
    both = saved_rows.merge(new_rows, on=keys, suffixes=("", "_now"))
    if not len(both):
        return None
    columns: Sequence[str] = ["predicted"]
    if now.ranges:
        columns = [f"p_{name}" for name in now.labels]
    equal = np.all([both[name] == both[f"{name}_now"] for name in columns], axis=0)
    return float(equal.mean())


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
        if str(error).startswith(_KEYS_OF_FILES):
            raise UserError(
                f"{error} (as in the saved recipe; override it, as in corpus.root=DIR)"
            ) from None
        raise
    finally:
        PACKAGE.setLevel(level)
    header = report_header(RunContext(recipe, data, data.folds, folder))
    return Report(**header.filled(), metrics={})
