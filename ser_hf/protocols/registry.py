"""The table of protocols: the settings of each protocol, and its function that splits a corpus."""

import dataclasses
from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..utils.errors import UserError
from ..utils.validation import validated
from .cameo import cameo_by_speaker
from .folds import kfold, leave_one_corpus_out, leave_one_session_out, leave_one_speaker_out
from .list_files import from_file
from .listed import by_column, emobox_lists
from .published import split_published_folds, split_published_speakers
from .rules import at_random, by_speaker
from .sentences import by_sentence, by_speaker_and_sentence
from .settings import (
    CameoSettings,
    ColumnSettings,
    EmoBoxListsSettings,
    FileSettings,
    KFoldSettings,
    LeaveOneCorpusOutSettings,
    LeaveOneSessionOutSettings,
    LeaveOneSpeakerOutSettings,
    ProtocolSettings,
    PublishedFoldsSettings,
    PublishedSpeakersSettings,
    RandomSettings,
    SentenceDisjointSettings,
    SpeakerAndSentenceDisjointSettings,
    SpeakerIndependentSettings,
)
from .split import Split


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A rule that splits a corpus, or a published list.

    `settings` is the class of the section `protocol` of a recipe. `split` is a function of the
    dataset and of these settings. It returns one split, or a list with one split for each fold.
    """

    settings: type[ProtocolSettings]
    split: Callable[[Dataset, Any], Split | list[Split]]


PROTOCOLS = {
    "speaker_independent": Protocol(SpeakerIndependentSettings, by_speaker),
    "kfold": Protocol(KFoldSettings, kfold),
    "leave_one_speaker_out": Protocol(LeaveOneSpeakerOutSettings, leave_one_speaker_out),
    "leave_one_session_out": Protocol(LeaveOneSessionOutSettings, leave_one_session_out),
    "leave_one_corpus_out": Protocol(LeaveOneCorpusOutSettings, leave_one_corpus_out),
    "sentence_disjoint": Protocol(SentenceDisjointSettings, by_sentence),
    "speaker_and_sentence_disjoint": Protocol(
        SpeakerAndSentenceDisjointSettings, by_speaker_and_sentence
    ),
    "file": Protocol(FileSettings, from_file),
    "column": Protocol(ColumnSettings, by_column),
    "emobox/lists": Protocol(EmoBoxListsSettings, emobox_lists),
    "ravdess/actors-1-16-17-20-21-24": Protocol(
        PublishedSpeakersSettings, split_published_speakers
    ),
    "audb/cremad": Protocol(PublishedSpeakersSettings, split_published_speakers),
    "emosuperb/cremad": Protocol(PublishedSpeakersSettings, split_published_speakers),
    "emobox/cremad": Protocol(PublishedFoldsSettings, split_published_folds),
    "emobox/emodb": Protocol(PublishedFoldsSettings, split_published_folds),
    "emobox/ravdess": Protocol(PublishedFoldsSettings, split_published_folds),
    "emobox/savee": Protocol(PublishedFoldsSettings, split_published_folds),
    "emobox/tess": Protocol(PublishedFoldsSettings, split_published_folds),
    "emobox/iemocap": Protocol(PublishedFoldsSettings, split_published_folds),
    "luna-jimenez/ravdess": Protocol(PublishedFoldsSettings, split_published_folds),
    "speechbrain/iemocap": Protocol(PublishedSpeakersSettings, split_published_speakers),
    "mteb/cameo": Protocol(CameoSettings, cameo_by_speaker),
    "random": Protocol(RandomSettings, at_random),
    "random_stratified": Protocol(RandomSettings, at_random),
}

# Leaky protocols that a recipe may run as its foil, to show the effect of the leak.
FOILS = ("random", "random_stratified")


# The home of the default values that `speaker_independent` shows in its signature.
_SPEAKER_INDEPENDENT = SpeakerIndependentSettings()


def split_corpus(
    dataset: Dataset, name: str, folds: list[int] | None = None, **options: Any
) -> list[Split]:
    """Split a corpus by a named protocol.

    Example: `folds = ser_hf.split_corpus(dataset, "leave_one_speaker_out")`

    Args:
        name: a key of `PROTOCOLS`, such as ``"leave_one_speaker_out"``.
        folds: numbers of the folds to return, counted from 1 (default: all).
        options: the other keys of the recipe's section `protocol`, such as ``k=10`` for kfold.

    Returns:
        A list with one split, or with one split for each fold.

    Raises:
        UserError: for an unknown protocol, an unknown or wrong option, an option that does not fit
            the corpus, or a fold that does not exist.
    """
    if name not in PROTOCOLS:
        raise UserError(
            f"protocol.name: unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}"
        )
    values = {"name": name, "folds": folds, **options}
    return split_by(dataset, validated(PROTOCOLS[name].settings, values, "protocol"))


def split_by(dataset: Dataset, settings: ProtocolSettings) -> list[Split]:
    """Split a corpus by the section `protocol` of a recipe.

    Returns:
        A list with one split, or with one split for each of `settings.folds`.

    Raises:
        UserError: for a key that does not fit the corpus, or a fold that does not exist.
    """
    splits = PROTOCOLS[settings.name].split(dataset, settings)
    if not isinstance(splits, list):
        splits = [splits]
    if settings.folds is None:
        return splits

    for number in settings.folds:
        if number > len(splits):
            raise UserError(
                f"protocol.folds: {settings.name} has folds 1 to {len(splits)} here, got {number}"
            )
    return [splits[number - 1] for number in settings.folds]


def speaker_independent(
    dataset: Dataset,
    train: list[int | str] | None = _SPEAKER_INDEPENDENT.train,
    validation: float | list[int | str] = _SPEAKER_INDEPENDENT.validation,
    test: float | list[int | str] = _SPEAKER_INDEPENDENT.test,
    seed: int = _SPEAKER_INDEPENDENT.seed,
) -> Split:
    """Split by speaker: each speaker is in one of train, validation and test.

    Example: `split = ser_hf.speaker_independent(dataset, validation=0.2, test=["17-20"])`

    Args:
        train: training speakers; by default all speakers that are not in another part.
        validation, test: speakers (``17``, ``"ravdess:17"`` or the range ``"17-20"``), or a share
            of all speakers, drawn from each corpus in proportion. If only one speaker is left after
            the draw for the test, as in TESS, `validation` is a share of the sentences of that
            speaker.
        seed: seed of the draw.

    Returns:
        The split, with row numbers, ids and speakers of each part.

    Raises:
        UserError: for a wrong value, an unknown speaker, a speaker in two parts, a part without
            speakers, or a part without clips of a class.
    """
    (split,) = split_corpus(
        dataset,
        "speaker_independent",
        train=train,
        validation=validation,
        test=test,
        seed=seed,
    )
    return split
