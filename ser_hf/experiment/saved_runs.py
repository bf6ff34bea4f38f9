"""Reads saved runs and published models: recipe, report and predictions."""

import dataclasses
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..evaluation.tasks import MULTI_LABEL
from ..report.card import public
from ..report.report import Report, read_report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml

# Columns with the number of the seed and the fold; a single training has neither.
_NUMBERS = {"seed": pa.int64(), "fold": pa.int64()}
# The columns that together identify a row of predictions.
PREDICTION_KEYS = ("part", "id", *_NUMBERS)
_MOST_ROWS = 10**7
# Sections and keys of a saved recipe that a rerun does not take over. The user decides where a
# rerun is written, and what is downloaded, published or tracked.
_USERS_SECTIONS = ("output_dir", "hub", "provenance")
_USERS_KEYS = (
    ("corpus", "download"),
    ("training", "report_to"),
    ("training", "run_name"),
    ("training", "project"),
    ("training", "trackio_space_id"),
    ("training", "trackio_bucket_id"),
    ("training", "trackio_static_space_id"),
)
_NAME = re.compile(r"\w[\w .+-]{0,99}")


@dataclasses.dataclass(frozen=True)
class Saved:
    """A saved run or a published model.

    Args:
        source: folder or Hub id, as the user wrote it.
        recipe: the keys of the recipe that a rerun takes over (`rerunnable`).
        predictions: the file with the predictions of a run; None for a published model.
        rerun_in: the default folder of a rerun.
    """

    source: str
    recipe: dict[str, Any]
    report: Report
    predictions: Path | None
    rerun_in: Path


@dataclasses.dataclass(frozen=True)
class _ModelFiles:
    """The paths of recipe.yaml and report.json of a published model."""

    recipe: Path
    report: Path


def find_saved_run(source: str | Path) -> Saved:
    """Find the recipe and the report in a run's folder, a model's folder, or a Hub repository.

    Raises:
        UserError: if the recipe or the report is missing.
    """
    run = RunFolder(source)
    if run.recipe.is_file() and run.complete:
        return _saved_run(str(source), run)
    files = _model_files(source) if run.path.exists() else _downloaded_files(str(source))
    path = Path(os.path.abspath(source))
    name = path.parent.name if path.name == "model" else path.name
    return Saved(
        source=str(source),
        recipe=rerunnable(read_yaml(files.recipe), name),
        report=read_finished_report(files.report),
        predictions=None,
        rerun_in=Path("runs", f"{name}-reproduced"),
    )


def _saved_run(source: str, run: RunFolder) -> Saved:
    """The saved run in a run's folder."""
    # A path such as "." does not contain the name of the folder.
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    return Saved(
        source=source,
        recipe=rerunnable(read_yaml(run.recipe), path.name),
        report=read_finished_report(run.report / "report.json"),
        predictions=run.report / "predictions.parquet",
        rerun_in=path.with_name(f"{path.name}-reproduced"),
    )


def _model_files(folder: str | Path) -> _ModelFiles:
    """Find the files in the folder of a published model."""
    files = _ModelFiles(Path(folder, "recipe.yaml"), Path(folder, "report.json"))
    if not (files.recipe.is_file() and files.report.is_file()):
        raise UserError(
            f"{folder}: has no recipe.yaml with a report; name a finished run or a published model"
        )
    return files


def _downloaded_files(repo_id: str) -> _ModelFiles:
    """Download the files of a published model from the Hub."""
    from huggingface_hub import errors, hf_hub_download

    from ..loading.hub_connection import unreachable_message

    unreachable = unreachable_message()
    download = partial(hf_hub_download, repo_id, local_files_only=unreachable is not None)
    try:
        recipe = Path(download("recipe.yaml"))
        # The cache has a folder for each commit: take the report of the same commit.
        report = Path(download("report.json", revision=recipe.parent.name))
    except (errors.HFValidationError, OSError) as error:
        reason = " ".join(str(error)[:200].split())
        if unreachable is not None and isinstance(error, errors.LocalEntryNotFoundError):
            reason = unreachable
        raise UserError(
            f"{repo_id}: no such folder here, and no recipe.yaml and report.json on the Hub "
            f"({reason})"
        ) from None
    return _ModelFiles(recipe, report)


def rerunnable(recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys that a rerun takes over from a saved recipe of any origin, without local paths.

    Args:
        name: replaces the name in the recipe if that name is missing or could be a path.
    """
    sections = {key: value for key, value in recipe.items() if key not in _USERS_SECTIONS}
    values = public(sections)
    for section, key in _USERS_KEYS:
        if isinstance(values.get(section), dict):
            values[section].pop(key, None)
    saved_name = values.get("name")
    if not isinstance(saved_name, str) or not _NAME.fullmatch(saved_name):
        values["name"] = name
    return values


def read_finished_report(path: Path) -> Report:
    """Read the report of a finished run, which must have the fingerprint of its splits."""
    report = read_report(path)
    if report.protocol.sha256 is None:
        raise UserError(f"{path}: not a report of ser_hf: protocol.sha256: missing")
    return report


def read_predictions(path: Path, report: Report) -> pd.DataFrame:
    """Read and check a table of predictions of any origin.

    Returns:
        The columns part, id, speaker, label and predicted and, if the table has them, seed and
        fold. A table of dimensions, or of sets of labels, has `true_NAME` and `p_NAME` for each of
        them, in place of label and predicted. Clips without a label are left out.

    Raises:
        UserError: if a column is missing or has another type, if a label is not in the report, or
            if a training has two rows for a clip.
    """
    types = _types_of_columns(report)
    try:
        file = pq.ParquetFile(path)
        types_in_file = {field.name: field.type for field in file.schema_arrow}
        columns = [name for name in types_in_file if name in types]
        required = [name for name in types if name not in _NUMBERS]
        if (
            file.metadata.num_rows > _MOST_ROWS
            or not {*required} <= {*columns}
            or any(types_in_file[name] != types[name] for name in columns)
        ):
            raise ValueError(f"expected at most {_MOST_ROWS:,} rows with {', '.join(types)}")
        table = file.read(columns).to_pandas()
        if report.measured.has_classes and report.per_dimension:
            table = table[table["label"].notna()]  # the others have ratings only
        _check_rows(table, report)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a table of predictions of ser_hf ({error})") from None
    return table


def _types_of_columns(report: Report) -> dict[str, pa.DataType]:
    """The type of each column of predictions: {column: type}."""
    types: dict[str, pa.DataType] = {
        "part": pa.string(),
        "id": pa.string(),
        "speaker": pa.string(),
        **_NUMBERS,
    }
    if not report.measured.one_label:
        has_sets = report.measured is MULTI_LABEL
        for name in report.labels:
            types[f"true_{name}"] = pa.bool_() if has_sets else pa.float32()
            types[f"p_{name}"] = pa.float32()
        if has_sets:
            types["threshold"] = pa.float64()
    else:
        types["label"] = pa.string()
        types["predicted"] = pa.string()
    return types


def _check_rows(table: pd.DataFrame, report: Report) -> None:
    """Raise a `ValueError` for empty cells, repeated clips and unknown labels."""
    has_empty_cells = table.drop(columns="speaker").isna().any(axis=None)
    keys = [key for key in PREDICTION_KEYS if key in table]
    if has_empty_cells or table.duplicated(keys).any():
        raise ValueError("a cell is empty, or a clip is there twice")
    words: set[str] = set()
    for column in ("label", "predicted"):
        if column in table:
            words.update(table[column])
    unknown = words.difference(report.labels)
    if unknown:
        raise ValueError(f"unknown label {min(unknown)}")
