"""Published splits by name, to compare figures with the literature. The lists are in lists/*.json, each file with its
source; most have no validation part, and the functions here describe how it is chosen.
"""

import functools
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .folds import folds_by_speaker
from .rules import check_share, draw_clips, match_speakers, speaker_independent
from .split import PARTS, Split, make_split, read_column, rows_where


@functools.cache
def published_list(file: str) -> dict[str, Any]:
    """{source, corpora: {corpus: {unit, folds or parts}}} of lists/FILE.json."""
    return json.loads((resources.files(__package__) / "lists" / f"{file}.json").read_text(encoding="utf-8"))


def ravdess_actors(dataset: Dataset) -> Split:
    """RAVDESS by the split of many notebooks: actors 1-16 for training, 17-20 for validation, 21-24 for test."""
    name = "ravdess/actors-1-16-17-20-21-24"
    _require_corpus(name, dataset, "ravdess")
    return make_split(name, dataset, speaker_independent(dataset, ["1-16"], ["17-20"], ["21-24"]).rows)


def audb_cremad(dataset: Dataset) -> Split:
    """CREMA-D by the speakers of audEERING's audb: 56 train, 18 dev, 17 test."""
    name = "audb/cremad"
    _require_corpus(name, dataset, "cremad")
    listed = published_list("audb")["corpora"]["cremad"]
    return make_split(name, dataset, speaker_independent(dataset, *(listed[part] for part in PARTS)).rows)


def emobox(corpus: str) -> Callable[..., Split | list[Split]]:
    """The protocol `emobox/CORPUS`. EmoBox's test side is fixed; its validation is not.

    Lists by speaker (RAVDESS, SAVEE) take validation speakers from the training speakers. Lists by clip (CREMA-D,
    EMO-DB, TESS) share all speakers between train and test, as published, so validation is clips drawn at random from
    the training side with labels in proportion; every report calls such figures speaker-dependent.
    """

    def protocol(dataset: Dataset, validation: float = 0.2, seed: int = 0) -> Split | list[Split]:
        name = f"emobox/{corpus}"
        _require_corpus(name, dataset, corpus)
        listed = published_list("emobox")["corpora"][corpus]
        if listed["unit"] == "speaker":
            everyone = sorted(set(read_column(dataset, "speaker")))
            tested = [match_speakers(fold, everyone, f"protocol.name: {name}") for fold in listed["folds"]]
            return folds_by_speaker(name, dataset, tested, validation, seed)
        check_share("protocol.validation", validation)
        splits, folds = [], listed["folds"]
        for number, fold in enumerate(folds, start=1):
            wanted = {f"{corpus}/{stem}" for stem in fold.split()}
            tested = rows_where(dataset, "id", wanted)
            absent = len(wanted) - len(tested)
            notes = [f"{absent} of the list's {len(wanted)} test clips are not among this corpus's clips."]
            rest = np.setdiff1d(np.arange(len(dataset)), tested)
            train, validated = draw_clips(dataset, rest, validation, seed, True, "protocol.validation")
            rows = {"train": train.tolist(), "validation": validated.tolist(), "test": tested}
            title = f"{number} of {len(folds)}" if len(folds) > 1 else None
            settings = {"test_apart": (), "validation_apart": (), "notes": notes if absent else ()}
            splits.append(make_split(name, dataset, rows, fold=title, **settings))
        return splits if len(splits) > 1 else splits[0]

    return protocol


def _require_corpus(name: str, dataset: Dataset, corpus: str) -> None:
    found = sorted(set(read_column(dataset, "corpus")))
    if found != [corpus]:
        raise UserError(f"protocol.name: {name} is a list of {corpus}'s clips, the corpus is {', '.join(found)}")


PUBLISHED: dict[str, Callable[..., Split | list[Split]]] = {
    "ravdess/actors-1-16-17-20-21-24": ravdess_actors,
    "audb/cremad": audb_cremad,
    **{f"emobox/{corpus}": emobox(corpus) for corpus in ("cremad", "emodb", "ravdess", "savee", "tess")},
}
