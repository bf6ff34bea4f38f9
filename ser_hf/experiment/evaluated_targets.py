"""Decides which outputs of a model are evaluated on a corpus: labels, dimensions, or both."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ..corpora import Corpus
from ..corpora.targets import TARGETS, dimension_names
from ..evaluation.predictions import Predictions
from ..evaluation.tasks import EMOTIONS_AND_DIMENSIONS, MULTI_LABEL, Task
from ..inference.batches import ClassifiedClips
from ..inference.classifier import Classifier
from ..utils.errors import UserError
from .evaluated_clips import labels_of, rated_rows
from .label_mapping import (
    DimensionMapping,
    LabelMapping,
    SetMapping,
    dimension_mapping,
    predictions_in_classes,
)


@dataclasses.dataclass(frozen=True)
class EvaluatedTargets:
    """The outputs of a model that are evaluated on a corpus.

    Args:
        main: the mapping of the model's labels, or of its dimensions if it has no labels.
        ratings: the mapping of the dimensions that the model predicts beside its labels; None if
            the clips have no ratings, or the model has no such dimensions.
    """

    main: LabelMapping
    ratings: DimensionMapping | None = None

    @property
    def labels(self) -> list[str]:
        """The classes that the label of a clip may have; empty if only ratings are evaluated."""
        return [] if isinstance(self.main, DimensionMapping) else self.main.classes

    @property
    def dimensions(self) -> list[str]:
        """The dimensions whose ratings are evaluated."""
        if isinstance(self.main, DimensionMapping):
            return self.main.classes
        return [] if self.ratings is None else self.ratings.classes

    def labeled_rows(self, dataset: Dataset) -> list[int]:
        """The rows of the clips on which `main` is evaluated.

        Raises:
            UserError: if a model of labels and ratings has no clip with one of its labels.
        """
        if self.ratings is None:
            return list(range(len(dataset)))
        rows = [i for i, label in enumerate(labels_of(dataset)) if label in self.labels]
        if not rows:
            raise UserError(
                "corpus: no clip has a label of the model, whose labels are "
                f"{', '.join(self.labels)}; a model of labels and ratings is evaluated with both"
            )
        return rows


def with_evaluated_ratings(
    classifier: Classifier, mapping: LabelMapping, corpus: Corpus
) -> tuple[Corpus, str | None]:
    """The corpus without ratings, if the model predicts labels only, and a note that says so.

    Any other corpus is unchanged and has no note.
    """
    dimensions = dimension_names(corpus.dataset)
    if not dimensions or isinstance(mapping, DimensionMapping) or classifier.rating_ranges:
        return corpus, None
    names = ", ".join(dimensions)
    note = f"The ratings of the corpus ({names}) are not evaluated: the model predicts labels only."
    without = dataclasses.replace(corpus, dataset=corpus.dataset.remove_columns(TARGETS), ranges={})
    return without, note


def evaluated_targets(
    classifier: Classifier, mapping: LabelMapping, corpus: Corpus
) -> EvaluatedTargets:
    """Return what of a model is evaluated on a corpus.

    A model of labels and ratings is evaluated with both if the corpus has ratings. A model whose
    clips may have several labels is evaluated with sets of labels if the corpus has votes,
    otherwise by its most probable label.

    Args:
        mapping: from the outputs of the model to emotions or dimensions.
        corpus: from `with_evaluated_ratings`.

    Raises:
        UserError: if the model predicts dimensions and the corpus has no ratings of them.
    """
    dimensions = dimension_names(corpus.dataset)
    if isinstance(mapping, DimensionMapping):
        return EvaluatedTargets(mapping.on(dimensions))
    if classifier.task is MULTI_LABEL and "votes" in corpus.dataset.column_names:
        mapping = SetMapping(
            mapping.words, mapping.classes, mapping.class_of_word, corpus.positive_share
        )
    if not dimensions:
        return EvaluatedTargets(mapping)
    return EvaluatedTargets(
        mapping, dimension_mapping(list(classifier.rating_ranges)).on(dimensions)
    )


def predictions_on(
    dataset: Dataset, targets: EvaluatedTargets, clips: ClassifiedClips, rows: Sequence[int]
) -> Predictions:
    """The predictions of the clips with a label, with those of the rated clips as `ratings`.

    Args:
        rows: the rows of the clips with a label, from `EvaluatedTargets.labeled_rows`.
    """
    predictions = predictions_in_classes(
        dataset.select(rows), targets.main, targets.main.to_classes(clips.predictions[rows])
    )
    if targets.ratings is None:
        return predictions
    rated = np.flatnonzero(rated_rows(dataset))
    if not len(rated):
        return predictions
    ratings = predictions_in_classes(
        dataset.select(rated), targets.ratings, targets.ratings.to_classes(clips.ratings[rated])
    )
    return dataclasses.replace(predictions, ratings=ratings)


def task_of_predictions(predictions: Predictions) -> Task:
    """The task that predictions are of; with `ratings`, that of both targets."""
    return predictions.task if predictions.ratings is None else EMOTIONS_AND_DIMENSIONS
