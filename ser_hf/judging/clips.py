"""Which clips of a corpus judge a model, and what they share with those that it was made with."""

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..corpora import Corpus, sources_facts
from ..errors import UserError
from ..protocols import PARTS, fingerprint, may_share, split_corpus
from .learnt import Learnt

logger = logging.getLogger(__name__)

WHOLE = "whole corpus"


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips that judge, and the facts that a report has of them under `protocol`, `audit` and `sources`.
    `left_out` counts clips of the corpus by why they do not judge."""

    dataset: Dataset
    protocol: dict[str, Any]
    audit: dict[str, Any]
    sources: list[dict[str, Any]]
    left_out: dict[str, int]


def clips_for(
    corpus: Corpus,
    classes: Sequence[str],
    learnt: Learnt | None,
    *,
    protocol: str | None = None,
    options: Mapping[str, Any] | None = None,
    fold: int | None = None,
    part: str = "test",
    heard: bool = False,
) -> Clips:
    """Clips of the corpus, or of one part of a protocol on it, whose label is among the classes and whose speaker the
    model was not made with.

    Args:
        learnt: what the model was made with, None where it does not tell.
        protocol, options, fold: whose `part` judges; without a protocol the whole corpus does. Of folds one is chosen.
        heard: let speakers judge as well that the model was trained with or chosen by: the report says that it leaks.

    Raises:
        UserError: if no clip is left, naming why.
    """
    if part not in PARTS:
        raise UserError(f"--part: {part!r} is none of {', '.join(PARTS)}")
    if protocol is None and (part != "test" or fold is not None or options):
        raise UserError("--protocol: missing; a part, a fold and options of a protocol belong to one")
    dataset, options = corpus.dataset, dict(options or {})
    rows, name, sha = list(range(len(dataset))), WHOLE, None
    if protocol is not None:
        splits = split_corpus(dataset, protocol, None if fold is None else [fold], **options)
        if len(splits) > 1:
            raise UserError(f"--fold: {protocol} has folds 1 to {len(splits)}; name the one that judges")
        rows, name, sha = splits[0].rows[part], protocol, fingerprint(splits)
    names, labels, speakers = dataset.features["label"].names, dataset["label"][:], dataset["speaker"][:]
    left_out: Counter[str] = Counter()
    kept = []
    known = learnt.speakers if learnt else frozenset()
    for row in rows:
        if names[labels[row]] not in classes:
            left_out[f"the model has no label for {names[labels[row]]}"] += 1
        elif speakers[row] in known and not heard:
            left_out["the model was trained with the speaker, or chosen by it"] += 1
        else:
            kept.append(row)
    for why, count in left_out.items():
        logger.warning("left out: %d clips: %s", count, why)
    if not kept:
        raise UserError(_nothing_left(left_out, heard))
    chosen = dataset.select(kept)
    described = _protocol(chosen, name, sha, part, learnt, left_out)
    judging = {speaker for speaker in chosen["speaker"][:] if speaker is not None}
    shared, unnamed = judging & known, may_share(sorted(judging), sorted(known))
    if unnamed:
        described["leak"] = (
            f"Of clips of {', '.join(unnamed)} it is not told who speaks: some of those who judge may have been heard "
            "in training, and these figures say nothing certain about new speakers."
        )
    if shared:
        described["leak"] = (
            f"{len(shared)} of {len(judging)} speakers who judge were heard in training or chose "
            "the checkpoint: new speakers do not get these figures."
        )
    counted = None if learnt is None or (unnamed and not shared) else len(shared)
    # Recordings are counted once they are decoded (`ser_hf.judging.judge_model`).
    audit = {"shared": {"train/test": {"speakers": counted}}, "apart": {"train/test": ["speakers"]}, "duplicates": 0}
    return Clips(chosen, described, audit, sources_facts(corpus.sources), dict(left_out))


def _nothing_left(left_out: Mapping[str, int], heard: bool) -> str:
    why = "; ".join(f"{count} clips: {reason}" for reason, count in left_out.items())
    remedy = "" if heard else " (--heard-speakers judges by them all the same, and says so)"
    if not any("speaker" in reason for reason in left_out):
        remedy = " (--label-map says what the model's labels mean)"
    return f"--corpus: no clip is left to judge by: {why or 'it has none'}{remedy}"


def _protocol(
    dataset: Dataset, name: str, sha: str | None, part: str, learnt: Learnt | None, left_out: Mapping[str, int]
) -> dict[str, Any]:
    ids = dataset["id"][:]
    notes = [f"{count} clips do not judge: {why}." for why, count in left_out.items()]
    if learnt is None:
        notes.append(
            "What this model was trained with is not known here. If these speakers were among it, the figures flatter."
        )
    else:
        own = f"It learnt from {', '.join(sorted(learnt.corpora))} under {learnt.protocol} ({learnt.sha256[:8]})"
        notes.append(f"{own}; whom it has heard is told by the names of the speakers.")
    speakers = sorted({speaker for speaker in dataset["speaker"][:] if speaker is not None})
    own = f"{name}, its {part} part" if name != WHOLE else name
    return {
        "name": own,
        "sha256": hashlib.sha256("\n".join([sha or "", *sorted(ids)]).encode()).hexdigest(),
        "clips": [],
        "leak": None,
        "notes": notes,
        "fold": None,
        "parts": {"test": {"clips": len(dataset), "speakers": speakers}},
    }
