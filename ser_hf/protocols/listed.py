"""`file`: the user's own list of who or what stands in which part."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import UserError
from ..strict import read_text
from .draws import hold_out
from .split import PARTS, Split, make_split

NAME = "file"
_SPELLINGS = {"train": "train", "validation": "validation", "dev": "validation", "val": "validation", "test": "test"}


def from_file(
    dataset: Dataset,
    path: str = "",
    shared_speakers: bool = False,
    validation: float = 0.15,
    seed: int = 0,
) -> Split | list[Split]:
    """Parts as a file lists them.

    Args:
        path: JSON or CSV. JSON holds ``{"train": [...], "validation": [...], "test": [...]}``, or ``{"folds": [those,
            ...]}``; a run's split.json is such a file. CSV has the columns ``part`` (train, validation or dev, test),
            ``id`` or ``speaker``, and ``fold`` where there are several. Entries are ids or whole speaker names.
        shared_speakers: a list whose test speakers are heard in training or validation is an error unless this is
            true. Speakers in both train and validation are told, not refused.
        validation: share of the training speakers that validates where the file lists no validation part.
        seed: of that draw.

    Raises:
        UserError: for a file that is missing or not of this form, an entry that the corpus does not have, an entry in
            two parts, or shared speakers that were not allowed.
    """
    if not path:
        raise UserError("protocol.path: missing; protocol file needs the file that lists the parts")
    folds = _read(Path(path))
    splits = []
    for number, parts in enumerate(folds, start=1):
        fold = f"{number} of {len(folds)}" if len(folds) > 1 else None
        splits.append(_split(dataset, parts, path, fold, shared_speakers, validation, seed))
    return splits if len(splits) > 1 else splits[0]


def _split(
    dataset: Dataset,
    parts: dict[str, list[str]],
    path: str,
    fold: str | None,
    shared_speakers: bool,
    validation: float,
    seed: int,
) -> Split:
    rows = {part: _rows(dataset, entries, f"{path}: {part}") for part, entries in parts.items()}
    first: dict[int, str] = {}
    for part, own in rows.items():
        for row in own:
            if first.setdefault(row, part) != part:
                raise UserError(f"{path}: {dataset[row]['id']} stands in {first[row]} and in {part}")
    notes: list[str] = []
    kept: tuple[str, ...] = ()
    if not rows.get("validation"):
        rows["train"], rows["validation"], kept, drawn = hold_out(dataset, rows["train"], validation, seed)
        notes += [*drawn, f"The list has no validation part: {validation:g} of what it trains on was drawn for it."]
    speakers = dataset["speaker"][:]
    heard = {part: {speakers[row] for row in own} for part, own in rows.items()}
    both = len(heard["train"] & heard["validation"])
    if not kept:
        kept = () if both else ("speaker",)
    if both and not notes:
        notes = [f"{both} speakers stand in train and in validation, as listed."]
    split = make_split(
        *(NAME, dataset, rows),
        test_apart=() if heard["test"] & (heard["train"] | heard["validation"]) else ("speaker",),
        validation_apart=kept,
        fold=fold,
        notes=notes,
    )
    if split.leak and not shared_speakers:
        raise UserError(f"{path}: {split.leak} Mend the list, or set protocol.shared_speakers: true")
    return split


def _rows(dataset: Dataset, entries: Sequence[str], where: str) -> list[int]:
    by_entry: dict[str, list[int]] = {}
    for row, (clip, speaker) in enumerate(zip(dataset["id"][:], dataset["speaker"][:], strict=True)):
        by_entry.setdefault(clip, []).append(row)
        by_entry.setdefault(speaker, []).append(row)
    for entry in entries:
        if entry not in by_entry:
            known = dataset[0]
            raise UserError(
                f"{where}: {entry!r} is neither an id nor a speaker of the corpus (such as {known['id']} and "
                f"{known['speaker']}); clips that were dropped or excluded must not be listed"
            )
    return sorted({row for entry in entries for row in by_entry[entry]})


def _read(path: Path) -> list[dict[str, list[str]]]:
    text = read_text(path)
    folds = _from_json(path, text) if path.suffix.lower() == ".json" else _from_table(path, text)
    for parts in folds:
        for part in ("train", "test"):
            if not parts.get(part):
                raise UserError(f"{path}: nothing is listed for {part}")
    return folds


def _from_json(path: Path, text: str) -> list[dict[str, list[str]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error})") from None
    folds = content["folds"] if isinstance(content, dict) and "folds" in content else [content]
    if not isinstance(folds, list) or not folds:
        raise UserError(f"{path}: folds is no list of parts")
    return [_parts(path, fold) for fold in folds]


def _parts(path: Path, content: Any) -> dict[str, list[str]]:
    if isinstance(content, dict) and isinstance(content.get("ids"), dict):  # a run's split.json
        content = content["ids"]
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected train, validation and test, each with a list")
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for key, entries in content.items():
        if key not in _SPELLINGS:
            raise UserError(f"{path}: {key!r} is no part; the parts are train, validation (or dev) and test")
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is no list of ids or speakers")
        parts[_SPELLINGS[key]] += entries
    return parts


def _from_table(path: Path, text: str) -> list[dict[str, list[str]]]:
    table = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        columns, lines = table.fieldnames or [], [(table.line_num, line) for line in table]
    except csv.Error as error:
        raise UserError(f"{path}, line {table.reader.line_num}: no CSV ({error})") from None
    entry = next((name for name in ("id", "speaker") if name in columns), None)
    if entry is None or "part" not in columns:
        raise UserError(f"{path}: expected the columns part and id (or speaker), got {', '.join(columns) or 'none'}")
    if not lines:
        raise UserError(f"{path}: no line below its header")
    folds: dict[str, dict[str, list[str]]] = {}
    for number, line in lines:
        if line["part"] not in _SPELLINGS:
            raise UserError(f"{path}, line {number}: {line['part']!r} is no part (train, validation, test)")
        if not line[entry]:
            raise UserError(f"{path}, line {number}: the cell of {entry} is empty")
        parts = folds.setdefault(line.get("fold") or "", {part: [] for part in PARTS})
        parts[_SPELLINGS[line["part"]]].append(line[entry])
    return list(folds.values())
