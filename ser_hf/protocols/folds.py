"""Cross-validation by whole groups: every clip is tested once, in the fold that holds its group
out.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .rules import hold_out
from .split import Split, make_split, read_column, rows_where

# A fold's title names up to this number of speakers.
_NAMED = 6


def kfold(dataset: Dataset, k: int = 5, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """k folds of speakers, for each corpus, with labels in proportion (scikit-learn's
    `StratifiedGroupKFold`).
    """
    from sklearn.model_selection import StratifiedGroupKFold  # as in `rules`

    speakers = _groups(dataset, "speaker", "kfold")
    if not 2 <= k <= len(speakers):
        raise UserError(
            f"protocol.k: {len(speakers)} speakers make 2 to {len(speakers)} folds, got {k}"
        )
    folds = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    of = np.asarray(read_column(dataset, "speaker"))
    labels = read_column(dataset, "label")
    corpora = read_column(dataset, "corpus")
    if len(set(corpora)) > 1:
        labels = [f"{corpus} {label}" for corpus, label in zip(corpora, labels, strict=True)]
    try:
        with warnings.catch_warnings():
            # The notes of a fold name the classes that it lacks.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            parts = [sorted(set(of[test])) for _, test in folds.split(of, labels, of)]
    except ValueError:
        raise UserError(
            f"protocol.k: every label has fewer than {k} clips; use fewer folds"
        ) from None
    if not all(parts):  # with few speakers stratifying may leave a fold empty
        shuffled = np.random.default_rng(seed).permutation(speakers)
        parts = [sorted(part.tolist()) for part in np.array_split(shuffled, k)]
    return folds_by_speaker("kfold", dataset, parts, validation, seed)


def leave_one_speaker_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold per speaker; validation is a share of the others (with two speakers, of the other's
    sentences).
    """
    speakers = _groups(dataset, "speaker", "leave_one_speaker_out")
    return folds_by_speaker(
        "leave_one_speaker_out", dataset, [[name] for name in speakers], validation, seed
    )


def leave_one_corpus_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold per corpus, which tests other rooms, microphones, sentences and instructions.

    Validation is a share of the speakers of each training corpus. A class that only one corpus has
    is an error.
    """
    name = "leave_one_corpus_out"
    corpora = _groups(dataset, "corpus", name)
    tested = {corpus: rows_where(dataset, "corpus", [corpus]) for corpus in corpora}
    return _folds(name, dataset, tested, validation, seed)


def leave_one_session_out(dataset: Dataset, validation: float = 0.15, seed: int = 0) -> list[Split]:
    """One fold per recording session (usual for IEMOCAP); validation is a share of the other
    sessions, at least one, so that no dialogue partner of a validation speaker is in train.
    Sessions with a common speaker are an error."""
    name = "leave_one_session_out"
    sessions = _groups(dataset, "session", name)
    session_of: dict[str, str] = {}
    for speaker, session in zip(
        read_column(dataset, "speaker"), read_column(dataset, "session"), strict=True
    ):
        first = session_of.setdefault(speaker, session)
        if first != session:
            raise UserError(
                f"protocol.name: {name} needs sessions without a common speaker, but {speaker} is in {first} and "
                f"in {session}; leave_one_speaker_out and kfold keep speakers apart here"
            )
    tested = {session: rows_where(dataset, "session", [session]) for session in sessions}
    return _folds(
        name, dataset, tested, validation, seed, by="session", test_apart=("speaker", "session")
    )


def folds_by_speaker(
    name: str, dataset: Dataset, tested: Sequence[Sequence[str]], validation: float, seed: int
) -> list[Split]:
    """One fold for each list of test speakers, with validation drawn from the other speakers."""
    titles = [
        ", ".join(speakers)
        if len(speakers) <= _NAMED
        else f"{number} of {len(tested)} ({len(speakers)} speakers)"
        for number, speakers in enumerate(tested, start=1)
    ]
    rows = [rows_where(dataset, "speaker", speakers) for speakers in tested]
    return _folds(name, dataset, dict(zip(titles, rows, strict=True)), validation, seed)


def _folds(
    name: str,
    dataset: Dataset,
    tested: Mapping[str, list[int]],
    validation: float,
    seed: int,
    by: str = "speaker",
    test_apart: Sequence[str] = ("speaker",),
) -> list[Split]:
    """One fold for each title and its test rows, with validation drawn `by` a column."""
    folds = []
    for title, rows in tested.items():
        rest = sorted(set(range(len(dataset))) - set(rows))
        train, validated, apart, notes = hold_out(dataset, rest, validation, seed, by)
        parts = {"train": train, "validation": validated, "test": rows}
        settings = {
            "test_apart": test_apart,
            "validation_apart": apart,
            "fold": title,
            "notes": notes,
        }
        folds.append(make_split(name, dataset, parts, **settings))
    return folds


def _groups(dataset: Dataset, column: str, name: str) -> list[str]:
    values = set(read_column(dataset, column)) if column in dataset.column_names else {None}
    if None in values:
        raise UserError(
            f"protocol.name: {name} needs a {column} for every clip, and this corpus does not have it"
        )
    if len(values) < 2:
        plural = "corpora" if column == "corpus" else f"{column}s"
        raise UserError(
            f"protocol.name: {name} needs at least two {plural}, the corpus has {', '.join(values)}"
        )
    return sorted(values)
