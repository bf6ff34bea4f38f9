"""Reruns the recipe that was saved with a model, and compares the new run with the saved run.

Splits are compared before the training, and figures after it.
"""

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

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

TOLERANCE = 0.005  # half a unit of the second decimal place, the last that most papers print
_ROUNDING = 1e-12
_MOST_THREADS = 4  # threads per core
# Keys for paths and versions, which do not change the training.
_PATH_KEYS = ("output_dir", "corpus.root", "corpus.download", "audio.cache_dir", "provenance")
# Keys for files of the user, which may be in other folders than in the saved recipe.
_KEYS_OF_FILES = (
    "corpus.root",
    "model.checkpoint",
    "protocol.path",
    "augment.",
    "evaluation.noise_folder",
    "evaluation.impulse_folder",
)


class ComparedFingerprint(TypedDict):
    """Two fingerprints in reproduction.json; `equal` is None if one of them is missing."""

    saved: str | list[str] | None
    now: str | list[str] | None
    equal: bool | None


class Reproduction(Reproduced):
    """The content of report/reproduction.json.

    `protocol` has the fingerprints of the splits (`sha256`) and of the clips. `recipe` and
    `environment` have the keys that differ. `incomparable` has the reasons why figures cannot be
    compared. `missing` has the figures that only the saved run has. `predictions` is the share of
    clips whose predicted classes are equal.
    """

    tolerance: float
    reproduced: bool


@dataclasses.dataclass(frozen=True)
class _Figures:
    """The comparison of the figures of a saved run with those of its rerun.

    Args:
        rows: {of, metric, saved, now, difference} for each figure that both runs have.
        missing: figures that only the saved run has.
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
        """The result of the comparison, in words."""
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

    Different splits are reported before the training; nothing is written then.

    Args:
        source: the folder of a run, or the folder or Hub id of a published model.
        output: folder of the new run (default: NAME-reproduced beside a run, runs/NAME-reproduced
            otherwise).
        tolerance: the largest difference of UAR, WA and macro-F1, or of CCC, Pearson and MAE, with
            which the run counts as reproduced.

    Raises:
        UserError: if the source is not a saved run, or the output folder cannot be used.
    """
    if not 0 <= tolerance < math.inf:
        raise UserError(f"--tolerance: expected zero or more, got {tolerance}")
    saved = find_saved_run(source)
    recipe = _rerun_recipe(saved, overrides, str(output or saved.rerun_in))
    folder = RunFolder(recipe.output_dir)
    _require_separate_folders(source, folder)
    folder.check(recipe.to_dict(), resume, overwrite)
    if not (resume and folder.complete):
        reproduction = compare(saved, recipe, _report_before_training(recipe, folder), tolerance)
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
    """The saved recipe with the overrides, and with the folder of the new run."""
    values = {**saved.recipe, "output_dir": output_dir}
    try:
        read_recipe(values)
    except UserError as error:
        version = saved.report.environment.versions.get("ser_hf") or "of an unknown version"
        raise UserError(
            f"{error} ({saved.source} was saved by ser_hf {version}; use that version)"
        ) from None
    return read_recipe(values, overrides)


def _require_separate_folders(source: str | Path, folder: RunFolder) -> None:
    """Refuse a new folder that contains the saved run, or that is inside the saved run."""
    saved_path = Path(source).resolve()
    new_path = folder.path.resolve()
    overlap = new_path in (saved_path, *saved_path.parents) or saved_path in new_path.parents
    if Path(source).is_dir() and overlap:
        raise UserError(
            f"output_dir: {folder.path} and {source} overlap; choose another folder (--output)"
        )


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use as many threads as the saved run, unless they are too many for this machine.

    The number of threads changes the order of additions, and so the last digits of results.
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
        recipe: the recipe of the rerun.
        report: the report of the rerun; it has no metrics before the training.
        tolerance: see `reproduce`.
    """
    saved_recipe = read_recipe({**saved.recipe, "output_dir": recipe.output_dir})
    changed = _differing(saved_recipe.to_dict(), recipe.to_dict())
    splits = _compare_fingerprints(saved.report.protocol.sha256, report.protocol.sha256)
    clips = _compare_fingerprints(saved.report.protocol.clips, report.protocol.clips)
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


def _compare_fingerprints(
    saved: str | list[str] | None, now: str | list[str] | None
) -> ComparedFingerprint:
    """Compare the fingerprints of the splits or clips of two runs."""
    equal = saved == now if saved and now else None
    return ComparedFingerprint(saved=saved, now=now, equal=equal)


def _reasons_against(saved: Report, now: Report) -> list[str]:
    """The reasons, besides different splits, why figures of two reports cannot be compared."""
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
        table: the file with the predictions of the rerun.
        equal_clips: whether the clips have the same samples; None if unknown.
    """
    saved_figures = _figures_of(saved.report)
    new_figures = _figures_of(report)
    rows = []
    missing = []
    for (subject, metric), saved_value in saved_figures.items():
        if (subject, metric) not in new_figures:
            missing.append(f"{subject} {metric}")
            continue
        new_value = new_figures[subject, metric]
        row = {
            "of": subject,
            "metric": metric,
            "saved": saved_value,
            "now": new_value,
            "difference": new_value - saved_value,
        }
        rows.append(row)
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
    """{key: {saved, now}} for each key whose values differ, without paths and versions."""
    saved_values = flat(saved)
    new_values = flat(now)
    differing = {}
    for key in sorted(saved_values.keys() | new_values.keys()):
        pair = {"saved": saved_values.get(key), "now": new_values.get(key)}
        if not key.startswith(_PATH_KEYS) and pair["saved"] != pair["now"]:
            differing[key] = pair
    return differing


def _figures_of(report: Report) -> dict[tuple[str, str], float]:
    """The figures of a report: {(subject, metric): value}; a subject is a split, fold or seed."""
    scores = {**report.parts, report.evaluated_split: report.metrics}
    kind = "fold" if report.protocol.folds else "seed"
    for number, run in report.runs.items():
        scores[f"{kind} {number}, {report.evaluated_split}"] = run.metrics
    figures = {}
    for subject, metrics in scores.items():
        for metric, value in metrics.items():
            if value is not None:
                figures[subject, metric] = value
    return figures


def _same_predictions(
    saved_table: Path | None, saved: Report, new_table: Path, now: Report
) -> float | None:
    """The share of predictions that are equal in both runs, over all splits, seeds and folds.

    The result is None if a table is missing, or if the tables have no clip in common.
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
    if not now.measured.one_label:
        columns = [f"p_{name}" for name in now.labels]
    equal = np.all([both[name] == both[f"{name}_now"] for name in columns], axis=0)
    return float(equal.mean())


def _report_before_training(recipe: Recipe, folder: RunFolder) -> Report:
    """The report of the new run before its training, without results."""
    from .context import RunContext
    from .data import load_experiment_data
    from .sections import report_header

    level = PACKAGE.level
    PACKAGE.setLevel(logging.ERROR)  # the run itself logs the same lines later
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
