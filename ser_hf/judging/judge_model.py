"""A model judged on a corpus, from its name to a report: the way of `ser-hf evaluate`."""

import dataclasses
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..audio import prepare
from ..corpora import Corpus
from ..environment import environment
from ..errors import UserError
from ..evaluation.conditions import check_opus
from ..evaluation.judged import Judged, of_rows
from ..evaluation.report import judge
from ..logs import quiet_libraries
from ..models.preparation import Preparation
from ..prediction.expert import Expert, load_expert
from .clips import clips_for
from .hearing import Listener
from .label_words import Meaning, meaning_of
from .learnt import Learnt, learnt_from
from .views import embeddings_map, robustness_of

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a model is asked and judged.

    Args:
        window: seconds; longer clips are heard in windows of at most that. None is as the model's recipe judged.
        batch_size: windows at a time.
        bootstrap, confidence: resamples and coverage of the intervals.
        robustness: judge the clips under noise, in rooms, over telephones too (`ser_hf.evaluation.conditions`).
        robustness_clips: so many of them at most.
        embeddings: draw a map of what the classifier's last layer is given.
        cache_dir: where decoded waveforms are kept; None is the toolkit's own cache.

    Raises:
        UserError: for a value out of its range.
    """

    window: float | None = None
    batch_size: int = 16
    bootstrap: int = 2000
    confidence: float = 0.95
    robustness: bool = False
    robustness_clips: int | None = None
    embeddings: bool = False
    cache_dir: str | None = None

    def __post_init__(self):
        if self.window is not None and not 0.1 <= self.window < math.inf:
            raise UserError(f"--window: expected seconds, 0.1 or more, got {self.window}")
        for flag, value in (("--batch-size", self.batch_size), ("--bootstrap", self.bootstrap)):
            if value < 1:
                raise UserError(f"{flag}: expected one or more, got {value}")
        if not 0 < self.confidence < 1:
            raise UserError(f"--confidence: expected a share between 0 and 1, got {self.confidence}")
        if self.robustness_clips is not None and self.robustness_clips < 1:
            raise UserError(f"--robustness-clips: expected one or more, got {self.robustness_clips}")
        if self.robustness:
            check_opus()  # before minutes of work
        if self.robustness_clips is not None and not self.robustness:
            raise UserError("--robustness-clips: belongs to --robustness")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that is to be judged: what its labels mean, and what it was made with where it tells."""

    expert: Expert
    meaning: Meaning
    learnt: Learnt | None


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The report of a model on a corpus, the judged clips and their answers, where asked for the places of clips on a
    map of embeddings (`ser_hf.evaluation.projection`), and clips of the corpus that did not judge, counted by why."""

    report: dict[str, Any]
    judged: Judged
    points: pa.Table | None
    left_out: dict[str, int]


def candidate(
    source: str,
    label_map: Mapping[str, str] | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> Candidate:
    """Loads any audio classifier of transformers, ours or not; one whose classifier was never trained too, of which
    its report warns.

    Raises:
        UserError: naming the model or ``--label-map``.
    """
    settings = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    expert = load_expert(source, untrained=True, **settings)
    if expert.untrained:
        logger.warning("%s", _untrained(expert))
    meaning = meaning_of(expert.labels, label_map)
    for row in meaning.told():
        if row["emotion"] is None and row["counted"]:
            logger.warning("%s: its label %r is no emotion known here (--label-map)", source, row["word"])
    return Candidate(expert, meaning, learnt_from(expert.place, expert.commit))


def judge_model(model: Candidate, corpus: Corpus, name: str, manner: Manner, **chosen: Any) -> Judgement:
    """Judges a model by the clips of a corpus that may judge it.

    Args:
        name: of the report.
        chosen: which clips do (`ser_hf.judging.clips.clips_for`).

    Raises:
        UserError: naming what is wrong with the model, the corpus or a flag.
    """
    with quiet_libraries():
        return _judged_model(model, corpus, name, manner, chosen)


def _judged_model(model: Candidate, corpus: Corpus, name: str, manner: Manner, chosen: Mapping[str, Any]) -> Judgement:
    began = time.perf_counter()
    expert, meaning = model.expert, model.meaning
    own = model.learnt
    if own and own.fold and chosen.get("protocol") == own.protocol and chosen.get("fold") is None:
        chosen = {**chosen, "fold": own.fold}  # the one whose clips it has not heard
    clips = clips_for(corpus, meaning.classes, own, **chosen)
    dataset, store = prepare(clips.dataset, expert.extractor.sampling_rate, manner.cache_dir, expert.preparation)
    listener = Listener(expert, meaning, manner.window, manner.batch_size)
    shares, vectors = listener.answers(store, dataset["id"][:], vectors=manner.embeddings)
    judged = _in_classes(of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1))), meaning, shares)
    report = {
        "name": name,
        "kind": "evaluation",
        "judged_on": "test",
        "labels": meaning.classes,
        "protocol": clips.protocol,
        "audit": clips.audit | {"duplicates": len(dataset) - len(set(dataset["content_hash"][:]))},
        "sources": clips.sources,
        "foil": None,
        "label_words": meaning.told(),
        "model": _model_facts(model),
        **judge(judged, bootstrap=manner.bootstrap, confidence=manner.confidence),
        "parts": {},
        "history": [],
        "environment": environment(),
    }
    if expert.untrained:
        report["warnings"].insert(0, _untrained(expert))
    points = None
    if manner.embeddings:
        report["embeddings"], points = embeddings_map(judged, vectors)
    if manner.robustness:
        if expert.preparation != Preparation():  # conditions change recordings, before anything is done to them
            _, store = prepare(clips.dataset, expert.extractor.sampling_rate, manner.cache_dir, Preparation())
        settings = {"bootstrap": manner.bootstrap, "confidence": manner.confidence}
        report["robustness"] = robustness_of(listener, judged, store, max_clips=manner.robustness_clips, **settings)
    report["seconds"] = {"judgement": time.perf_counter() - began}
    return Judgement(report, judged, points, clips.left_out)


def _untrained(expert: Expert) -> str:
    return (
        f"The classifier of {expert.source} was never trained: {len(expert.untrained)} tensors are not in its files "
        f"({expert.untrained[0]}) and hold random numbers. These figures say nothing of it."
    )


def _in_classes(judged: Judged, meaning: Meaning, shares: np.ndarray) -> Judged:
    """The corpus's labels and votes in the classes of the answers."""
    places = [meaning.classes.index(name) if name in meaning.classes else None for name in judged.names]
    votes = judged.votes
    if votes is not None:
        moved = np.zeros((len(judged), len(meaning.classes)), np.float32)
        for own, place in enumerate(places):
            if place is not None:
                moved[:, place] += votes[:, own]
        with np.errstate(invalid="ignore"):
            votes = moved / moved.sum(axis=1, keepdims=True)  # raters who heard other emotions tell nothing here
    labels = np.asarray([places[label] for label in judged.labels])
    return dataclasses.replace(judged, names=meaning.classes, labels=labels, probabilities=shares[None], votes=votes)


def _model_facts(model: Candidate) -> dict[str, Any]:
    expert = model.expert
    return {
        "architecture": expert.model.config.model_type,
        "model_type": expert.model.config.model_type,
        "checkpoint": Path(expert.source).name if Path(expert.source).is_dir() else expert.source,
        "revision": expert.revision,
        "parameters": sum(parameter.numel() for parameter in expert.model.parameters()),
        "padding_safe": expert.padding_safe,
        "untrained": list(expert.untrained),
        "learnt_from": sorted(model.learnt.corpora) if model.learnt else None,
    }
