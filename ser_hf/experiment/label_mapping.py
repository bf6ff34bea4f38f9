"""Maps the labels or outputs of any model to emotions or dimensions."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..corpora.emotion_words import emotions_of_labels
from ..corpora.schema import EMOTIONS
from ..corpora.targets import ALIASES, above_limit
from ..evaluation import tasks
from ..evaluation.predictions import Predictions, of_rows
from ..evaluation.tasks import DIMENSIONS, MULTI_LABEL
from ..report.sections import LabelMapping as LabelRow
from ..utils.errors import UserError

# The value in a label map for a label that is not evaluated; its probability goes to the others.
IGNORED = "none"


@dataclasses.dataclass(frozen=True)
class LabelMapping:
    """The evaluated classes, and the class of each label of a model.

    Args:
        words: the labels of the model.
        classes: emotions in canonical order, then labels that are not emotions; a prediction of
            such a label is an error.
        class_of_word: the class of each label, None if the label is not evaluated.
    """

    words: list[str]
    classes: list[str]
    class_of_word: list[str | None]

    def to_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """Convert probabilities (..., words) to float32 (..., classes).

        The probabilities of all labels of a class are added, and each row is scaled to a sum of 1.
        """
        membership = np.zeros((len(self.words), len(self.classes)))
        for i, name in enumerate(self.class_of_word):
            if name is not None:
                membership[i, self.classes.index(name)] = 1
        sums = np.asarray(probabilities, np.float64) @ membership
        total = sums.sum(axis=-1, keepdims=True)
        # If only labels that are not evaluated have a probability, all classes get equal shares.
        equal_shares = np.full_like(sums, 1 / len(self.classes))
        shares = np.divide(sums, total, out=equal_shares, where=total > 0)
        return shares.astype(np.float32)

    def rows(self) -> list[LabelRow]:
        """The report's `label_words`; `emotion` is None for a label that is not an emotion."""
        rows = []
        for word, name in zip(self.words, self.class_of_word, strict=True):
            emotion = name if name in EMOTIONS else None
            rows.append(LabelRow(word=word, emotion=emotion, counted=name is not None))
        return rows


class DimensionMapping(LabelMapping):
    """The evaluated dimensions, and the dimension of each output of a model."""

    def to_classes(self, values: np.ndarray) -> np.ndarray:
        """Select the evaluated columns: values (..., words) become float32 (..., classes)."""
        columns = [self.class_of_word.index(name) for name in self.classes]
        return np.asarray(values, np.float32)[..., columns]

    def rows(self) -> list[LabelRow]:
        """The report's `label_words`, with a row for each output of the model."""
        rows = []
        for word, name in zip(self.words, self.class_of_word, strict=True):
            rows.append(LabelRow(word=word, emotion=name, counted=name in self.classes))
        return rows

    def on(self, targets: Sequence[str]) -> "DimensionMapping":
        """The mapping to the targets of a corpus; activation is another name of arousal."""
        dimensions = []
        for name in self.class_of_word:
            alias = ALIASES.get(name)
            dimensions.append(alias if name not in targets and alias in targets else name)
        classes = [name for name in targets if name in dimensions]
        if not classes:
            raise UserError(
                f"corpus.targets: the model predicts {', '.join(self.words)}, the corpus has the "
                f"targets {', '.join(targets) or 'none'}; name them, such as "
                f"corpus.targets=[{self.words[0]}], or map the outputs of the model with "
                "--label-map"
            )
        return DimensionMapping(self.words, classes, dimensions)


@dataclasses.dataclass(frozen=True)
class SetMapping(LabelMapping):
    """The classes of a model whose clips may have several labels.

    Args:
        positive_share: the share of votes above which a class is true for a clip; None for
            1 / the number of classes.
    """

    positive_share: float | None = None

    def to_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """Convert separate probabilities (..., words) to float32 (..., classes).

        A class with several labels has the highest of their probabilities.
        """
        probabilities = np.asarray(probabilities, np.float32)
        columns = []
        for name in self.classes:
            words = [i for i, other in enumerate(self.class_of_word) if other == name]
            columns.append(probabilities[..., words].max(axis=-1))
        return np.stack(columns, axis=-1)


def dimension_mapping(
    words: Sequence[str], label_map: Mapping[str, str] | None = None
) -> DimensionMapping:
    """The mapping of a model's outputs to dimensions.

    Args:
        words: the names of the model's outputs; in lower case they are names of dimensions.
        label_map: {output: dimension}, or ``none`` for an output that is not evaluated.
    """
    label_map = label_map or {}
    for word in label_map:
        if word not in words:
            raise UserError(
                f"--label-map: the model has no output {word!r}; its outputs are {', '.join(words)}"
            )
    names = [label_map.get(word, word.strip().lower()) for word in words]
    if len(set(names)) < len(names):
        raise UserError(
            f"--label-map: two outputs of the model are the same dimension: {', '.join(names)}"
        )
    dimensions = [None if name == IGNORED else name for name in names]
    return DimensionMapping(words=list(words), classes=names, class_of_word=dimensions)


