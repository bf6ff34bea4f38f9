"""Published protocols as data: lists of speakers or clips, and the figures published under them.

Each file in lists/ has the protocols of one source. `published_protocols` reads them all. A run
under one of them quotes the published figures beside its own. Such a run may also have the lists
from a file of the user: the fingerprint of the test speakers decides.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from .folds import folds_by_speaker
from .rules import by_speaker, draw_clips, match_speakers
from .settings import (
    PublishedFoldsSettings,
    PublishedSpeakersSettings,
    SpeakerIndependentSettings,
)
from .split import PARTS, Split, make_split, read_column, rows_where


@dataclasses.dataclass(frozen=True)
class PublishedFigure:
    """The result of a system under a published protocol.

    Attributes:
        metrics: {metric: score from 0 to 1}, of uar, wa and macro_f1 those that are published.
        classes: number of emotions.
        parameters: of the network, if published.
        note: what makes the figure not comparable.
    """

    system: str
    metrics: dict[str, float]
    classes: int
    parameters: int | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class PublishedProtocol:
    """A published protocol of one corpus.

    Attributes:
        source: who published the lists, and where.
        unit: ``speaker`` or ``utterance``: whether the lists contain speakers or clips.
        folds: for each fold the list of test speakers, or one text with the names of the test
            clips.
        validation: for each fold the list of validation speakers; empty if they are not published.
        parts: the speakers of train, validation and test, if the list has no folds.
        figures: results that others published under this protocol.
        figures_source: address of these figures.
        figures_of: where they are from, in words.
    """

    name: str
    corpus: str
    source: str
    unit: str
    folds: list[list[str] | str]
    validation: list[list[str]]
    parts: dict[str, list[str]]
    figures: list[PublishedFigure]
    figures_source: str | None
    figures_of: str | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the listed test speakers or clips of each fold; the order does not count."""
        tested = self.folds or [self.parts["test"]]
        if self.unit == "speaker":
            return fingerprint_of_tested(self.corpus, [_expanded(fold) for fold in tested])
        return fingerprint_of_tested(self.corpus, [set(fold.split()) for fold in tested])


def fingerprint_of_tested(corpus: str, folds: Sequence[set[str]]) -> str:
    """SHA-256 of the test speakers or clips of each fold."""
    lines = sorted(" ".join(sorted(fold)) for fold in folds)
    return hashlib.sha256("\n".join([corpus, *lines]).encode()).hexdigest()


def _expanded(speakers: Sequence[str]) -> set[str]:
    """The speakers, with ranges such as 1-16 as single speakers; numbers have no leading zeros."""
    names = set()
    for item in speakers:
        first, _, last = str(item).partition("-")
        if first.isdecimal() and last.isdecimal():
            names.update(str(number) for number in range(int(first), int(last) + 1))
        else:
            names.add(_plain(str(item)))
    return names


def _plain(speaker: str) -> str:
    """The name of a speaker without corpus and leading zeros: 3 for ``emodb:03``."""
    bare = speaker.rpartition(":")[2]
    return str(int(bare)) if bare.isdecimal() else bare


@functools.cache
def published_protocols() -> dict[str, PublishedProtocol]:
    """All published protocols, by name."""
    published = {}
    for path in sorted((resources.files(__package__) / "lists").iterdir(), key=lambda p: p.name):
        if not path.name.endswith(".json"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, listed in content["protocols"].items():
            published[name] = _protocol(name, content["source"], listed)
    return published


def _protocol(name: str, source: str, listed: dict[str, Any]) -> PublishedProtocol:
    folds = listed.get("folds", [])
    figures = []
    for values in listed["figures"]:
        metrics = {key: values[key] for key in ("uar", "wa", "macro_f1") if key in values}
        figure = PublishedFigure(
            system=values["system"],
            metrics=metrics,
            classes=values["classes"],
            parameters=values.get("parameters"),
            note=values.get("note"),
        )
        figures.append(figure)
    return PublishedProtocol(
        name=name,
        corpus=listed["corpus"],
        source=source,
        unit=listed["unit"],
        folds=folds,
        validation=listed.get("validation", []),
        parts={} if folds else {part: listed[part] for part in PARTS},
        figures=figures,
        figures_source=listed.get("figures_source"),
        figures_of=listed.get("figures_of"),
    )


def matching_protocol(splits: Sequence[Split]) -> PublishedProtocol | None:
    """The published protocol that these splits are the folds of; None if there is none.

    It has the same test speakers in each fold, whatever the name of the split. Lists of clips
    match by their name and number of folds.
    """
    tested = [set(map(_plain, split.speakers["test"])) for split in splits]
    corpora = {speaker.partition(":")[0] for split in splits for speaker in split.speakers["test"]}
    if len(corpora) != 1:
        return None
    fingerprint = fingerprint_of_tested(corpora.pop(), tested)
    for protocol in published_protocols().values():
        if protocol.unit == "speaker":
            if protocol.fingerprint == fingerprint and not any(split.leak for split in splits):
                return protocol
        elif protocol.name == splits[0].name and len(protocol.folds) == len(splits):
            return protocol
    return None


# Splits


def split_published_speakers(
    dataset: Dataset, settings: PublishedSpeakersSettings
) -> Split | list[Split]:
    """Make the splits of a published list with the speakers of all three splits."""
    name = settings.name
    protocol = published_protocols()[name]
    require_corpus(name, dataset, protocol.corpus)
    if not protocol.folds:
        parts = protocol.parts
        listed = SpeakerIndependentSettings(
            train=parts["train"], validation=parts["validation"], test=parts["test"]
        )
        return make_split(name, dataset, by_speaker(dataset, listed).rows)

    splits = []
    for validation, test in zip(protocol.validation, protocol.folds, strict=True):
        listed = SpeakerIndependentSettings(validation=validation, test=test)
        rows = by_speaker(dataset, listed).rows
        splits.append(make_split(name, dataset, rows, fold=", ".join(test)))
    return splits


def split_published_folds(
    dataset: Dataset, settings: PublishedFoldsSettings
) -> Split | list[Split]:
    """Make the folds of a published list of test speakers or test clips, without validation clips.

    Where the list has test speakers, validation speakers are drawn from the training speakers.
    Where it has test clips (EmoBox's CREMA-D, EMO-DB, TESS), the same speakers are in train and
    test. Validation clips are then drawn from the training clips, and results are
    speaker-dependent.
    """
    name = settings.name
    protocol = published_protocols()[name]
    corpus = protocol.corpus
    require_corpus(name, dataset, corpus)
    folds = protocol.folds
    if protocol.unit == "speaker":
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
    return splits if len(splits) > 1 else splits[0]


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


def require_corpus(name: str, dataset: Dataset, corpus: str) -> None:
    """Refuse a list of another corpus."""
    corpora = sorted(set(read_column(dataset, "corpus")))
    if corpora != [corpus]:
        raise UserError(
            f"protocol.name: {name} is a list of {corpus}'s clips, the corpus is "
            f"{', '.join(corpora)}"
        )
