"""Protocols that read a split from a list, so that results can be compared with the literature.

A list is one or several columns of the corpus (`column`), the folds of EmoBox (`emobox/lists`), or
a published list with a name (`published`). Lists in a user's file are read in `list_files`.
"""

import re
from collections.abc import Mapping

from datasets import Dataset

from ..corpora.columns import split_name
from ..utils.cells import text
from ..utils.errors import UserError
from .rules import draw_clips, hold_out
from .settings import ColumnSettings, EmoBoxListsSettings
from .split import PARTS, Split, make_split, read_column

Rows = dict[str, list[int]]
_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)


def by_column(dataset: Dataset, settings: ColumnSettings) -> Split | list[Split]:
    """Read the split from a column of the corpus, such as the official split of a data set.

    Several columns are the folds. Clips without a value in the column, or with a word that
    `settings.parts` lacks, are in no part. Without `settings.parts` the words are train,
    validation, test and their synonyms (`ser_hf.corpora.columns.SPLIT_WORDS`).
    """
    columns = [settings.column] if isinstance(settings.column, str) else settings.column

    splits = []
    for name in columns:
        rows = _column_rows(dataset, name, settings.parts)
        for part in ("train", "test"):
            if not rows[part]:
                raise UserError(f"protocol.column: no clip has {part} in the column {name!r}")
        fold = name if len(columns) > 1 else None
        split = split_of_rows(
            "column",
            dataset,
            rows,
            fold=fold,
            validation=settings.validation,
            seed=settings.seed,
        )
        check_leak(split, f"protocol.column: {name}", settings.shared_speakers)
        splits.append(split)
    return one_or_all(splits)


def emobox_lists(dataset: Dataset, settings: EmoBoxListsSettings) -> Split | list[Split]:
    """Read the folds of EmoBox from the columns `fold_1`, `fold_2`, ... of the corpus `emobox`.

    EmoBox lists validation clips for MELD and MSP-Podcast only. For other corpora, validation is a
    share of the training speakers. If train and test share speakers, as in most corpora, it is a
    share of the training clips, and results are speaker-dependent.
    """
    name = "emobox/lists"
    columns = [column for column in dataset.column_names if _FOLD.fullmatch(column)]
    if not columns:
        raise UserError(
            f"protocol.name: {name} needs the columns fold_1 and so on of the corpus emobox"
        )

    splits = []
    for column in sorted(columns, key=_fold_number):
        rows = _column_rows(dataset, column, None)
        drawn_from_clips = (
            not rows["validation"]
            and rows["train"]
            and _shared_speakers(dataset, rows, "train", "test")
        )
        if drawn_from_clips:
            train, validated = draw_clips(
                dataset,
                rows["train"],
                settings.validation,
                seed=settings.seed,
                stratified=True,
                key="protocol.validation",
            )
            rows["train"] = train.tolist()
            rows["validation"] = validated.tolist()
        split = split_of_rows(
            name,
            dataset,
            rows,
            fold=column if len(columns) > 1 else None,
            validation=settings.validation,
            seed=settings.seed,
            with_notes=False,
        )
        splits.append(split)
    return one_or_all(splits)


def _fold_number(column: str) -> int:
    """The number of a fold from its column: 12 for ``fold_12``."""
    return int(column.partition("_")[2])


def _column_rows(dataset: Dataset, column: str, parts: Mapping[str, str] | None) -> Rows:
    """The rows of each part, read from a column that names the part of each clip."""
    if column not in dataset.column_names:
        raise UserError(
            f"protocol.column: no column {column!r}; the corpus has "
            f"{', '.join(dataset.column_names)}"
        )
    if parts is not None:  # YAML spells truth values in several ways
        parts = {word.lower(): part for word, part in parts.items()}

    rows: Rows = {part: [] for part in PARTS}
    for row, cell in enumerate(read_column(dataset, column)):
        word = text(cell)
        if word is None:
            continue
        part = split_name(word) if parts is None else parts.get(word.lower())
        if part is not None:
            rows[part].append(row)
        elif parts is None:
            raise UserError(
                f"protocol.column: {word!r} in the column {column!r} is not a part; map it with "
                f"protocol.parts, such as {{{word}: train}}"
            )
    return rows


def _shared_speakers(dataset: Dataset, rows: Rows, first: str, second: str) -> int:
    """The number of speakers that are in both parts."""
    speakers = read_column(dataset, "speaker")
    first_speakers = {speakers[row] for row in rows[first]}
    second_speakers = {speakers[row] for row in rows[second]}
    return len(first_speakers & second_speakers)


def split_of_rows(
    name: str,
    dataset: Dataset,
    rows: Rows,
    *,
    fold: str | None,
    validation: float,
    seed: int,
    with_notes: bool = True,
) -> Split:
    """Make a split from listed rows, and draw validation if it is not listed.

    Args:
        with_notes: whether to add notes about this draw, and about speakers that are in train and
            in validation.
    """
    rows = dict(rows)
    notes: list[str] = []
    apart: tuple[str, ...] = ("speaker",)

    if not rows["validation"] and rows["train"]:
        held_out = hold_out(dataset, rows["train"], validation, seed)
        rows["train"] = held_out.train
        rows["validation"] = held_out.validation
        apart = held_out.apart
        notes += held_out.notes
        if with_notes:
            notes.append(
                f"The list has no validation part: {validation:g} of the training speakers were "
                "drawn."
            )
    else:
        shared = _shared_speakers(dataset, rows, "train", "validation")
        if shared:
            apart = ()
            if with_notes:
                notes.append(f"{shared} speakers are in train and in validation, as listed.")

    tested_are_new = not (
        _shared_speakers(dataset, rows, "train", "test")
        or _shared_speakers(dataset, rows, "validation", "test")
    )
    return make_split(
        name,
        dataset,
        rows,
        test_apart=("speaker",) if tested_are_new else (),
        validation_apart=apart,
        fold=fold,
        notes=notes,
    )


def check_leak(split: Split, where: str, shared_speakers: bool) -> None:
    """Raise a `UserError` if test speakers are in train or validation and this is not allowed."""
    if split.leak and not shared_speakers:
        raise UserError(
            f"{where}: {split.leak} Correct the list, or set protocol.shared_speakers: true"
        )


def one_or_all(splits: list[Split]) -> Split | list[Split]:
    """The split itself if there is only one; otherwise the list of folds."""
    return splits if len(splits) > 1 else splits[0]