def identity_mapping(task: str, names: Sequence[str]) -> LabelMapping:
    """The mapping of a model whose labels are the classes, or whose outputs are the dimensions."""
    kinds = {DIMENSIONS.name: DimensionMapping, MULTI_LABEL.name: SetMapping}
    kind = kinds.get(task, LabelMapping)
    return kind(words=list(names), classes=list(names), class_of_word=list(names))


def label_mapping(words: Sequence[str], label_map: Mapping[str, str] | None = None) -> LabelMapping:
    """The mapping of a model's labels to emotions.

    A label is mapped if it is in `label_map`, or if it is a name of an emotion in one of several
    languages (`corpora.emotion_words`). Upper and lower case are equal, and the sex of the
    speaker is ignored, as in ``female_happy``.

    Args:
        words: the labels of the model.
        label_map: {label: emotion}, or ``none`` for a label that is not evaluated.
    """
    label_map = label_map or {}
    _check_label_map(words, label_map)
    class_of_word = []
    for word, emotion in zip(words, emotions_of_labels(words), strict=True):
        stated = label_map.get(word, emotion)
        if stated == IGNORED:
            class_of_word.append(None)
        else:
            class_of_word.append(stated or word)
    emotions = [emotion for emotion in EMOTIONS if emotion in class_of_word]
    if len(emotions) < 2:
        raise UserError(
            f"--label-map: the model's labels are {', '.join(words)}, of which {len(emotions)} are "
            f"known emotions; map them, as in {words[0]}=angry, or name all with --label-names"
        )
    unknown_labels = []
    for name in class_of_word:
        if name is not None and name not in EMOTIONS and name not in unknown_labels:
            unknown_labels.append(name)
    return LabelMapping(
        words=list(words), classes=emotions + unknown_labels, class_of_word=class_of_word
    )


def _check_label_map(words: Sequence[str], label_map: Mapping[str, str]) -> None:
    """Raise a `UserError` for labels that the model does not have, and for unknown emotions."""
    for word, emotion in label_map.items():
        if word not in words:
            raise UserError(
                f"--label-map: the model has no label {word!r}; its labels are {', '.join(words)}"
            )
        if emotion not in (*EMOTIONS, IGNORED):
            raise UserError(
                f"--label-map: {word}={emotion}: unknown emotion; choose one of "
                f"{', '.join(EMOTIONS)}, or {IGNORED}"
            )


def predictions_in_classes(
    dataset: Dataset, mapping: LabelMapping, probabilities: np.ndarray
) -> Predictions:
    """Make predictions whose labels and votes use the classes of the mapping, not of the corpus.

    Args:
        probabilities: probabilities (clips, classes) or values (clips, dimensions), in the order
            of the mapping's classes.
    """
    task = DIMENSIONS if isinstance(mapping, DimensionMapping) else tasks.EMOTIONS
    of_corpus = of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1)), task)
    if isinstance(mapping, DimensionMapping):
        columns = [of_corpus.names.index(name) for name in mapping.classes]
        return dataclasses.replace(
            of_corpus,
            names=mapping.classes,
            labels=of_corpus.labels[:, columns],
            probabilities=probabilities[None],
        )
    index_of_class = {name: i for i, name in enumerate(mapping.classes)}
    votes = of_corpus.votes
    if votes is not None:
        votes = _votes_in_classes(votes, of_corpus.names, index_of_class)
    if isinstance(mapping, SetMapping):
        return dataclasses.replace(
            of_corpus,
            names=mapping.classes,
            labels=_sets_of_votes(votes, of_corpus.ids, mapping.positive_share),
            probabilities=probabilities[None],
            votes=None,
        )
    labels = [index_of_class.get(of_corpus.names[label]) for label in of_corpus.labels]
    return dataclasses.replace(
        of_corpus,
        names=mapping.classes,
        labels=np.asarray(labels),
        probabilities=probabilities[None],
        votes=votes,
    )


def _sets_of_votes(
    votes: np.ndarray, ids: Sequence[str], positive_share: float | None
) -> np.ndarray:
    """Sets of classes, bool (clips, classes), from shares of the votes; see `with_positives`.

    Raises:
        UserError: for a clip without votes for the classes.
    """
    unrated = np.isnan(votes).any(axis=1)
    if unrated.any():
        clip = ids[int(unrated.argmax())]
        raise UserError(
            f"corpus: {clip} has no votes for the labels of the model, which may give a clip "
            "several; leave out the votes (corpus.soft), or exclude the clip"
        )
    return above_limit(votes, positive_share)


def _votes_in_classes(
    votes: np.ndarray, names: Sequence[str], index_of_class: Mapping[str, int]
) -> np.ndarray:
    """Convert shares of raters (clips, names) to (clips, classes); each row has a sum of 1."""
    sums = np.zeros((len(votes), len(index_of_class)), np.float32)
    for column, name in enumerate(names):
        if name in index_of_class:
            sums[:, index_of_class[name]] += votes[:, column]
    with np.errstate(invalid="ignore"):  # 0 / 0 if all raters of a clip chose other emotions
        return sums / sums.sum(axis=1, keepdims=True)
