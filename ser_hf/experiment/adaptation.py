"""Saves the statistics for an adaptation without labels, and evaluates with this adaptation."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..evaluation.adaptation import adaptation_section
from ..evaluation.predictions import Predictions
from ..evaluation.probabilities import activated
from ..evaluation.sections import Adaptation
from ..inference.adaptation import (
    EmbeddingStatistics,
    Grouping,
    adapt,
    embedding_statistics,
    read_statistics,
    save_statistics,
)
from ..inference.batches import NoEmbeddings, embed_clips
from ..inference.classifier import Classifier
from ..inference.load import load_classifier
from ..utils.errors import UserError
from .clips import train_rows
from .context import RunContext
from .label_mapping import LabelMapping, identity_mapping

logger = logging.getLogger(__name__)

# The statistics are computed from at most this number of training clips.
MOST_CLIPS = 1000


def save_run_statistics(run: RunContext, model_folder: Path) -> None:
    """Compute the statistics of the training speakers' embeddings, and save them with the model.

    A model without embeddings, or with a single training speaker, gets no statistics.
    """
    rows = _rows_of_statistics(run)
    speakers = run.data.dataset["speaker"][:]
    names = [speakers[row] for row in rows]
    if len(set(names)) < 2:
        return
    classifier = load_classifier(model_folder)
    try:
        embedded = embed_clips(
            classifier,
            [run.data.store[row] for row in rows],
            [str(row) for row in rows],
            window=run.recipe.evaluation.window,
            progress=False,
        )
    except NoEmbeddings:
        return
    save_statistics(embedding_statistics(embedded.vectors, names), model_folder)


def _rows_of_statistics(run: RunContext) -> list[int]:
    """The rows of training clips with a known speaker; of many clips, a random sample."""
    rows = train_rows(run)
    if run.recipe.training.refit and run.recipe.evaluation.part != "validation":
        rows = sorted({*rows, *run.fold.split.rows["validation"]})
    speakers = run.data.dataset["speaker"][:]
    rows = [row for row in rows if speakers[row] is not None]
    if len(rows) > MOST_CLIPS:
        chosen = np.random.default_rng(0).choice(len(rows), MOST_CLIPS, replace=False)
        rows = [rows[i] for i in sorted(chosen.tolist())]
    return rows


def run_adaptation(run: RunContext, predictions: Predictions, model_folder: Path) -> Adaptation:
    """Evaluate the saved model of a run with `evaluation.adapt`, for the report's `adaptation`.

    Args:
        predictions: predictions of the evaluated split without adaptation.
    """
    settings = run.recipe.evaluation
    classifier = load_classifier(model_folder)
    row_of_clip = {clip_id: row for row, clip_id in enumerate(run.data.dataset["id"][:])}
    return evaluated_adaptation(
        classifier,
        identity_mapping(run.recipe.task, classifier.labels),
        predictions,
        [run.data.store[row_of_clip[clip_id]] for clip_id in predictions.ids],
        settings.adapt,
        window=settings.window,
        bootstrap=settings.bootstrap,
        confidence=settings.confidence,
    )


def evaluated_adaptation(
    classifier: Classifier,
    mapping: LabelMapping,
    predictions: Predictions,
    waveforms: Sequence[np.ndarray],
    grouping: Grouping,
    *,
    statistics: EmbeddingStatistics | None = None,
    window: float | None = None,
    batch_size: int = 16,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Adaptation:
    """Evaluate a model with adaptation to each group, without labels.

    Args:
        mapping: the evaluated classes of the model's labels.
        predictions: the predictions without adaptation.
        waveforms: the prepared clips, in the order of the predictions.
        statistics: of the training speakers; None for those in the model's folder.

    Raises:
        UserError: if the model has no statistics, or cannot be adapted.
    """
    if statistics is None:
        statistics = read_statistics(classifier)
    groups = groups_of_predictions(predictions, grouping)
    embedded = embed_clips(
        classifier, waveforms, predictions.ids, window=window, batch_size=batch_size
    )
    adapted = adapt(
        classifier, statistics, embedded.vectors, embedded.logits, groups, whole=embedded.whole
    )
    probabilities = activated(adapted.logits, classifier.problem_type, bounded=classifier.bounded)
    return adaptation_section(
        predictions,
        mapping.to_classes(probabilities),
        grouping=grouping,
        adapted=adapted.adapted,
        groups=adapted.groups,
        adapted_groups=adapted.adapted_groups,
        bootstrap=bootstrap,
        confidence=confidence,
    )


def groups_of_predictions(predictions: Predictions, grouping: Grouping) -> list[str | None]:
    """The group of each clip: its speaker, its folder, or its recording.

    Raises:
        UserError: if no clip has a group.
    """
    if grouping == "speaker":
        groups = list(predictions.speakers)
    elif not predictions.paths:
        groups = [None] * len(predictions)
    elif grouping == "folder":
        groups = [path and str(Path(path).parent) for path in predictions.paths]
    else:
        groups = list(predictions.paths)
    if not any(groups):
        raise UserError(f"adapt: no evaluated clip has a known {grouping}; choose another grouping")
    return groups
