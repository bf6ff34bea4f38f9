"""Protocols that keep sentences apart, for corpora in which speakers say the same sentences.

In acted corpora the sentences of the test are usually in training too. A model may then have
learned how each emotion changes these words, and results may not hold for other words.
"""

from collections.abc import Sequence

from datasets import Dataset

from ..utils.errors import UserError
from .folds import groups_of
from .rules import by_speaker, draw_groups, hold_out
from .settings import (
    SentenceDisjointSettings,
    SpeakerAndSentenceDisjointSettings,
    SpeakerIndependentSettings,
)
from .split import PARTS, Split, make_split, read_column, rows_where

# A note names up to this number of sentences.
_NAMED = 6


def by_sentence(dataset: Dataset, settings: SentenceDisjointSettings) -> Split:
    """Split by sentence: **leaky**, the test speakers are in training too.

    Validation is a share of the other sentences. If only one other sentence is left, it is a share
    of the speakers.

    Raises:
        UserError: if a clip has no sentence, the corpus has one sentence only, or a listed
            sentence is unknown.
    """
    sentences = groups_of(dataset, "sentence", settings.name)
    tested = _test_sentences(
        dataset, sentences, settings.test, seed=settings.seed, key="protocol.test"
    )
    others = sorted(set(sentences) - set(tested))
    held_out = hold_out(
        dataset,
        rows_where(dataset, "sentence", others),
        settings.validation,
        settings.seed,
        by="sentence" if len(others) > 1 else "speaker",
    )
    rows = {
        "train": held_out.train,
        "validation": held_out.validation,
        "test": rows_where(dataset, "sentence", tested),
    }
    return make_split(
        settings.name,
        dataset,
        rows,
        test_apart=("sentence",),
        validation_apart=held_out.apart,
        notes=[*held_out.notes, _note(tested)],
    )


def by_speaker_and_sentence(
    dataset: Dataset, settings: SpeakerAndSentenceDisjointSettings
) -> Split:
    """Split by speaker, then keep the test sentences in test and the other sentences elsewhere.

    Clips of test speakers with other sentences, and of other speakers with test sentences, are in
    no split.

    Raises:
        UserError: as `ser_hf.protocols.rules.by_speaker`, if a clip has no sentence, the corpus has
            one sentence only, or a listed sentence is unknown.
    """
    sentences = groups_of(dataset, "sentence", settings.name)
    tested = _test_sentences(
        dataset,
        sentences,
        settings.test_sentences,
        seed=settings.seed,
        key="protocol.test_sentences",
    )
    speakers = by_speaker(
        dataset,
        SpeakerIndependentSettings(
            validation=settings.validation, test=settings.test, seed=settings.seed
        ),
    )
    sentence_of_row = read_column(dataset, "sentence")
    rows = {}
    for part in PARTS:
        rows[part] = [
            row
            for row in speakers.rows[part]
            if (sentence_of_row[row] in tested) == (part == "test")
        ]

    apart = speakers.apart["train/validation"]
    if isinstance(settings.validation, float) and "speaker" not in apart:
        # One speaker is left: divide the sentences that are not tested.
        rest = rows["train"] + rows["validation"]
        held_out = hold_out(dataset, rest, settings.validation, settings.seed)
        rows["train"] = held_out.train
        rows["validation"] = held_out.validation
        apart = held_out.apart
    return make_split(
        settings.name,
        dataset,
        rows,
        test_apart=("speaker", "sentence"),
        validation_apart=apart,
        notes=[*speakers.notes, _note(tested)],
    )


def _test_sentences(
    dataset: Dataset,
    sentences: Sequence[str],
    wanted: float | list[str],
    *,
    seed: int,
    key: str,
) -> list[str]:
    """The listed sentences, or a share of all sentences: at least one, and never all."""
    if isinstance(wanted, list):
        for sentence in wanted:
            if sentence not in sentences:
                raise UserError(
                    f"{key}: no sentence {sentence!r}; the corpus has {'; '.join(sentences):.300}"
                )
        if set(wanted) == set(sentences):
            raise UserError(f"{key}: no sentence is left for training; choose fewer")
        return sorted(set(wanted))
    count = min(max(1, round(wanted * len(sentences))), len(sentences) - 1)
    return draw_groups(dataset, range(len(dataset)), "sentence", count, seed)


def _note(tested: Sequence[str]) -> str:
    """The test sentences as a note, or their number if there are many."""
    if len(tested) > _NAMED:
        return f"{len(tested)} test sentences are in no other split."
    quoted = ", ".join(repr(sentence) for sentence in tested)
    return f"Test sentences: {quoted}; they are in no other split."
