"""Protocols: rules that turn a corpus into train, validation and test, and the audit that proves they do not leak.

The table below is the registry: name -> a function of the dataset and of the protocol's own options, which gives one
`Split`, or a list of them where the protocol has folds.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from .audit import audit, audit_table, contradictions, require_apart, worst
from .folds import (
    kfold,
    leave_one_corpus_out,
    leave_one_sentence_out,
    leave_one_session_out,
    leave_one_speaker_out,
)
from .listed import OF_COLUMNS, from_file
from .published import PUBLISHED
from .rules import random, random_stratified, speaker_and_sentence_disjoint, speaker_independent
from .split import PAIRS, PARTS, Split, fingerprint, make_split, may_share, save_splits

PROTOCOLS: dict[str, Callable[..., Split | list[Split]]] = {
    "speaker_independent": speaker_independent,
    "kfold": kfold,
    "leave_one_speaker_out": leave_one_speaker_out,
    "leave_one_session_out": leave_one_session_out,
    "leave_one_sentence_out": leave_one_sentence_out,
    "leave_one_corpus_out": leave_one_corpus_out,
    "speaker_and_sentence_disjoint": speaker_and_sentence_disjoint,
    "file": from_file,
    **OF_COLUMNS,
    **PUBLISHED,
    "random": random,
    "random_stratified": random_stratified,
}

# The ones that a recipe may name as its foil: leaky, to show what the leak is worth.
FOILS = ("random", "random_stratified")

__all__ = [
    "FOILS",
    "PAIRS",
    "PARTS",
    "PROTOCOLS",
    "Split",
    "audit",
    "audit_table",
    "contradictions",
    "fingerprint",
    "make_split",
    "may_share",
    "protocol_options",
    "require_apart",
    "save_splits",
    "speaker_independent",
    "split_corpus",
    "worst",
]


def protocol_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options that a protocol takes beside the dataset."""
    rule = PROTOCOLS[name]
    hints = typing.get_type_hints(rule)
    parameters = inspect.signature(rule).parameters
    return {option: (hints[option], parameters[option].default) for option in parameters if option != "dataset"}


def split_corpus(dataset: Dataset, name: str, folds: list[int] | None = None, **options: Any) -> list[Split]:
    """The splits of a protocol: one, or one a fold. `folds` picks some of them by number, counted from 1.

    Raises:
        UserError: for an unknown protocol or fold, and as the protocol does.
    """
    if name not in PROTOCOLS:
        raise UserError(f"protocol.name: {name!r} is none of {', '.join(PROTOCOLS)}")
    splits = PROTOCOLS[name](dataset, **options)
    splits = splits if isinstance(splits, list) else [splits]
    for number in folds or ():
        if not 1 <= number <= len(splits):
            raise UserError(f"protocol.folds: {name} has folds 1 to {len(splits)} here, got {number}")
    return [splits[number - 1] for number in folds] if folds else splits
