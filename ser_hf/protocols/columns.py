"""Parts that the data set itself tells: in a column, or in one column a fold."""

import re
from collections.abc import Mapping, Sequence

from datasets import Dataset

from ..corpora.cells import text
from ..corpora.part_words import part_of
from ..errors import UserError
from .draws import check_share, hold_out
from .listed import natural, split_as_listed
from .random_clips import draw_clips
from .split import PARTS, Split, make_split, read_column

_FOLD = re.compile(r"fold_[0-9]{1,4}", re.ASCII)


def by_column(
    dataset: Dataset,
    column: str | list[str] = "split",
    parts: dict[str, str] | None = None,
    shared_speakers: bool = False,
    validation: float = 0.15,
    seed: int = 0,
) -> Split | list[Split]:
    """Parts as a column of the corpus tells them: the official parts of a data set.

    Args:
        column: the column, or one column a fold. Clips without a value stand in no part.
        parts: the column's words -> train, validation, test, such as ``{0: train, 1: test}``; by default those words
            and their kin (`ser_hf.corpora.part_words`): dev is validation, eval is test. What is not among given
            parts stands in no part.
        shared_speakers: a split whose test speakers are heard in training or validation is an error unless this is
            true. Speakers in both train and validation are told, not refused.
        validation: share of the training speakers that validates where the column tells no validation part.
        seed: of that draw.

    Raises:
        UserError: for a column that is not there, a word that is no part, an empty train or test part, or shared
            speakers that were not allowed.
    """
    for word, part in (parts or {}).items():
        if part not in PARTS:
            raise UserError(f"protocol.parts.{word}: {part!r} is none of {', '.join(PARTS)}")
    columns = [column] if isinstance(column, str) else column
    splits = []
    for name in columns:
        rows = _rows(dataset, name, parts)
        for part in ("train", "test"):
            if not rows[part]:
                raise UserError(f"protocol.column: no clip has {part} in the column {name!r}")
        fold = name if len(columns) > 1 else None
        where = f"protocol.column: {name}"
        splits.append(split_as_listed("column", dataset, rows, where, fold, shared_speakers, validation, seed))
    if not splits:
        raise UserError("protocol.column: an empty list; name a column, or one column a fold")
    return splits if len(splits) > 1 else splits[0]


def emobox_lists(dataset: Dataset, validation: float = 0.2, seed: int = 0) -> Split | list[Split]:
    """The folds that EmoBox lists for a corpus: the columns `fold_1` and so on of the corpus `emobox`.

    EmoBox leaves validation open for all but MELD and MSP-Podcast. Where train and test share no speaker, it takes a
    share of the training speakers; where they do, as published for most corpora, clips drawn at random by label in
    proportion, and every report says that such figures are speaker-dependent.

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
        _emobox(name, dataset, _rows(dataset, column, None), validation, seed, column if len(columns) > 1 else None)
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


def _rows(dataset: Dataset, column: str, parts: Mapping[str, str] | None) -> dict[str, list[int]]:
    if column not in dataset.column_names:
        raise UserError(
            f"protocol.column: the corpus has no column {column!r}; it has {', '.join(dataset.column_names)}"
        )
    words = [text(word) for word in read_column(dataset, column)]
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, word in enumerate(words):
        if word is None:
            continue
        part = part_of(word) if parts is None else parts.get(word) or parts.get(_truth(word))
        if part is not None:
            rows[part].append(row)
        elif parts is None:
            found = sorted(set(words) - {None}, key=natural)
            such = f"{{{found[0]}: train, {found[-1]}: test}}" if len(found) > 1 else f"{{{word}: train}}"
            raise UserError(
                f"protocol.column: {word!r} in the column {column!r} is no part; say which is with protocol.parts, "
                f"such as {such}"
            )
    return rows


def _truth(word: str) -> str | None:
    """True, FALSE and kin as YAML spells them, which is what they are as keys of `protocol.parts`."""
    return word.lower() if word.lower() in ("true", "false") else None


OF_COLUMNS = {"column": by_column, "emobox/lists": emobox_lists}
