"""The clips of a corpus that may test a model, what they share with its training data, and its labels' meaning."""

import dataclasses
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ..corpora import Corpus, sources_facts
from ..corpora.schema import EMOTIONS
from ..corpora.tables import SYNONYMS
from ..inference.classifier import published_file
from ..protocols import PARTS, fingerprint, may_share, split_corpus
from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class TrainingProvenance:
    """The data that a model was made with.

    Args:
        speakers: of training and validation clips, its checkpoint's included, prefixed by their corpus.
        protocol, sha256: name and fingerprint of its split.
        fold: number of its fold, if the protocol has several.
    """

    speakers: frozenset[str]
    protocol: str
    sha256: str
    fold: int | None = None

    @property
    def corpora(self) -> frozenset[str]:
        return frozenset(speaker.partition(":")[0] for speaker in self.speakers)


def training_provenance(place: str, revision: str | None = None) -> TrainingProvenance | None:
    """The provenance in a model's report; None for models without one, such as those of others.

    Args:
        place: a model's folder or its Hub id.

    Raises:
        UserError: if its report is damaged.
    """
    path = published_file(place, "report.json", revision)
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the model's report cannot be read ({error}); take it from where it came") from None
    protocol = report.get("protocol") if isinstance(report, dict) else None
    if not isinstance(protocol, dict) or "sha256" not in protocol:
        return None  # another project's report
    parts = _own_fold(report, protocol)["parts"]
    speakers = {speaker for part in ("train", "validation") for speaker in parts.get(part, {}).get("speakers", ())}
    speakers.update(protocol.get("inherited", ()))
    fold = report["chosen_fold"] if protocol.get("folds") else None
    return TrainingProvenance(frozenset(speakers), protocol["name"], protocol["sha256"], fold)


def _own_fold(report: dict[str, Any], protocol: dict[str, Any]) -> dict[str, Any]:
    """The facts of the fold whose weights these are, if the report is over several."""
    folds = protocol.get("folds")
    return folds[str(report["chosen_fold"])] if folds else protocol


logger = logging.getLogger(__name__)

WHOLE = "whole corpus"


@dataclasses.dataclass(frozen=True)
class Clips:
    """The test clips, and the report's `protocol`, `audit` and `sources`. `left_out` counts other clips by reason."""

    dataset: Dataset
    protocol: dict[str, Any]
    audit: dict[str, Any]
    sources: list[dict[str, Any]]
    left_out: dict[str, int]


def select_test_clips(
    corpus: Corpus,
    classes: Sequence[str],
    learnt: TrainingProvenance | None,
    *,
    protocol: str | None = None,
    options: Mapping[str, Any] | None = None,
    fold: int | None = None,
    part: str = "test",
    heard: bool = False,
) -> Clips:
    """Clips of the corpus, or of one split of a protocol, with a label among the classes and a new speaker.

    Args:
        learnt: the data that the model was made with, if known.
        protocol, options, fold, part: the split; without a protocol the whole corpus.
        heard: keep the model's training and validation speakers, too; the report then says that it leaks.

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
    # Recordings are counted once they are decoded (`ser_hf.experiment.evaluate`).
    audit = {"shared": {"train/test": {"speakers": counted}}, "apart": {"train/test": ["speakers"]}, "duplicates": 0}
    return Clips(chosen, described, audit, sources_facts(corpus.sources), dict(left_out))


def _nothing_left(left_out: Mapping[str, int], heard: bool) -> str:
    why = "; ".join(f"{count} clips: {reason}" for reason, count in left_out.items())
    remedy = "" if heard else " (--training-speakers evaluates on them too, and says so)"
    if not any("speaker" in reason for reason in left_out):
        remedy = " (--label-map says what the model's labels mean)"
    return f"--corpus: no clip is left to judge by: {why or 'it has none'}{remedy}"


def _protocol(
    dataset: Dataset,
    name: str,
    sha: str | None,
    part: str,
    learnt: TrainingProvenance | None,
    left_out: Mapping[str, int],
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


# In a label map: the answer is not counted, and the others share its probability.
IGNORED = "none"
_SEX = re.compile(r"^(female|male)[\s_-]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class LabelMapping:
    """The classes that a model is evaluated in, and the class of each of its labels.

    Args:
        words: the model's labels, in their order.
        classes: emotions in canonical order, then labels that mean none of them, which are always wrong.
        of: the class of each label, None if it is not counted.
    """

    words: list[str]
    classes: list[str]
    of: list[str | None]

    def to_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes): words of one class add up, and rows to 1."""
        places = np.zeros((len(self.words), len(self.classes)))
        for i, name in enumerate(self.of):
            if name is not None:
                places[i, self.classes.index(name)] = 1
        sums = np.asarray(probabilities, np.float64) @ places
        total = sums.sum(axis=-1, keepdims=True)
        # All probability may be on labels that are not counted.
        shares = np.divide(sums, total, out=np.full_like(sums, 1 / len(self.classes)), where=total > 0)
        return shares.astype(np.float32)

    def rows(self) -> list[dict[str, Any]]:
        """[{word, emotion, counted}] of every word; `emotion` is None for a word that means none known here."""
        return [
            {"word": word, "emotion": name if name in EMOTIONS else None, "counted": name is not None}
            for word, name in zip(self.words, self.of, strict=True)
        ]


def label_mapping(words: Sequence[str], label_map: Mapping[str, str] | None = None) -> LabelMapping:
    """The mapping of a model's labels to emotions.

    A word is an emotion of ours, a common name of one (`ser_hf.corpora.tables.SYNONYMS`; in any capitals, with or
    without the speaker's sex before it, as in ``female_happy``), or what `label_map` says.

    Args:
        label_map: the model's word -> emotion, or ``none`` for an answer that is not to be counted.

    Raises:
        UserError: naming ``--label-map``, for a word that the model does not answer, an emotion that there is not, and
            where not two of its words mean an emotion.
    """
    label_map = label_map or {}
    for word, emotion in label_map.items():
        if word not in words:
            raise UserError(f"--label-map: the model has no label {word!r}; it answers {', '.join(words)}")
        if emotion not in (*EMOTIONS, IGNORED):
            raise UserError(f"--label-map: {word}={emotion}: the emotions are {', '.join(EMOTIONS)}, or {IGNORED}")
    of = [_class(word, label_map) for word in words]
    known = [emotion for emotion in EMOTIONS if emotion in of]
    if len(known) < 2:
        raise UserError(
            f"--label-map: the model answers {', '.join(words)}, of which "
            f"{'none is' if not known else f'only {known[0]} is'} an emotion known here; say what they mean, as in "
            f"{words[0]}=angry"
        )
    others = [name for name in dict.fromkeys(of) if name is not None and name not in EMOTIONS]
    return LabelMapping(list(words), known + others, of)


def _class(word: str, label_map: Mapping[str, str]) -> str | None:
    if word in label_map:
        return None if label_map[word] == IGNORED else label_map[word]
    plain = _SEX.sub("", word.strip()).strip().lower()
    if plain in EMOTIONS:
        return plain
    return SYNONYMS.get(plain, word)
