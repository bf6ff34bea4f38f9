"""The table of protocols: the settings of each protocol, and its function that splits a corpus."""

import dataclasses
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from .folds import kfold, leave_one_corpus_out, leave_one_session_out, leave_one_speaker_out
from .listed import audb_cremad, by_column, emobox, emobox_lists, from_file, ravdess_actors
from .rules import random, random_stratified, speaker_independent
from .settings import (
    ColumnSettings,
    EmoBoxListsSettings,
    EmoBoxSettings,
    FileSettings,
    KFoldSettings,
    LeaveOneCorpusOutSettings,
    LeaveOneSessionOutSettings,
    LeaveOneSpeakerOutSettings,
    ProtocolSettings,
    PublishedSpeakersSettings,
    RandomSettings,
    SpeakerIndependentSettings,
)
from .split import Split


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A rule that splits a corpus, or a published list.

    `settings` is the section `protocol` of a recipe. `split` is a function of the dataset and of
    the protocol's options (`ProtocolSettings.options`). It returns one split, or a list with one
    split for each fold.
    """

    settings: type[ProtocolSettings]
    split: Callable[..., Split | list[Split]]


PROTOCOLS = {
    "speaker_independent": Protocol(SpeakerIndependentSettings, speaker_independent),
    "kfold": Protocol(KFoldSettings, kfold),
    "leave_one_speaker_out": Protocol(LeaveOneSpeakerOutSettings, leave_one_speaker_out),
    "leave_one_session_out": Protocol(LeaveOneSessionOutSettings, leave_one_session_out),
    "leave_one_corpus_out": Protocol(LeaveOneCorpusOutSettings, leave_one_corpus_out),
    "file": Protocol(FileSettings, from_file),
    "column": Protocol(ColumnSettings, by_column),
    "emobox/lists": Protocol(EmoBoxListsSettings, emobox_lists),
    "ravdess/actors-1-16-17-20-21-24": Protocol(PublishedSpeakersSettings, ravdess_actors),
    "audb/cremad": Protocol(PublishedSpeakersSettings, audb_cremad),
    "emobox/cremad": Protocol(EmoBoxSettings, emobox("cremad")),
    "emobox/emodb": Protocol(EmoBoxSettings, emobox("emodb")),
    "emobox/ravdess": Protocol(EmoBoxSettings, emobox("ravdess")),
    "emobox/savee": Protocol(EmoBoxSettings, emobox("savee")),
    "emobox/tess": Protocol(EmoBoxSettings, emobox("tess")),
    "random": Protocol(RandomSettings, random),
    "random_stratified": Protocol(RandomSettings, random_stratified),
}

# Leaky protocols that a recipe may run as its foil, to show the effect of the leak.
FOILS = ("random", "random_stratified")


def split_corpus(
    dataset: Dataset, name: str, folds: list[int] | None = None, **options: Any
) -> list[Split]:
    """Split a corpus by a named protocol.

    Example: `folds = ser_hf.split_corpus(dataset, "leave_one_speaker_out")`

    Args:
        name: a key of `PROTOCOLS`, such as ``"leave_one_speaker_out"``.
        folds: numbers of the folds to return, counted from 1 (default: all).
        options: options of the protocol.

    Returns:
        A list with one split, or with one split for each fold.

    Raises:
        UserError: for an unknown protocol, a fold that does not exist, or an option that does not
            fit the corpus.
    """
    if name not in PROTOCOLS:
        raise UserError(
            f"protocol.name: unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}"
        )

    splits = PROTOCOLS[name].split(dataset, **options)
    if not isinstance(splits, list):
        splits = [splits]
    if not folds:
        return splits

    for number in folds:
        if not 1 <= number <= len(splits):
            raise UserError(
                f"protocol.folds: {name} has folds 1 to {len(splits)} here, got {number}"
            )
    return [splits[number - 1] for number in folds]
