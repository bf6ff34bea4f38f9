"""The protocol `file`: it reads a split from a user's list."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ..corpora.columns import split_name
from ..utils.errors import UserError
from ..utils.files import parse_json
from ..utils.yaml import read_text
from .listed import Rows, check_leak, one_or_all, split_of_rows
from .settings import FileSettings
from .split import PARTS, Split, read_column


def from_file(dataset: Dataset, settings: FileSettings) -> Split | list[Split]:
    """Read the split, or one split for each fold, from a file.

    The file is a JSON file with ``{"train": [...], "validation": [...], "test": [...]}``, or with
    ``{"folds": [...]}`` and such an object for each fold. Entries are ids or full speaker names.
    The split.json of a run is such a file.

    Raises:
        UserError: for a file that cannot be read, an unknown entry, a clip in two parts, or test
            speakers in train or validation without `shared_speakers`.
    """
    path = settings.path
    if path.lower().endswith((".csv", ".tsv")):
        raise UserError(
            f"{path}: expected a JSON file; for a column of the corpus use protocol.name: column"
        )

    folds = _read_folds(path, read_text(path))
    splits = []
    for number, listed in enumerate(folds, start=1):
        fold = None
        if len(folds) > 1:
            fold = listed.name or f"{number} of {len(folds)}"
        rows = {
            part: _rows_of(dataset, entries, f"{path}: {part}")
            for part, entries in listed.parts.items()
        }
        _check_rows(dataset, rows, path, fold)
        split = split_of_rows(
            "file",
            dataset,
            rows,
            fold=fold,
            validation=settings.validation,
            seed=settings.seed,
        )
        check_leak(split, path, settings.shared_speakers)
        splits.append(split)
    return one_or_all(splits)


def _rows_of(dataset: Dataset, entries: Sequence[str], where: str) -> list[int]:
    """The rows of the clips that a list names by id or by speaker."""
    rows_by_entry: dict[str, list[int]] = {}
    ids = read_column(dataset, "id")
    speakers = read_column(dataset, "speaker")
    for row, (clip_id, speaker) in enumerate(zip(ids, speakers, strict=True)):
        rows_by_entry.setdefault(clip_id, []).append(row)
        rows_by_entry.setdefault(speaker, []).append(row)

    rows: set[int] = set()
    for entry in entries:
        if entry not in rows_by_entry:
            raise UserError(
                f"{where}: {entry!r} is neither an id nor a speaker of the corpus (such as "
                f"{ids[0]} and {speakers[0]}); clips that were dropped or excluded must not be "
                "listed"
            )
        rows.update(rows_by_entry[entry])
    return sorted(rows)


def _check_rows(dataset: Dataset, rows: Rows, path: str, fold: str | None) -> None:
    """Raise a `UserError` for an empty list, or a row in two parts."""
    part_of: dict[int, str] = {}
    for part, part_rows in rows.items():
        if not part_rows and part != "validation":
            where = f" in fold {fold}" if fold else ""
            raise UserError(f"{path}: nothing is listed for {part}{where}")
        for row in part_rows:
            if part_of.setdefault(row, part) != part:
                clip_id = read_column(dataset, "id")[row]
                raise UserError(f"{path}: {clip_id} is in {part_of[row]} and in {part}")


@dataclasses.dataclass(frozen=True)
class ListedFold:
    """The ids and speakers that a file lists for each part, and the fold's name if it has one."""

    parts: dict[str, list[str]]
    name: str | None = None


def _read_folds(path: str, content: str) -> list[ListedFold]:
    """The folds of a file, in order."""
    listed = parse_json(content, path)
    folds = listed["folds"] if isinstance(listed, dict) and "folds" in listed else [listed]
    if not isinstance(folds, list) or not folds:
        raise UserError(f"{path}: expected a list of parts for each fold under the key folds")
    return [_read_fold(path, fold) for fold in folds]


def _read_fold(path: str, listed: Any) -> ListedFold:
    name = None
    if isinstance(listed, dict) and isinstance(listed.get("ids"), dict):  # a run's split.json
        name = listed.get("fold")
        listed = listed["ids"]
    if not isinstance(listed, dict):
        raise UserError(f"{path}: expected train, validation and test, each with a list")

    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for key, entries in listed.items():
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is not a list of ids or speakers")
        part = split_name(key)
        if part is None:
            raise UserError(
                f"{path}: unknown part {key!r}; choose one of train, validation (or dev) and test"
            )
        parts[part] += entries
    return ListedFold(parts, name if isinstance(name, str) else None)
