"""Selects the clips of a corpus on which a model of any origin is evaluated."""

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from datasets import Dataset
from pydantic import Field, model_validator

from ..audio.decode import SHORTEST
from ..corpora import Corpus
from ..corpora.speakers import KnownSpeakers
from ..corpora.targets import targets_of
from ..evaluation.sections import MapMethod
from ..inference.adaptation import Grouping
from ..protocols import PARTS, fingerprint, may_share, split_corpus
from ..report.sections import Audit, Protocol, Split
from ..utils.errors import UserError
from ..utils.settings import OpenShare, PathName
from ..utils.validation import Options
from .provenance import TrainingProvenance

logger = logging.getLogger(__name__)

_SAME_NAME = "their speakers are in the model's training or validation split"
_SAME_AUDIO = "the model was trained on recordings of their speakers, under other names"
_LEFT_OUT = "clips are not evaluated"


class EvaluationOptions(Options):
    """How a model is evaluated, and on which clips.

    Clips longer than `window` seconds are processed in windows; None means the window of the
    model's recipe. `adapt` also evaluates with an adaptation to each group of clips, and
    `adapt_from` has recordings of the training corpus for it
    (`ser_hf.inference.predict.statistics_for`). `noise_folder` and `impulse_folder` have
    recordings for `robustness`. The page shows `hardest_clips` with their recordings; without
    `audio` with pictures only. The last five fields select the clips, see `select_test_clips`.
    """

    window: Annotated[float, Field(ge=SHORTEST)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    bootstrap: Annotated[int, Field(ge=1)] = 2000
    confidence: OpenShare = 0.95
    robustness: bool = False
    noise_folder: PathName | None = None
    impulse_folder: PathName | None = None
    adapt: Grouping | None = None
    adapt_from: list[str] | None = None
    map: MapMethod | None = "pca"
    hardest_clips: Annotated[int, Field(ge=0, le=6)] = 6
    audio: bool = True
    pictures: Literal["pdf"] | None = None
    cache_dir: str | None = None
    protocol: str | None = None
    protocol_options: dict[str, Any] | None = None
    fold: int | None = None
    part: str = "test"
    training_speakers: bool = False

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        for key in ("noise_folder", "impulse_folder"):
            if getattr(self, key) is not None and not self.robustness:
                raise ValueError(f"{key}: has no effect without --robustness")
        if self.adapt_from is not None and self.adapt is None:
            raise ValueError("adapt_from: has no effect without --adapt")
        return self


@dataclasses.dataclass(frozen=True)
class EvaluatedClips:
    """The test clips, and the report's `protocol` and `audit`."""

    dataset: Dataset
    protocol: Protocol
    audit: Audit


@dataclasses.dataclass(frozen=True)
class _Selection:
    """A named selection of rows of a corpus.

    `sha256` is the fingerprint of the protocol's splits, empty without a protocol.
    """

    name: str
    rows: list[int]
    sha256: str


@dataclasses.dataclass(frozen=True)
class _SharedSpeakers:
    """The test speakers that are, or may be, in the training data of the model.

    Args:
        tested: the known test speakers.
        shared: the test speakers that the model was trained with.
        unnamed: corpora with unknown speakers, which may be in both the training and test data.
    """

    tested: list[str]
    shared: list[str]
    unnamed: list[str]

    @property
    def leak(self) -> str | None:
        """The reason why the results do not hold for new speakers; None if there is no leak."""
        if self.shared:
            return (
                f"{len(self.shared)} of {len(self.tested)} test speakers are in the model's "
                "training or validation split."
            )
        if self.unnamed:
            return (
                f"Clips of {', '.join(self.unnamed)} have unknown speakers, which may be in the "
                "model's training data."
            )
        return None


def select_test_clips(
    corpus: Corpus,
    classes: Sequence[str],
    provenance: TrainingProvenance | None,
    settings: EvaluationOptions,
    recognized: Collection[str] = (),
) -> EvaluatedClips:
    """Select the clips that have a target of the model, and whose speaker is new to the model.

    These are the clips with a label among the classes, and clips with ratings.

    Speakers are the same if their names differ in their spelling only
    (`ser_hf.corpora.speakers`).

    With `settings.protocol`, only clips of one split of this protocol are selected. With
    `settings.training_speakers`, clips of the model's training speakers are selected too, and the
    report describes the leak.

    Args:
        classes: the labels that are evaluated; empty for a model of dimensions.
        recognized: speakers of the corpus with recordings that the model was trained on, from
            `recognized_speakers`.

    Raises:
        UserError: if settings contradict each other, or if no clip is left.
    """
    selection = _select_split(corpus.dataset, settings)
    training_speakers = provenance.speakers if provenance else frozenset()
    named = KnownSpeakers(training_speakers)
    speakers_of_corpus = set(corpus.dataset["speaker"][:])
    reason_of_speaker = dict.fromkeys(recognized, _SAME_AUDIO)
    for speaker in speakers_of_corpus:
        if speaker in named:
            reason_of_speaker[speaker] = _SAME_NAME
    excluded = {} if settings.training_speakers else reason_of_speaker
    rows, reasons = _suitable_rows(corpus.dataset, selection.rows, classes, excluded)
    for reason in reasons:
        logger.warning("%s", reason)
    if not rows:
        raise UserError(
            f"--corpus: no clip is left to evaluate. {' '.join(reasons)} (--training-speakers "
            "evaluates known speakers, --label-map maps the model's labels)"
        )
    dataset = corpus.dataset.select(rows)
    speakers = _shared_speakers(dataset, reason_of_speaker, training_speakers)
    return EvaluatedClips(
        dataset=dataset,
        protocol=_protocol_section(dataset, selection, speakers, reasons, provenance),
        audit=_audit_section(speakers, provenance),
    )


def _select_split(dataset: Dataset, settings: EvaluationOptions) -> _Selection:
    """Select the rows of the whole corpus, or of one split of a protocol."""
    if settings.part not in PARTS:
        raise UserError(
            f"--part: unknown split {settings.part!r}; choose one of {', '.join(PARTS)}"
        )
    protocol = settings.protocol
    if protocol is None:
        if settings.part != "test" or settings.fold is not None or settings.protocol_options:
            raise UserError(
                "--protocol: missing; a split, a fold and options of a protocol need it"
            )
        return _Selection("whole corpus", list(range(len(dataset))), sha256="")

    folds = None if settings.fold is None else [settings.fold]
    splits = split_corpus(dataset, protocol, folds, **(settings.protocol_options or {}))
    if len(splits) > 1:
        raise UserError(f"--fold: {protocol} has folds 1 to {len(splits)}; name one")
    return _Selection(
        name=f"{protocol}, its {settings.part} part",
        rows=splits[0].rows[settings.part],
        sha256=fingerprint(splits),
    )


def _suitable_rows(
    dataset: Dataset,
    rows: Sequence[int],
    classes: Sequence[str],
    excluded: Mapping[str, str],
) -> tuple[list[int], list[str]]:
    """The rows that can be evaluated, and sentences that explain why others are left out.

    Args:
        excluded: speaker -> why the speaker's clips are left out.
    """
    rated = rated_rows(dataset)
    labels = labels_of(dataset)
    speakers = dataset["speaker"][:]
    suitable = []
    left_out: Counter[str] = Counter()
    for row in rows:
        if labels[row] not in classes and not rated[row]:
            left_out[_missing_target(labels[row], classes)] += 1
        elif speakers[row] in excluded:
            left_out[excluded[speakers[row]]] += 1
        else:
            suitable.append(row)
    reasons = [f"{count} {_LEFT_OUT}: {reason}." for reason, count in left_out.items()]
    return suitable, reasons


def _missing_target(label: str | None, classes: Sequence[str]) -> str:
    """Why a clip without ratings cannot be evaluated, given the labels of the model."""
    if not classes:
        return "they have no ratings"
    return "they have no label" if label is None else f"the model has no label for {label}"


def labels_of(dataset: Dataset) -> list[str | None]:
    """The label of each clip; None for a clip that has ratings only (`corpus.partial`)."""
    names = dataset.features["label"].names
    return [None if label < 0 else names[label] for label in dataset["label"][:]]


def rated_rows(dataset: Dataset) -> np.ndarray:
    """Whether each clip has a rating for each target of the corpus, bool (clips,)."""
    targets = targets_of(dataset, range(len(dataset)))
    if targets is None:
        return np.zeros(len(dataset), dtype=bool)
    return ~np.isnan(targets).any(axis=1)


def clips_of_training(notes: Sequence[str]) -> int:
    """The number of clips left out because of the model's training, from the notes of a report."""
    count = 0
    for note in notes:
        for reason in (_SAME_NAME, _SAME_AUDIO):
            sentence_end = f" {_LEFT_OUT}: {reason}."
            if note.endswith(sentence_end):
                count += int(note.removesuffix(sentence_end))
    return count


def _shared_speakers(
    dataset: Dataset, trained: Collection[str], training_speakers: frozenset[str]
) -> _SharedSpeakers:
    """Compare the test speakers with the training speakers.

    Args:
        trained: the speakers of the corpus that the model was trained with.
    """
    tested = sorted({speaker for speaker in dataset["speaker"][:] if speaker is not None})
    return _SharedSpeakers(
        tested=tested,
        shared=[speaker for speaker in tested if speaker in trained],
        unnamed=may_share(tested, sorted(training_speakers)),
    )


def _protocol_section(
    dataset: Dataset,
    selection: _Selection,
    speakers: _SharedSpeakers,
    reasons: Sequence[str],
    provenance: TrainingProvenance | None,
) -> Protocol:
    """The report's `protocol`.

    Its fingerprint is the hash of the fingerprint of the splits and of the ids of the clips.
    """
    if provenance is None:
        note = (
            "The training data of this model are unknown: if they have these speakers, the "
            "results are too good."
        )
    else:
        corpora = ", ".join(sorted(provenance.corpora))
        note = f"Trained on {corpora} under {provenance.protocol} ({provenance.sha256[:8]})."
    lines = [selection.sha256, *sorted(dataset["id"][:])]
    return Protocol(
        name=selection.name,
        sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        clips=[],
        leak=speakers.leak,
        notes=[*reasons, note],
        fold=None,
        parts={"test": Split(clips=len(dataset), speakers=speakers.tested)},
    )


def _audit_section(speakers: _SharedSpeakers, provenance: TrainingProvenance | None) -> Audit:
    """The report's `audit`; the number of shared speakers is None if it is unknown."""
    is_unknown = provenance is None or (bool(speakers.unnamed) and not speakers.shared)
    count = None if is_unknown else len(speakers.shared)
    return Audit(
        shared={"train/test": {"speakers": count}},
        apart={"train/test": ["speakers"]},
    )
