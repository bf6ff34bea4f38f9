"""Listed splits: a user's file (`file`), columns of the corpus (`column`), EmoBox's folds
(`emobox/lists`), and published splits by name, to compare figures with the literature:
lists/*.json, each with its source.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from datasets import Dataset

from ..corpora.tables import split_name, text
from ..utils.errors import UserError
from ..utils.files import parse_json
from ..utils.yaml import read_text
from .folds import folds_by_speaker
from .rules import check_share, draw_clips, hold_out, match_speakers, speaker_independent
from .split import PARTS, Split, make_split, read_column, rows_where

Parts = dict[str, list[str]]
_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)


def from_file(
    dataset: Dataset,
    path: str = "",
    shared_speakers: bool = False,
    validation: float = 0.15,
    seed: int = 0,
) -> Split | list[Split]:
    """Parts as a file lists them.

    Args:
        path: JSON, ``{"train": [...], "validation": [...], "test": [...]}``, or ``{"folds": [those,
            ...]}``; a run's split.json is such a file. Entries are ids or full speaker names.
        shared_speakers: allows test speakers in train or validation, otherwise an error.
        validation: share of the training speakers for validation if the file has no validation
            part.
        seed: of that draw.

    Raises:
        UserError: also for an unknown entry, or an entry or speaker in two parts.
    """
    if not path:
        raise UserError("protocol.path: missing; protocol file needs the file that lists the parts")
    if path.lower().endswith((".csv", ".tsv")):
        raise UserError(
            f"{path}: expected a JSON file; for a column of the corpus use protocol.name: column"
        )
    folds = _from_json(path, read_text(path))
    splits = []
    for number, (name, parts) in enumerate(folds, start=1):
        fold = (name or f"{number} of {len(folds)}") if len(folds) > 1 else None
        rows = {part: _rows(dataset, entries, f"{path}: {part}") for part, entries in parts.items()}
        first: dict[int, str] = {}
        for part, own in rows.items():
            if not own and part != "validation":
                raise UserError(
                    f"{path}: nothing is listed for {part}" + (f" in fold {fold}" if fold else "")
                )
            for row in own:
                if first.setdefault(row, part) != part:
                    raise UserError(
                        f"{path}: {dataset[row]['id']} is in {first[row]} and in {part}"
                    )
        split = _split("file", dataset, rows, fold, validation, seed)
        splits.append(_require_apart(split, path, shared_speakers))
    return splits if len(splits) > 1 else splits[0]


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


def _from_json(path: str, content: str) -> list[tuple[str | None, Parts]]:
    """Name (or None) and parts of each fold, in order."""
    listed = parse_json(content, path)
    folds = listed["folds"] if isinstance(listed, dict) and "folds" in listed else [listed]
    if not isinstance(folds, list) or not folds:
        raise UserError(f"{path}: expected a list of parts for each fold under the key folds")
    return [_fold(path, fold) for fold in folds]


def _fold(path: str, listed: Any) -> tuple[str | None, Parts]:
    name = None
    if isinstance(listed, dict) and isinstance(listed.get("ids"), dict):  # a run's split.json
        name = listed.get("fold")
        listed = listed["ids"]
    if not isinstance(listed, dict):
        raise UserError(f"{path}: expected train, validation and test, each with a list")
    parts: Parts = {part: [] for part in PARTS}
    for key, entries in listed.items():
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise UserError(f"{path}: {key} is not a list of ids or speakers")
        part = split_name(key)
        if part is None:
            raise UserError(
                f"{path}: unknown part {key!r}; choose one of train, validation (or dev) and test"
            )
        parts[part] += entries
    return name if isinstance(name, str) else None, parts


def by_column(
    dataset: Dataset,
    column: str | list[str] = "split",
    parts: dict[str, str] | None = None,
    shared_speakers: bool = False,
    validation: float = 0.15,
    seed: int = 0,
) -> Split | list[Split]:
    """Parts from a column of the corpus: the official splits of a dataset.

    Args:
        column: the column, or one column per fold. Clips without a value are in no part.
        parts: the column's words -> train, validation, test, such as ``{0: train, 1: test}``; by
            default these words and their synonyms (`ser_hf.corpora.tables.SPLIT_WORDS`). Clips of
            other words than given are in no part.
        shared_speakers, validation, seed: as of `from_file`.
    """
    for word, part in (parts or {}).items():
        if part not in PARTS:
            raise UserError(
                f"protocol.parts.{word}: unknown part {part!r}; choose one of {', '.join(PARTS)}"
            )
    columns = [column] if isinstance(column, str) else column
    if not columns:
        raise UserError("protocol.column: an empty list; name a column, or one column per fold")
    splits = []
    for name in columns:
        rows = _column_rows(dataset, name, parts)
        for part in ("train", "test"):
            if not rows[part]:
                raise UserError(f"protocol.column: no clip has {part} in the column {name!r}")
        split = _split(
            "column", dataset, rows, name if len(columns) > 1 else None, validation, seed
        )
        splits.append(_require_apart(split, f"protocol.column: {name}", shared_speakers))
    return splits if len(splits) > 1 else splits[0]


def emobox_lists(dataset: Dataset, validation: float = 0.2, seed: int = 0) -> Split | list[Split]:
    """EmoBox's folds for a corpus: the columns `fold_1` and so on of the corpus `emobox`.

    EmoBox lists validation for MELD and MSP-Podcast only. Otherwise it is a share of the training
    speakers, or of the training clips if train and test share speakers, as in most corpora: figures
    are then speaker-dependent.
    """
    name = "emobox/lists"
    columns = [column for column in dataset.column_names if _FOLD.fullmatch(column)]
    if not columns:
        raise UserError(
            f"protocol.name: {name} needs the columns fold_1 and so on of the corpus emobox"
        )
    check_share("protocol.validation", validation)
    splits = []
    for column in sorted(columns, key=lambda name: int(name.partition("_")[2])):
        rows = _column_rows(dataset, column, None)
        if not rows["validation"] and rows["train"] and _shared(dataset, rows, "train", "test"):
            drawn = draw_clips(
                dataset, rows["train"], validation, seed, True, "protocol.validation"
            )
            rows["train"], rows["validation"] = map(list, drawn)
        splits.append(
            _split(
                name,
                dataset,
                rows,
                column if len(columns) > 1 else None,
                validation,
                seed,
                noted=False,
            )
        )
    return splits if len(splits) > 1 else splits[0]


def _column_rows(
    dataset: Dataset, column: str, parts: Mapping[str, str] | None
) -> dict[str, list[int]]:
    if column not in dataset.column_names:
        raise UserError(
            f"protocol.column: no column {column!r}; the corpus has {', '.join(dataset.column_names)}"
        )
    if parts is not None:  # YAML spells truth values in several ways
        parts = {word.lower(): part for word, part in parts.items()}
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, word in enumerate(map(text, read_column(dataset, column))):
        if word is None:
            continue
        part = split_name(word) if parts is None else parts.get(word.lower())
        if part is not None:
            rows[part].append(row)
        elif parts is None:
            raise UserError(
                f"protocol.column: {word!r} in the column {column!r} is not a part; map it with protocol.parts, such "
                f"as {{{word}: train}}"
            )
    return rows


def _shared(dataset: Dataset, rows: Mapping[str, Sequence[int]], *parts: str) -> int:
    """The number of speakers that are in both parts."""
    speakers = read_column(dataset, "speaker")
    return len(set.intersection(*({speakers[row] for row in rows[part]} for part in parts)))


def _split(
    name: str,
    dataset: Dataset,
    rows: Mapping[str, list[int]],
    fold: str | None,
    validation: float,
    seed: int,
    noted: bool = True,
) -> Split:
    """A split of listed rows; validation is drawn if it is not listed, with a note if `noted`."""
    rows = dict(rows)
    notes = []
    apart = None
    if not rows["validation"] and rows["train"]:
        rows["train"], rows["validation"], apart, drawn = hold_out(
            dataset, rows["train"], validation, seed
        )
        notes = list(drawn)
        if noted:
            notes.append(
                f"The list has no validation part: {validation:g} of the training speakers were drawn."
            )
    both = _shared(dataset, rows, "train", "validation")
    if apart is None:
        apart = () if both else ("speaker",)
        if both and noted:
            notes = [f"{both} speakers are in train and in validation, as listed."]
    shared = _shared(dataset, rows, "train", "test") or _shared(dataset, rows, "validation", "test")
    test_apart = () if shared else ("speaker",)
    return make_split(
        name, dataset, rows, test_apart=test_apart, validation_apart=apart, fold=fold, notes=notes
    )


def _require_apart(split: Split, where: str, shared_speakers: bool) -> Split:
    if split.leak and not shared_speakers:
        raise UserError(
            f"{where}: {split.leak} Correct the list, or set protocol.shared_speakers: true"
        )
    return split


@functools.cache
def published_list(file: str) -> dict[str, Any]:
    """{source, corpora: {corpus: {unit, folds or parts}}} of lists/FILE.json."""
    return json.loads(
        (resources.files(__package__) / "lists" / f"{file}.json").read_text(encoding="utf-8")
    )


def ravdess_actors(dataset: Dataset) -> Split:
    """RAVDESS by the split of many notebooks: actors 1-16 for training, 17-20 for validation, 21-24
    for test.
    """
    return _by_speakers(
        "ravdess/actors-1-16-17-20-21-24", dataset, "ravdess", [["1-16"], ["17-20"], ["21-24"]]
    )


def audb_cremad(dataset: Dataset) -> Split:
    """CREMA-D by the speakers of audEERING's audb: 56 train, 18 dev, 17 test."""
    listed = published_list("audb")["corpora"]["cremad"]
    return _by_speakers("audb/cremad", dataset, "cremad", [listed[part] for part in PARTS])


