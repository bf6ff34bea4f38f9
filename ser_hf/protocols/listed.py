"""Listed splits: a user's file (`file`), columns of the corpus (`column`), and EmoBox's folds (`emobox/lists`)."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..corpora.tables import SPLIT_WORDS, split_name, text
from ..utils.errors import UserError
from ..utils.files import read_table
from ..utils.yaml import read_text
from .rules import check_share, draw_clips, hold_out
from .split import PARTS, Split, make_split, read_column

NAME = "file"


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
            ...]}``; a run's split.json is such a file. CSV (commas, semicolons or tabs) has the columns ``part``
            (train, validation or dev, test), ``id`` or ``speaker``, and ``fold`` where there are several. Entries are
            ids or full speaker names. Folds keep their names in the file; those of a CSV are sorted by name (2 before
            10), and ``protocol.folds`` counts them in that order.
        shared_speakers: allows test speakers in train or validation, which are an error otherwise. Speakers in both
            train and validation are only noted.
        validation: share of the training speakers for validation if the file has no validation part.
        seed: of that draw.

    Raises:
        UserError: for a file that is missing or not of this form, an entry that the corpus does not have, an entry in
            two parts, folds named in some lines only, or shared speakers that were not allowed.
    """
    if not path:
        raise UserError("protocol.path: missing; protocol file needs the file that lists the parts")
    folds = _read(Path(path))
    splits = []
    for number, (name, parts) in enumerate(folds, start=1):
        fold = (name or f"{number} of {len(folds)}") if len(folds) > 1 else None
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
                raise UserError(f"{path}: {dataset[row]['id']} is in {first[row]} and in {part}")
    return split_as_listed(NAME, dataset, rows, path, fold, shared_speakers, validation, seed)


def split_as_listed(
    name: str,
    dataset: Dataset,
    rows: dict[str, list[int]],
    where: str,
    fold: str | None,
    shared_speakers: bool,
    validation: float,
    seed: int,
) -> Split:
    """A split of listed rows; validation is drawn if it is not listed.

    Args:
        where: the list, for messages.
        shared_speakers: allows test speakers in train or validation.

    Raises:
        UserError: for shared speakers that were not allowed, and as `hold_out` and `make_split` do.
    """
    notes: list[str] = []
    kept: tuple[str, ...] = ()
    if not rows.get("validation"):
        rows["train"], rows["validation"], kept, drawn = hold_out(dataset, rows["train"], validation, seed)
        notes += [*drawn, f"The list has no validation part: {validation:g} of what it trains on was drawn for it."]
    speakers = read_column(dataset, "speaker")
    found = {part: {speakers[row] for row in own} for part, own in rows.items()}
    both = len(found["train"] & found["validation"])
    if not kept:
        kept = () if both else ("speaker",)
    if both and not notes:
        notes = [f"{both} speakers are in train and in validation, as listed."]
    split = make_split(
        *(name, dataset, rows),
        test_apart=() if found["test"] & (found["train"] | found["validation"]) else ("speaker",),
        validation_apart=kept,
        fold=fold,
        notes=notes,
    )
    if split.leak and not shared_speakers:
        raise UserError(f"{where}: {split.leak} Correct the list, or set protocol.shared_speakers: true")
    return split


def _rows(dataset: Dataset, entries: Sequence[str], where: str) -> list[int]:
    by_entry: dict[str, list[int]] = {}
    ids = read_column(dataset, "id")
    for row, (clip, speaker) in enumerate(zip(ids, read_column(dataset, "speaker"), strict=True)):
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


def _read(path: Path) -> list[tuple[str | None, dict[str, list[str]]]]:
    """Name (or None) and parts of each fold, in order."""
    text = read_text(path)
    folds = _from_json(path, text) if path.suffix.lower() == ".json" else _from_table(path, text)
    for number, (name, parts) in enumerate(folds, start=1):
        for part in ("train", "test"):
            if not parts.get(part):
                where = f" in fold {name or number}" if len(folds) > 1 else ""
                raise UserError(f"{path}: nothing is listed for {part}{where}")
    return folds


