"""Cross-validation by groups of clips, such as the clips of a speaker.

Every clip is tested once, in the fold that holds out its group.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .rules import hold_out
from .settings import (
    KFoldSettings,
    LeaveOneCorpusOutSettings,
    LeaveOneSessionOutSettings,
    LeaveOneSpeakerOutSettings,
)
from .split import Split, make_split, read_column, rows_where

# A fold's title names up to this number of speakers.
_NAMED = 6


def kfold(dataset: Dataset, settings: KFoldSettings) -> list[Split]:
    """Split into k folds by speaker, with similar shares of each label of each corpus in all folds.

    Folds are drawn by scikit-learn's `StratifiedGroupKFold`.
    """
    k = settings.k
    seed = settings.seed
    speakers = groups_of(dataset, "speaker", "kfold")
    if k > len(speakers):
        raise UserError(
            f"protocol.k: {len(speakers)} speakers make 2 to {len(speakers)} folds, got {k}"
        )
    tested = _stratified_folds(dataset, k, seed)
    if not all(tested):  # with few speakers, stratifying may leave a fold empty
        shuffled = np.random.default_rng(seed).permutation(speakers)
        tested = [sorted(part.tolist()) for part in np.array_split(shuffled, k)]
    return folds_by_speaker("kfold", dataset, tested, settings.validation, seed)


def _stratified_folds(dataset: Dataset, k: int, seed: int) -> list[list[str]]:
    """The test speakers of each fold."""
    # scikit-learn is imported late, because the check of a recipe does not need it.
    from sklearn.model_selection import StratifiedGroupKFold

    speaker_of_row = np.asarray(read_column(dataset, "speaker"))
    classes = read_column(dataset, "label")
    corpora = read_column(dataset, "corpus")
    if len(set(corpora)) > 1:
        classes = [f"{corpus} {label}" for corpus, label in zip(corpora, classes, strict=True)]

    splitter = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            # The warning is not needed: the notes of a fold name the classes that the fold lacks.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            folds = list(splitter.split(speaker_of_row, classes, speaker_of_row))
    except ValueError:
        raise UserError(
            f"protocol.k: every label has fewer than {k} clips; use fewer folds"
        ) from None
    return [sorted(set(speaker_of_row[test])) for _, test in folds]


def leave_one_speaker_out(dataset: Dataset, settings: LeaveOneSpeakerOutSettings) -> list[Split]:
    """Split into one fold per speaker.

    Validation is a share of the other speakers. If there is only one other speaker, it is a share
    of the sentences of that speaker.
    """
    name = "leave_one_speaker_out"
    tested = [[speaker] for speaker in groups_of(dataset, "speaker", name)]
    return folds_by_speaker(name, dataset, tested, settings.validation, settings.seed)


def leave_one_corpus_out(dataset: Dataset, settings: LeaveOneCorpusOutSettings) -> list[Split]:
    """Split into one fold per corpus.

    The test clips of a fold have other rooms, microphones, sentences and instructions than its
    training clips. Validation is a share of the speakers of each training corpus. A class that only
    one corpus has is an error.
    """
    name = "leave_one_corpus_out"
    corpora = groups_of(dataset, "corpus", name)
    tested = {corpus: rows_where(dataset, "corpus", [corpus]) for corpus in corpora}
    return _folds(name, dataset, tested, validation=settings.validation, seed=settings.seed)


def leave_one_session_out(dataset: Dataset, settings: LeaveOneSessionOutSettings) -> list[Split]:
    """Split into one fold per recording session, as is usual for IEMOCAP.

    Validation is a share of the other sessions, at least one session. The dialogue partners of the
    validation speakers are therefore not in train. Sessions with a common speaker are an error.
    """
    name = "leave_one_session_out"
    sessions = groups_of(dataset, "session", name)

    session_of_speaker: dict[str, str] = {}
    speaker_of_row = read_column(dataset, "speaker")
    session_of_row = read_column(dataset, "session")
    for speaker, session in zip(speaker_of_row, session_of_row, strict=True):
        first = session_of_speaker.setdefault(speaker, session)
        if first != session:
            raise UserError(
                f"protocol.name: {name} needs sessions without a common speaker, but {speaker} is "
                f"in {first} and in {session}; leave_one_speaker_out and kfold keep speakers apart "
                "here"
            )

    tested = {session: rows_where(dataset, "session", [session]) for session in sessions}
    return _folds(
        name,
        dataset,
        tested,
        validation=settings.validation,
        seed=settings.seed,
        by="session",
        test_apart=("speaker", "session"),
    )


def folds_by_speaker(
    name: str, dataset: Dataset, tested: Sequence[Sequence[str]], validation: float, seed: int
) -> list[Split]:
    """Make one fold for each list of test speakers; validation is drawn from the other speakers."""
    rows_by_title = {}
    for number, speakers in enumerate(tested, start=1):
        title = f"{number} of {len(tested)} ({len(speakers)} speakers)"
        if len(speakers) <= _NAMED:
            title = ", ".join(speakers)
        rows_by_title[title] = rows_where(dataset, "speaker", speakers)
    return _folds(name, dataset, rows_by_title, validation=validation, seed=seed)


def _folds(
    name: str,
    dataset: Dataset,
    tested: Mapping[str, list[int]],
    *,
    validation: float,
    seed: int,
    by: str = "speaker",
    test_apart: Sequence[str] = ("speaker",),
) -> list[Split]:
    """Make one fold for each title and its test rows.

    Validation is drawn from the other rows, as groups of equal values in the column `by`.
    """
    folds = []
    for title, test_rows in tested.items():
        rest = sorted(set(range(len(dataset))) - set(test_rows))
        held_out = hold_out(dataset, rest, validation, seed, by)
        rows = {"train": held_out.train, "validation": held_out.validation, "test": test_rows}
        fold = make_split(
            name,
            dataset,
            rows,
            test_apart=test_apart,
            validation_apart=held_out.apart,
            fold=title,
            notes=held_out.notes,
        )
        folds.append(fold)
    return folds


def groups_of(dataset: Dataset, column: str, name: str) -> list[str]:
    """The values of a column, sorted.

    Raises:
        UserError: if a clip has no value, or there are fewer than two values.
    """
    values = set(read_column(dataset, column)) if column in dataset.column_names else {None}
    if None in values:
        raise UserError(
            f"protocol.name: {name} needs a {column} for every clip, and this corpus does not have "
            "it"
        )
    if len(values) < 2:
        plural = "corpora" if column == "corpus" else f"{column}s"
        raise UserError(
            f"protocol.name: {name} needs at least two {plural}, the corpus has {', '.join(values)}"
        )
    return sorted(values)