def _by_speakers(
    name: str, dataset: Dataset, corpus: str, speakers: list[list[int | str]]
) -> Split:
    _require_corpus(name, dataset, corpus)
    return make_split(name, dataset, speaker_independent(dataset, *speakers).rows)


def emobox(corpus: str) -> Callable[..., Split | list[Split]]:
    """The protocol `emobox/CORPUS`. EmoBox's test side is fixed; its validation is not.

    Lists by speaker (RAVDESS, SAVEE) draw validation speakers from the training speakers. Lists by
    clip (CREMA-D, EMO-DB, TESS) have the same speakers in train and test, so validation clips are
    drawn: speaker-dependent.
    """

    def protocol(dataset: Dataset, validation: float = 0.2, seed: int = 0) -> Split | list[Split]:
        name = f"emobox/{corpus}"
        _require_corpus(name, dataset, corpus)
        listed = published_list("emobox")["corpora"][corpus]
        if listed["unit"] == "speaker":
            everyone = sorted(set(read_column(dataset, "speaker")))
            tested = [
                match_speakers(fold, everyone, f"protocol.name: {name}") for fold in listed["folds"]
            ]
            return folds_by_speaker(name, dataset, tested, validation, seed)
        check_share("protocol.validation", validation)
        splits = []
        folds = listed["folds"]
        for number, fold in enumerate(folds, start=1):
            wanted = {f"{corpus}/{stem}" for stem in fold.split()}
            tested = rows_where(dataset, "id", wanted)
            absent = len(wanted) - len(tested)
            notes = [
                f"{absent} of the list's {len(wanted)} test clips are not among this corpus's clips."
            ]
            rest = np.setdiff1d(np.arange(len(dataset)), tested)
            train, validated = draw_clips(
                dataset, rest, validation, seed, True, "protocol.validation"
            )
            rows = {"train": train.tolist(), "validation": validated.tolist(), "test": tested}
            title = f"{number} of {len(folds)}" if len(folds) > 1 else None
            settings = {"test_apart": (), "validation_apart": (), "notes": notes if absent else ()}
            splits.append(make_split(name, dataset, rows, fold=title, **settings))
        return splits if len(splits) > 1 else splits[0]

    return protocol


def _require_corpus(name: str, dataset: Dataset, corpus: str) -> None:
    found = sorted(set(read_column(dataset, "corpus")))
    if found != [corpus]:
        raise UserError(
            f"protocol.name: {name} is a list of {corpus}'s clips, the corpus is {', '.join(found)}"
        )
