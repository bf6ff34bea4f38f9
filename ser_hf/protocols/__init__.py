"""Protocols: rules that split a corpus into train, validation and test, and the leakage audit.

The table `PROTOCOLS` maps a name to a function of the dataset and the protocol's options that
returns one `Split`, or a list of them for folds.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from .audit import audit, audit_table, contradictions, require_apart, worst_audit
from .folds import kfold, leave_one_corpus_out, leave_one_session_out, leave_one_speaker_out
from .listed import OF_COLUMNS, PUBLISHED, from_file
from .rules import random, random_stratified, speaker_independent
from .split import PAIRS, PARTS, Split, fingerprint, make_split, may_share, save_splits

PROTOCOLS: dict[str, Callable[..., Split | list[Split]]] = {
    "speaker_independent": speaker_independent,
    "kfold": kfold,
    "leave_one_speaker_out": leave_one_speaker_out,
    "leave_one_session_out": leave_one_session_out,
    "leave_one_corpus_out": leave_one_corpus_out,
    "file": from_file,
    **OF_COLUMNS,
    **PUBLISHED,
    "random": random,
    "random_stratified": random_stratified,
}

# Leaky protocols for a recipe's foil, which shows the effect of the leak.
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
    "worst_audit",
]


def protocol_options(name: str) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of a protocol's options."""
    rule = PROTOCOLS[name]
    hints = typing.get_type_hints(rule)
    parameters = inspect.signature(rule).parameters
    return {
        option: (hints[option], parameters[option].default)
        for option in parameters
        if option != "dataset"
    }


def split_corpus(
    dataset: Dataset, name: str, folds: list[int] | None = None, **options: Any
) -> list[Split]:
    """Split a corpus by a named protocol.

    Example: `folds = ser_hf.split_corpus(dataset, "leave_one_speaker_out")`

    Args:
        name: a key of `PROTOCOLS`, such as ``"leave_one_speaker_out"``.
        folds: numbers of the folds to return, counted from 1 (default: all).
        options: of the protocol.

    Returns:
        One split, or one per fold.

    Raises:
        UserError: for an unknown protocol, a fold that does not exist, or an option that does not
            fit the corpus.
    """
    if name not in PROTOCOLS:
        raise UserError(
            f"protocol.name: unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}"
        )
    splits = PROTOCOLS[name](dataset, **options)
    splits = splits if isinstance(splits, list) else [splits]
    for number in folds or ():
        if not 1 <= number <= len(splits):
            raise UserError(
                f"protocol.folds: {name} has folds 1 to {len(splits)} here, got {number}"
            )
    return [splits[number - 1] for number in folds] if folds else splits
