"""Reads saved runs and published models: recipe, report and predictions."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..report.card import public
from ..report.report import Report, read_report
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml

# The numbers by which rows of several runs are told apart; a single run has neither.
_NUMBERS = {"seed": pa.int64(), "fold": pa.int64()}
# The columns that name a row of predictions.
PREDICTION_KEYS = ("part", "id", *_NUMBERS)
_MOST_ROWS = 10**7
# Keys of a saved recipe that are the user's choice: where a rerun is written, and what is
# downloaded, sent or tracked.
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
    """A run or a published model.

    Args:
        source: as the user named it.
        recipe: what is run again of its recipe (`rerunnable`).
        predictions: table of a run; a published model has none.
        rerun_in: the default folder of a rerun.
    """

    source: str
    recipe: dict[str, Any]
    report: Report
    predictions: Path | None
    rerun_in: Path


@dataclasses.dataclass(frozen=True)
class _ModelFiles:
    """The files of a published model."""

    recipe: Path
    report: Path


def find_saved_run(source: str | Path) -> Saved:
    """Find the recipe and the report in a run's folder, a model's folder, or a Hub repository.

    Raises:
        UserError: if there are none.
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
    # a path such as "." has no name of its own
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    return Saved(
        source=source,
        recipe=rerunnable(read_yaml(run.recipe), path.name),
        report=read_finished_report(run.report / "report.json"),
        predictions=run.report / "predictions.parquet",
        rerun_in=path.with_name(f"{path.name}-reproduced"),
    )


def _model_files(folder: str | Path) -> _ModelFiles:
    """The files in the folder of a published model."""
    files = _ModelFiles(Path(folder, "recipe.yaml"), Path(folder, "report.json"))
    if not (files.recipe.is_file() and files.report.is_file()):
        raise UserError(
            f"{folder}: has no recipe.yaml with a report; name a finished run or a published model"
        )
    return files


def _downloaded_files(repo_id: str) -> _ModelFiles:
    """The files of a published model on the Hub."""
    from huggingface_hub import errors, hf_hub_download

    try:
        recipe = Path(hf_hub_download(repo_id, "recipe.yaml"))
        # The cache keeps a file under its commit: the report of the same one.
        report = Path(hf_hub_download(repo_id, "report.json", revision=recipe.parent.name))
    except (errors.HFValidationError, OSError) as error:
        reason = " ".join(str(error)[:200].split())
        raise UserError(
            f"{repo_id}: no such folder here, and no recipe.yaml and report.json on the Hub "
            f"({reason})"
        ) from None
    return _ModelFiles(recipe, report)


def rerunnable(recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a rerun takes from a saved recipe of any origin: no places.

    Args:
        name: replaces the recipe's name if that could be a path.
    """
    sections = {key: value for key, value in recipe.items() if key not in _USERS_SECTIONS}
    values = public(sections)
    for section, key in _USERS_KEYS:
        if isinstance(values.get(section), dict):
            values[section].pop(key, None)
    if not _NAME.fullmatch(str(values.get("name"))):
        values["name"] = name
    return values


def read_finished_report(path: Path) -> Report:
    """A report with the fingerprint of its splits."""
    report = read_report(path)
    if report.protocol.sha256 is None:
        raise UserError(f"{path}: not a report of ser_hf: protocol.sha256: missing")
    return report


def read_predictions(path: Path, report: Report) -> pd.DataFrame:
    """Read a table of predictions of any origin.

    Returns:
        The columns part, id, speaker, label and predicted (of dimensions `true_NAME` and `p_NAME`
        of each) and, if the table has them, seed and fold.

    Raises:
        UserError: unless these columns have their types, labels are those of the report, and each
            clip of a run is there once.
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
        _check_rows(table, report)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a table of predictions of ser_hf ({error})") from None
    return table


def _types_of_columns(report: Report) -> dict[str, pa.DataType]:
    types: dict[str, pa.DataType] = {
        "part": pa.string(),
        "id": pa.string(),
        "speaker": pa.string(),
        **_NUMBERS,
    }
    if report.ranges:
        for name in report.labels:
            types[f"true_{name}"] = pa.float32()
            types[f"p_{name}"] = pa.float32()
    else:
        types["label"] = pa.string()
        types["predicted"] = pa.string()
    return types


def _check_rows(table: pd.DataFrame, report: Report) -> None:
    """Raise a `ValueError` for empty cells, clips that are there twice, and unknown labels."""
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