def _from_json(path: Path, text: str) -> list[tuple[str | None, dict[str, list[str]]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    folds = content["folds"] if isinstance(content, dict) and "folds" in content else [content]
    if not isinstance(folds, list) or not folds:
        raise UserError(f"{path}: folds is not a list of parts")
    return [_fold(path, fold) for fold in folds]


def _fold(path: Path, content: Any) -> tuple[str | None, dict[str, list[str]]]:
    name = None
    if isinstance(content, dict) and isinstance(content.get("ids"), dict):  # a run's split.json
        name = content.get("fold")
        content = content["ids"]
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected train, validation and test, each with a list")
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for key, entries in content.items():
        if key.lower() not in SPLIT_WORDS:
            raise UserError(f"{path}: {key!r} is not a part; the parts are train, validation (or dev) and test")
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is not a list of ids or speakers")
        parts[SPLIT_WORDS[key.lower()]] += entries
    return name if isinstance(name, str) else None, parts


def _from_table(path: Path, text: str) -> list[tuple[str | None, dict[str, list[str]]]]:
    columns, rows = read_table(path, text)
    entry = next((name for name in ("id", "speaker") if name in columns), None)
    if entry is None or "part" not in columns:
        raise UserError(f"{path}: expected the columns part and id (or speaker), got {', '.join(columns) or 'none'}")
    if not rows:
        raise UserError(f"{path}: no line below its header")
    first, named = rows[0][0], rows[0][1].get("fold") is not None
    folds: dict[str | None, dict[str, list[str]]] = {}
    for line, row in rows:
        where, fold = f"{path}, line {line}", row.get("fold")
        for column in ("part", entry):
            if row[column] is None:
                raise UserError(f"{where}: the cell of {column} is empty")
        part = SPLIT_WORDS.get(row["part"].lower())
        if part is None:
            raise UserError(f"{where}: {row['part']!r} is not a part (train, validation, test)")
        if (fold is not None) != named:
            states = ("filled", "empty") if named else ("empty", "filled")
            raise UserError(
                f"{where}: the cell of fold is {states[1]}, but that of line {first} is {states[0]}; name the fold "
                "in every line or in none"
            )
        folds.setdefault(fold, {part: [] for part in PARTS})[part].append(row[entry])
    return sorted(folds.items(), key=lambda fold: natural(fold[0] or ""))


def natural(name: str) -> tuple[list[str | int], str]:
    """Sorts 2 before 10, and fold2 before fold10."""
    tokens = re.split(r"([0-9]{1,18})", name)  # text and digits alternate
    return [int(token) if i % 2 else token for i, token in enumerate(tokens)], name


_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)


def by_column(
    dataset: Dataset,
    column: str | list[str] = "split",
    parts: dict[str, str] | None = None,
    shared_speakers: bool = False,
    validation: float = 0.15,
    seed: int = 0,
) -> Split | list[Split]:
    """Parts from a column of the corpus: the official splits of a data set.

    Args:
        column: the column, or one column per fold. Clips without a value are in no part.
        parts: the column's words -> train, validation, test, such as ``{0: train, 1: test}``; by default these words
            and their synonyms (`ser_hf.corpora.tables.SPLIT_WORDS`): dev is validation, eval is test. Clips of other
            words than given are in no part.
        shared_speakers: allows test speakers in train or validation, which are an error otherwise. Speakers in both
            train and validation are only noted.
        validation: share of the training speakers for validation if the column has no validation part.
        seed: of that draw.

    Raises:
        UserError: for a column that is not there, a word that is no part, an empty train or test part, or shared
            speakers that were not allowed.
    """
    for word, part in (parts or {}).items():
        if part not in PARTS:
            raise UserError(f"protocol.parts.{word}: {part!r} is not one of {', '.join(PARTS)}")
    columns = [column] if isinstance(column, str) else column
    splits = []
    for name in columns:
        rows = _columns_rows(dataset, name, parts)
        for part in ("train", "test"):
            if not rows[part]:
                raise UserError(f"protocol.column: no clip has {part} in the column {name!r}")
        fold = name if len(columns) > 1 else None
        where = f"protocol.column: {name}"
        splits.append(split_as_listed("column", dataset, rows, where, fold, shared_speakers, validation, seed))
    if not splits:
        raise UserError("protocol.column: an empty list; name a column, or one column per fold")
    return splits if len(splits) > 1 else splits[0]


def emobox_lists(dataset: Dataset, validation: float = 0.2, seed: int = 0) -> Split | list[Split]:
    """EmoBox's folds for a corpus: the columns `fold_1` and so on of the corpus `emobox`.

    EmoBox lists validation for MELD and MSP-Podcast only. Otherwise it is a share of the training speakers if train
    and test share no speaker; if they do, as in most corpora, it is clips drawn at random with labels in proportion,
    and every report calls such figures speaker-dependent.

    Raises:
        UserError: for another corpus, and a fold whose train or test part has no clip.
    """
    name = "emobox/lists"
    columns = sorted((column for column in dataset.column_names if _FOLD.fullmatch(column)), key=natural)
    if not columns:
        raise UserError(
            f"protocol.name: {name} reads the columns fold_1 and so on, which the corpus emobox has; set corpus.name: "
            "emobox, or name another protocol"
        )
    check_share("protocol.validation", validation)
    splits = [
        _emobox(
            name, dataset, _columns_rows(dataset, column, None), validation, seed, column if len(columns) > 1 else None
        )
        for column in columns
    ]
    return splits if len(splits) > 1 else splits[0]


def _emobox(
    name: str, dataset: Dataset, rows: dict[str, list[int]], validation: float, seed: int, fold: str | None
) -> Split:
    speakers = read_column(dataset, "speaker")
    tested = {speakers[row] for row in rows["test"]}
    shared = not tested.isdisjoint(speakers[row] for part in ("train", "validation") for row in rows[part])
    apart: tuple[str, ...] = ()
    notes: Sequence[str] = ()
    if rows["validation"]:
        both = {speakers[row] for row in rows["train"]} & {speakers[row] for row in rows["validation"]}
        apart = () if both else ("speaker",)
    elif shared and rows["train"]:
        drawn = draw_clips(dataset, rows["train"], validation, seed, True, "protocol.validation")
        rows = rows | dict(zip(("train", "validation"), map(list, drawn), strict=True))
    elif rows["train"]:
        rows = dict(rows)
        rows["train"], rows["validation"], apart, notes = hold_out(dataset, rows["train"], validation, seed)
    return make_split(
        *(name, dataset, rows),
        test_apart=() if shared else ("speaker",),
        validation_apart=apart,
        fold=fold,
        notes=notes,
    )


def _columns_rows(dataset: Dataset, column: str, parts: Mapping[str, str] | None) -> dict[str, list[int]]:
    if column not in dataset.column_names:
        raise UserError(
            f"protocol.column: the corpus has no column {column!r}; it has {', '.join(dataset.column_names)}"
        )
    words = [text(word) for word in read_column(dataset, column)]
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, word in enumerate(words):
        if word is None:
            continue
        part = split_name(word) if parts is None else parts.get(word) or parts.get(_truth(word))
        if part is not None:
            rows[part].append(row)
        elif parts is None:
            found = sorted(set(words) - {None}, key=natural)
            such = f"{{{found[0]}: train, {found[-1]}: test}}" if len(found) > 1 else f"{{{word}: train}}"
            raise UserError(
                f"protocol.column: {word!r} in the column {column!r} is not a part; map it with protocol.parts, "
                f"such as {such}"
            )
    return rows


def _truth(word: str) -> str | None:
    """True, FALSE and so on as YAML spells them in keys of `protocol.parts`."""
    return word.lower() if word.lower() in ("true", "false") else None


OF_COLUMNS = {"column": by_column, "emobox/lists": emobox_lists}
