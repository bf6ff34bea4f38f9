"""The clips of a corpus on which a model of any origin is evaluated."""

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from datasets import Dataset

from ..audio.decode import SHORTEST
from ..corpora import Corpus
from ..protocols import PARTS, fingerprint, may_share, split_corpus
from ..utils.errors import UserError
from ..utils.yaml import Range, coerce_fields
from .provenance import TrainingProvenance

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How a model is evaluated, and on which clips (the last five fields, see `select_test_clips`).

    Clips longer than `window` seconds are processed in windows; None is the window of the model's
    recipe.
    """

    window: Annotated[float, Range(min=SHORTEST)] | None = None
    batch_size: Annotated[int, Range(min=1)] = 16
    bootstrap: Annotated[int, Range(min=1)] = 2000
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    robustness: bool = False
    cache_dir: str | None = None
    protocol: str | None = None
    protocol_options: dict[str, Any] | None = None
    fold: int | None = None
    part: str = "test"
    training_speakers: bool = False

    def __post_init__(self):
        coerce_fields(self, lambda name: f"--{name.replace('_', '-')}")


@dataclasses.dataclass(frozen=True)
class Clips:
    """The test clips, and the report's `protocol` and `audit`."""

    dataset: Dataset
    protocol: dict[str, Any]
    audit: dict[str, Any]


def select_test_clips(
    corpus: Corpus,
    classes: Sequence[str],
    provenance: TrainingProvenance | None,
    settings: EvaluationSettings,
) -> Clips:
    """Clips of the corpus, or of one split of a protocol, with a label among the classes and a new
    speaker.

    With `training_speakers` those of the model's training are kept; the report then names the leak.
    """
    protocol = settings.protocol
    fold = settings.fold
    part = settings.part
    if part not in PARTS:
        raise UserError(f"--part: unknown split {part!r}; choose one of {', '.join(PARTS)}")
    if protocol is None and (part != "test" or fold is not None or settings.protocol_options):
        raise UserError("--protocol: missing; a split, a fold and options of a protocol need it")
    dataset = corpus.dataset
    name = "whole corpus"
    sha256 = ""
    rated = "targets" in dataset.features
    rows = list(range(len(dataset)))
    if protocol is not None:
        splits = split_corpus(
            dataset, protocol, None if fold is None else [fold], **(settings.protocol_options or {})
        )
        if len(splits) > 1:
            raise UserError(f"--fold: {protocol} has folds 1 to {len(splits)}; name one")
        rows = splits[0].rows[part]
        name = f"{protocol}, its {part} part"
        sha256 = fingerprint(splits)
    names = dataset.features["label"].names
    labels = dataset["label"][:]
    speakers = dataset["speaker"][:]
    known = provenance.speakers if provenance else frozenset()
    left_out: Counter[str] = Counter()
    kept = []
    for row in rows:
        if not rated and names[labels[row]] not in classes:
            left_out[f"the model has no label for {names[labels[row]]}"] += 1
        elif speakers[row] in known and not settings.training_speakers:
            left_out["their speakers are in the model's training or validation split"] += 1
        else:
            kept.append(row)
    reasons = [f"{count} clips are not evaluated: {why}." for why, count in left_out.items()]
    for reason in reasons:
        logger.warning("%s", reason)
    if not kept:
        remedy = "--training-speakers evaluates known speakers, --label-map maps the model's labels"
        raise UserError(f"--corpus: no clip is left to evaluate. {' '.join(reasons)} ({remedy})")
    chosen = dataset.select(kept)
    tested = sorted({speaker for speaker in chosen["speaker"][:] if speaker is not None})
    shared = known.intersection(tested)
    unnamed = may_share(tested, sorted(known))
    leak = None
    if shared:
        leak = f"{len(shared)} of {len(tested)} test speakers are in the model's training or validation split."
    elif unnamed:
        leak = f"Clips of {', '.join(unnamed)} have unknown speakers, which may be in the model's training data."
    note = "The training data of this model are unknown: if they have these speakers, the results are too good."
    if provenance is not None:
        corpora = ", ".join(sorted(provenance.corpora))
        note = f"Trained on {corpora} under {provenance.protocol} ({provenance.sha256[:8]})."
    described = {
        "name": name,
        "sha256": hashlib.sha256(
            "\n".join([sha256, *sorted(chosen["id"][:])]).encode()
        ).hexdigest(),
        "clips": [],
        "leak": leak,
        "notes": [*reasons, note],
        "fold": None,
        "parts": {"test": {"clips": len(chosen), "speakers": tested}},
    }
    counted = None if provenance is None or (unnamed and not shared) else len(shared)
    audit = {"shared": {"train/test": {"speakers": counted}}, "apart": {"train/test": ["speakers"]}}
    return Clips(chosen, described, audit)
