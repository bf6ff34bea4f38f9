"""Cross-validation by whole groups: every clip is tested once, in the fold that holds its group out."""

import logging
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from datasets import Dataset
from sklearn.model_selection import StratifiedGroupKFold

from ..utils.errors import UserError
from .rules import hold_out
from .split import Split, make_split, read_column, rows_where

logger = logging.getLogger(__name__)

# Columns whose plural is no matter of an s.
_PLURALS = {"corpus": "corpora"}

# More speakers than this are counted, not named, in a fold's title.
_NAMED = 6


def kfold(dataset: Dataset, k: int = 5, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """k folds of speakers, labels in proportion (scikit-learn's `StratifiedGroupKFold`), of several corpora those of
    each; validation is a share of the training speakers of each fold.

    Raises:
        UserError: for fewer than two folds, or more folds than speakers, or than any label has clips.
    """
    speakers = _groups(dataset, "speaker", "kfold")
    if not 2 <= k <= len(speakers):
        raise UserError(f"protocol.k: {len(speakers)} speakers make 2 to {len(speakers)} folds, got {k}")
    folds = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    of, labels = np.asarray(read_column(dataset, "speaker")), read_column(dataset, "label")
    corpora = read_column(dataset, "corpus")
    if len(set(corpora)) > 1:
        labels = [f"{corpus} {label}" for corpus, label in zip(corpora, labels, strict=True)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # said below, by its name
            parts = [sorted(set(of[test])) for _, test in folds.split(of, labels, of)]
    except ValueError:
        raise UserError(f"protocol.k: no label has {k} clips, so that {k} folds cannot have one each") from None
    _tell_rare(dataset, labels, k)
    if not all(parts):  # stratifying may leave a fold without a speaker where there are few
        shuffled = np.random.default_rng(seed).permutation(speakers)
        parts = [sorted(part.tolist()) for part in np.array_split(shuffled, k)]
    return folds_by_speaker("kfold", dataset, parts, validation, seed)


def _tell_rare(dataset: Dataset, strata: Sequence[Hashable], k: int) -> None:
    """Says which label, of several corpora which label of which corpus, has fewer clips than there are folds."""
    rarest, clips = min(Counter(strata).items(), key=lambda item: item[1])
    if clips < k:
        row = dataset[strata.index(rarest)]
        name = dataset.features["label"].int2str(row["label"])
        where = f" in {row['corpus']}" if isinstance(rarest, str) else ""
        logger.warning("kfold: %s has %d clips%s for %d folds: some folds test none of them", name, clips, where, k)


def leave_one_speaker_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold a speaker; validation is a share of the others (of the other's sentences where there are two).

    Raises:
        UserError: with one speaker only.
    """
    speakers = _groups(dataset, "speaker", "leave_one_speaker_out")
    return folds_by_speaker("leave_one_speaker_out", dataset, [[name] for name in speakers], validation, seed)


def leave_one_corpus_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold a corpus: what is a recogniser worth in another room, with other microphones, sentences and
    instructions to the speakers? Validation is a share of the speakers of each corpus that is learnt from.

    Raises:
        UserError: with one corpus only, and for a class that one corpus alone has, which nothing could be learnt of
            while that corpus is tested.
    """
    name = "leave_one_corpus_out"
    corpora = _groups(dataset, "corpus", name)
    labels, names = read_column(dataset, "label"), dataset.features["label"].names
    homes: dict[int, set[str]] = {}
    for label, corpus in zip(labels, read_column(dataset, "corpus"), strict=True):
        homes.setdefault(label, set()).add(corpus)
    for label in sorted(homes):
        if len(homes[label]) == 1:
            raise UserError(
                f"protocol.name: {name} needs every class in two corpora or more, but {names[label]} stands in "
                f"{', '.join(homes[label])} alone; merge it (corpus.merge) or drop it (corpus.drop)"
            )
    folds = []
    for corpus in corpora:
        tested = rows_where(dataset, "corpus", [corpus])
        rest = sorted(set(range(len(dataset))) - set(tested))
        train, validated, apart, notes = hold_out(dataset, rest, validation, seed)
        rows = {"train": train, "validation": validated, "test": tested}
        folds.append(make_split(name, dataset, rows, validation_apart=apart, fold=corpus, notes=notes))
    return folds


def leave_one_session_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold a recording session (IEMOCAP's convention); validation is a share of the other sessions, at least one,
    so that no partner of a validation speaker's dialogue is learnt from.

    Raises:
        UserError: if the corpus has no column `session`, or a session that shares a speaker with another.
    """
    name = "leave_one_session_out"
    folds = []
    sessions = _groups(dataset, "session", name)
    _require_own_speakers(dataset, name)
    for session in sessions:
        tested = rows_where(dataset, "session", [session])
        rest = sorted(set(range(len(dataset))) - set(tested))
        train, validated, apart, notes = hold_out(dataset, rest, validation, seed, by="session")
        rows = {"train": train, "validation": validated, "test": tested}
        kept = ("speaker", "session") if apart == ("speaker",) else apart
        folds.append(
            make_split(
                *(name, dataset, rows),
                test_apart=("speaker", "session"),
                validation_apart=kept,
                fold=session,
                notes=notes,
            )
        )
    return folds


def leave_one_sentence_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold a sentence: can it recognise emotion in words never heard? The speakers **are** heard in training.

    Validation is a share of the other sentences, or of the speakers where one other sentence is left.

    Raises:
        UserError: if the corpus does not know its sentences, or has one only.
    """
    name = "leave_one_sentence_out"
    sentences = read_column(dataset, "sentence")
    folds = []
    for sentence in _groups(dataset, "sentence", name):
        tested = rows_where(dataset, "sentence", [sentence])
        rest = sorted(set(range(len(dataset))) - set(tested))
        others = {sentences[row] for row in rest}
        by = "sentence" if len(others) > 1 else "speaker"
        train, validated, _, notes = hold_out(dataset, rest, validation, seed, by=by)
        rows = {"train": train, "validation": validated, "test": tested}
        folds.append(
            make_split(
                *(name, dataset, rows),
                test_apart=("sentence",),
                validation_apart=(by,),
                fold=sentence,
                notes=notes,
            )
        )
    return folds


def folds_by_speaker(
    name: str, dataset: Dataset, tested: Sequence[Sequence[str]], validation: float, seed: int
) -> list[Split]:
    """One fold for each list of test speakers, validation drawn from the speakers that are left."""
    folds = []
    for number, speakers in enumerate(tested, start=1):
        rows = rows_where(dataset, "speaker", speakers)
        rest = sorted(set(range(len(dataset))) - set(rows))
        train, validated, apart, notes = hold_out(dataset, rest, validation, seed)
        parts = {"train": train, "validation": validated, "test": rows}
        few = len(speakers) <= _NAMED
        fold = ", ".join(speakers) if few else f"{number} of {len(tested)} ({len(speakers)} speakers)"
        folds.append(make_split(name, dataset, parts, validation_apart=apart, fold=fold, notes=notes))
    return folds


def _groups(dataset: Dataset, column: str, name: str) -> list[str]:
    values = set(read_column(dataset, column)) if column in dataset.column_names else {None}
    if None in values:
        raise UserError(f"protocol.name: {name} needs a {column} for every clip, and this corpus does not tell it")
    if len(values) < 2:
        plural = _PLURALS.get(column, f"{column}s")
        raise UserError(f"protocol.name: {name} needs at least two {plural}, the corpus has {', '.join(values)}")
    return sorted(values)


def _require_own_speakers(dataset: Dataset, name: str) -> None:
    session_of: dict[str, str] = {}
    for speaker, session in zip(read_column(dataset, "speaker"), read_column(dataset, "session"), strict=True):
        first = session_of.setdefault(speaker, session)
        if first != session:
            raise UserError(
                f"protocol.name: {name} needs sessions without a common speaker, but {speaker} stands in {first} and "
                f"in {session}; leave_one_speaker_out and kfold keep speakers apart here"
            )
