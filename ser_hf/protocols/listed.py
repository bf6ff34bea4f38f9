"""Protocols that read a split from a list, so that results can be compared with the literature.

A list is one or several columns of the corpus (`column`), the folds of EmoBox (`emobox/lists`), or
a published list with a name. Published lists are in lists/*.json, with their sources. Lists in a
user's file are read in `list_files`.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from importlib import resources

import numpy as np
from datasets import Dataset

from ..corpora.columns import split_name
from ..utils.cells import text
from ..utils.errors import UserError
from .folds import folds_by_speaker
from .rules import by_speaker, draw_clips, hold_out, match_speakers
from .settings import (
    ColumnSettings,
    EmoBoxListsSettings,
    EmoBoxSettings,
    PublishedSpeakersSettings,
    SpeakerIndependentSettings,
)
from .split import PARTS, Split, make_split, read_column, rows_where

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


@dataclasses.dataclass(frozen=True)
class PublishedSplits:
    """The published splits of one corpus.

    Attributes:
        unit: ``speaker`` or ``utterance``: whether the lists contain speakers or clips.
        folds: for each fold the list of test speakers, or one text with the names of the test
            clips.
        validation: for each fold the list of validation speakers; empty if they are not published.
        parts: the speakers of train, validation and test, if the list has no folds.
    """

    unit: str
    folds: list[list[str] | str]
    validation: list[list[str]]
    parts: dict[str, list[str]]


@functools.cache
def published_list(file: str) -> dict[str, PublishedSplits]:
    """The published splits in lists/FILE.json, by corpus."""
    path = resources.files(__package__) / "lists" / f"{file}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    published = {}
    for corpus, listed in content["corpora"].items():
        folds = listed.get("folds", [])
        if folds:
            validation = listed.get("validation", [])
            published[corpus] = PublishedSplits(listed["unit"], folds, validation, parts={})
        else:
            parts = {part: listed[part] for part in PARTS}
            published[corpus] = PublishedSplits(listed["unit"], [], [], parts)
    return published


def ravdess_actors(dataset: Dataset, settings: PublishedSpeakersSettings) -> Split:
    """Split RAVDESS as many public notebooks do.

    Actors 1-16 are for training, 17-20 for validation, 21-24 for the test.
    """
    speakers = {"train": ["1-16"], "validation": ["17-20"], "test": ["21-24"]}
    return _by_speakers(settings.name, dataset, "ravdess", speakers)


def audb_cremad(dataset: Dataset, settings: PublishedSpeakersSettings) -> Split:
    """Split CREMA-D by speakers as audEERING's audb does: 56 train, 18 dev, 17 test."""
    speakers = published_list("audb")["cremad"].parts
    return _by_speakers(settings.name, dataset, "cremad", speakers)


def emosuperb_cremad(dataset: Dataset, settings: PublishedSpeakersSettings) -> list[Split]:
    """Split CREMA-D into EMO-SUPERB's five folds by speaker (Wu et al. 2024, arXiv:2402.13018).

    The published lists have the development and the test speakers of each fold.
    """
    name = settings.name
    _require_corpus(name, dataset, "cremad")
    published = published_list("emosuperb")["cremad"]
    splits = []
    for validation, test in zip(published.validation, published.folds, strict=True):
        listed = SpeakerIndependentSettings(validation=validation, test=test)
        rows = by_speaker(dataset, listed).rows
        splits.append(make_split(name, dataset, rows, fold=", ".join(test)))
    return splits


def _by_speakers(
    name: str, dataset: Dataset, corpus: str, speakers: Mapping[str, list[int | str]]
) -> Split:
    """Make the split with these speakers in each part."""
    _require_corpus(name, dataset, corpus)
    listed = SpeakerIndependentSettings(
        train=speakers["train"],
        validation=speakers["validation"],
        test=speakers["test"],
    )
    return make_split(name, dataset, by_speaker(dataset, listed).rows)


def emobox(dataset: Dataset, settings: EmoBoxSettings) -> Split | list[Split]:
    """Make EmoBox's folds of one corpus, the one that the protocol's name ends with.

    EmoBox lists the test clips, but no validation clips. Where it lists test speakers (RAVDESS,
    SAVEE), validation speakers are drawn from the training speakers. Where it lists test clips
    (CREMA-D, EMO-DB, TESS), the same speakers are in train and test. Validation clips are then
    drawn from the training clips, and results are speaker-dependent.
    """
    name = settings.name
    corpus = name.partition("/")[2]
    _require_corpus(name, dataset, corpus)
    published = published_list("emobox")[corpus]
    folds = published.folds
    if published.unit == "speaker":
        everyone = sorted(set(read_column(dataset, "speaker")))
        tested = [match_speakers(fold, everyone, f"protocol.name: {name}") for fold in folds]
        return folds_by_speaker(name, dataset, tested, settings.validation, settings.seed)

    splits = []
    for number, fold in enumerate(folds, start=1):
        test_ids = {f"{corpus}/{stem}" for stem in fold.split()}
        split = _fold_by_clip(
            name,
            dataset,
            test_ids,
            title=f"{number} of {len(folds)}" if len(folds) > 1 else None,
            validation=settings.validation,
            seed=settings.seed,
        )
        splits.append(split)
    return one_or_all(splits)


def _fold_by_clip(
    name: str,
    dataset: Dataset,
    test_ids: set[str],
    *,
    title: str | None,
    validation: float,
    seed: int,
) -> Split:
    """Make the fold with these test clips; validation is a share of the other clips."""
    test_rows = rows_where(dataset, "id", test_ids)
    notes = []
    absent = len(test_ids) - len(test_rows)
    if absent:
        notes.append(
            f"{absent} of the list's {len(test_ids)} test clips are not among this corpus's clips."
        )

    rest = np.setdiff1d(np.arange(len(dataset)), test_rows)
    train, validated = draw_clips(
        dataset, rest, validation, seed=seed, stratified=True, key="protocol.validation"
    )
    rows = {"train": train.tolist(), "validation": validated.tolist(), "test": test_rows}
    return make_split(
        name, dataset, rows, test_apart=(), validation_apart=(), fold=title, notes=notes
    )


def _require_corpus(name: str, dataset: Dataset, corpus: str) -> None:
    corpora = sorted(set(read_column(dataset, "corpus")))
    if corpora != [corpus]:
        raise UserError(
            f"protocol.name: {name} is a list of {corpus}'s clips, the corpus is "
            f"{', '.join(corpora)}"
        )
