"""Reads saved runs and published models: recipe, report and predictions."""

import dataclasses
import logging
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

logger = logging.getLogger(__name__)


# The columns by which a row of predictions is found again, and those of them that a single run does
# not have.
_NUMBERS = {"seed": pa.int64(), "fold": pa.int64()}


PREDICTION_KEYS = ("part", "id", *_NUMBERS)


_MOST_ROWS = 10**7


# Keys of a saved recipe that are the user's choice: where a rerun is written, and what is
# downloaded, sent or tracked.
_USERS_OWN = (
    *(
        "output_dir",
        "hub",
        "provenance",
        "corpus.download",
        "training.report_to",
        "training.run_name",
    ),
    *(
        f"training.{key}"
        for key in ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")
    ),
)


_NAME = re.compile(r"\w[\w .+-]{0,99}")


@dataclasses.dataclass(frozen=True)
class Saved:
    """A run or a published model, which has no `predictions`: what is run again of its recipe
    (`rerunnable`), its report, and the default folder of a rerun."""

    source: str
    recipe: dict[str, Any]
    report: Report
    predictions: Path | None
    rerun_in: Path


def read_predictions(path: Path, report: Report) -> pd.DataFrame:
    """A table of predictions of any origin: part, id, speaker, label, predicted (of dimensions
    `true_NAME` and `p_NAME` of each) and, if it has them, seed and fold.

    Raises:
        UserError: unless these columns have their types, labels are those of the report, and each
            clip of a run is there once.
    """
    kinds = dict.fromkeys(("part", "id", "speaker"), pa.string()) | _NUMBERS
    if report.ranges:
        kinds |= {
            f"{kind}_{name}": pa.float32() for name in report.labels for kind in ("true", "p")
        }
    else:
        kinds |= dict.fromkeys(("label", "predicted"), pa.string())
    try:
        file = pq.ParquetFile(path)
        found = {field.name: field.type for field in file.schema_arrow if field.name in kinds}
        if file.metadata.num_rows > _MOST_ROWS or _NUMBERS | found != kinds:
            raise ValueError(f"expected at most {_MOST_ROWS:,} rows with {', '.join(kinds)}")
        table = file.read(list(found)).to_pandas()
        empty = table.drop(columns="speaker").isna().any(axis=None)
        if empty or table.duplicated([key for key in PREDICTION_KEYS if key in table]).any():
            raise ValueError("a cell is empty, or a clip is there twice")
        if unknown := {
            word for key in ("label", "predicted") if key in table for word in table[key]
        }.difference(report.labels):
            raise ValueError(f"unknown label {min(unknown)}")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a table of predictions of ser_hf ({error})") from None
    return table


def find_saved_run(source: str | Path) -> Saved:
    """The recipe and the report in a run's folder, a published model's folder, or a Hub repository."""
    run = RunFolder(source)
    if run.recipe.is_file() and run.complete:
        named = run.path if run.path.name not in ("", "..") else run.path.resolve()
        report, predictions = run.report / "report.json", run.report / "predictions.parquet"
        default = named.with_name(f"{named.name}-reproduced")
        values = rerunnable(read_yaml(run.recipe), named.name)
        return Saved(str(source), values, read_finished_report(report), predictions, default)
    recipe = run.recipe
    report = run.path / "report.json"
    if not run.path.exists():
        from huggingface_hub import errors, hf_hub_download

        try:
            recipe = Path(hf_hub_download(str(source), "recipe.yaml"))
            # The cache keeps a file under its commit: the report of the same one.
            report = Path(hf_hub_download(str(source), "report.json", revision=recipe.parent.name))
        except (errors.HFValidationError, OSError) as error:
            reason = f"no such folder here, and no recipe.yaml and report.json on the Hub ({str(error)[:200]})"
            raise UserError(f"{source}: {' '.join(reason.split())}") from None
    elif not (recipe.is_file() and report.is_file()):
        raise UserError(
            f"{source}: has no recipe.yaml with a report; name a finished run or a published model"
        )
    path = Path(os.path.abspath(source))
    name = path.parent.name if path.name == "model" else path.name
    values = rerunnable(read_yaml(recipe), name)
    folder = Path("runs", f"{name}-reproduced")
    return Saved(str(source), values, read_finished_report(report), None, folder)


def rerunnable(recipe: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a rerun takes from a saved recipe of any origin: no places; `name` replaces one that
    could be a path.
    """
    kept = public({section: recipe[section] for section in recipe if section not in _USERS_OWN})
    for section, key in (own.split(".") for own in _USERS_OWN if "." in own):
        if isinstance(kept.get(section), dict):
            kept[section].pop(key, None)
    return kept if _NAME.fullmatch(str(kept.get("name"))) else kept | {"name": name}


def read_finished_report(path: Path) -> Report:
    """A report with the fingerprint of its splits."""
    report = read_report(path)
    if report.protocol.sha256 is None:
        raise UserError(f"{path}: not a report of ser_hf: protocol.sha256: missing")
    return report
