"""The mapping from the labels or outputs of any model to emotions or dimensions."""

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ..corpora.schema import EMOTIONS
from ..corpora.tables import SYNONYMS
from ..corpora.targets import ALIASES
from ..evaluation.predictions import Predictions, of_rows
from ..utils.errors import UserError

logger = logging.getLogger(__name__)


# In a label map: predictions of the label are not counted, and the others share its probability.
IGNORED = "none"


_SEX = re.compile(r"^(female|male)[\s_-]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class LabelMapping:
    """The classes that a model is evaluated in, and the class of each of its labels."""

    words: list[str]  # the model's labels
    # emotions in canonical order, then labels that are no emotion and count as errors
    classes: list[str]
    of: list[str | None]  # the class of each label, None if it is not counted

    def to_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes): words of one class add up, and rows to 1."""
        places = np.zeros((len(self.words), len(self.classes)))
        for i, name in enumerate(self.of):
            if name is not None:
                places[i, self.classes.index(name)] = 1
        sums = np.asarray(probabilities, np.float64) @ places
        total = sums.sum(axis=-1, keepdims=True)
        # All probability may be on labels that are not counted.
        shares = np.divide(
            sums, total, out=np.full_like(sums, 1 / len(self.classes)), where=total > 0
        )
        return shares.astype(np.float32)

    def rows(self) -> list[dict[str, Any]]:
        """[{word, emotion, counted}] of every word; `emotion` is None for an unknown word."""
        return [
            {
                "word": word,
                "emotion": name if name in EMOTIONS else None,
                "counted": name is not None,
            }
            for word, name in zip(self.words, self.of, strict=True)
        ]


class DimensionMapping(LabelMapping):
    """As `LabelMapping`, of a model that predicts dimensions: those that are evaluated, and the one
    of each output.
    """

    def to_classes(self, values: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes)."""
        return np.asarray(values, np.float32)[..., [self.of.index(name) for name in self.classes]]

    def rows(self) -> list[dict[str, Any]]:
        pairs = zip(self.words, self.of, strict=True)
        return [
            {"word": word, "emotion": name, "counted": name in self.classes} for word, name in pairs
        ]

    def on(self, targets: Sequence[str]) -> "DimensionMapping":
        """The mapping to the targets of a corpus; an activation is an arousal."""
        of = [
            next((one for one in (name, ALIASES.get(name)) if one in targets), name)
            for name in self.of
        ]
        classes = [name for name in targets if name in of]
        if not classes:
            raise UserError(
                f"corpus.targets: the model predicts {', '.join(self.words)}, the corpus has the targets "
                f"{', '.join(targets) or 'none'}; name them, such as corpus.targets=[{self.words[0]}], or map the "
                "outputs of the model with --label-map"
            )
        return DimensionMapping(self.words, classes, of)


def dimension_mapping(
    words: Sequence[str], label_map: Mapping[str, str] | None = None
) -> DimensionMapping:
    """The mapping of a model's outputs to dimensions: their names in lower case, or `label_map`,
    output -> dimension or ``none``."""
    label_map = label_map or {}
    for word in label_map:
        if word not in words:
            raise UserError(
                f"--label-map: the model has no output {word!r}; its outputs are {', '.join(words)}"
            )
    of = [label_map.get(word, word.strip().lower()) for word in words]
    if len(set(of)) < len(of):
        raise UserError(
            f"--label-map: two outputs of the model are the same dimension: {', '.join(of)}"
        )
    return DimensionMapping(list(words), of, [None if name == IGNORED else name for name in of])


# By task: the mapping, and how it is found.
MAPPINGS = {"emotions": LabelMapping, "dimensions": DimensionMapping}


def label_mapping(words: Sequence[str], label_map: Mapping[str, str] | None = None) -> LabelMapping:
    """The mapping of a model's labels to emotions: canonical names, common names
    (`ser_hf.corpora.tables.SYNONYMS`; in any case, with or without a sex as in ``female_happy``),
    or `label_map`.

    `label_map` is label -> emotion, or ``none`` for a label that is not counted.
    """
    label_map = label_map or {}
    for word, emotion in label_map.items():
        if word not in words:
            raise UserError(
                f"--label-map: the model has no label {word!r}; its labels are {', '.join(words)}"
            )
        if emotion not in (*EMOTIONS, IGNORED):
            raise UserError(
                f"--label-map: {word}={emotion}: unknown emotion; choose one of {', '.join(EMOTIONS)}, or {IGNORED}"
            )
    of = []
    for word in words:
        plain = _SEX.sub("", word.strip()).strip().lower()
        name = label_map.get(word) or (plain if plain in EMOTIONS else SYNONYMS.get(plain, word))
        of.append(None if name == IGNORED and word in label_map else name)
    known = [emotion for emotion in EMOTIONS if emotion in of]
    if len(known) < 2:
        found = (
            f"the model's labels are {', '.join(words)}, of which {len(known)} are known emotions"
        )
        raise UserError(f"--label-map: {found}; map them, as in {words[0]}=angry")
    others = [name for name in dict.fromkeys(of) if name is not None and name not in EMOTIONS]
    return LabelMapping(list(words), known + others, of)


def predictions_in_classes(
    dataset: Dataset, mapping: LabelMapping, probabilities: np.ndarray
) -> Predictions:
    """Predictions whose labels and votes are in the classes of the model, not those of the corpus."""
    known = of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1)))
    if isinstance(mapping, DimensionMapping):
        own = known.labels[:, [known.names.index(name) for name in mapping.classes]]
        return dataclasses.replace(
            known, names=mapping.classes, labels=own, probabilities=probabilities[None]
        )
    places = [
        mapping.classes.index(name) if name in mapping.classes else None for name in known.names
    ]
    votes = known.votes
    if votes is not None:
        moved = np.zeros((len(known), len(mapping.classes)), np.float32)
        for own, place in enumerate(places):
            if place is not None:
                moved[:, place] += votes[:, own]
        with np.errstate(invalid="ignore"):  # all raters of a clip may have chosen other emotions
            votes = moved / moved.sum(axis=1, keepdims=True)
    labels = np.asarray([places[label] for label in known.labels])
    changes = {
        "names": mapping.classes,
        "labels": labels,
        "probabilities": probabilities[None],
        "votes": votes,
    }
    return dataclasses.replace(known, **changes)
