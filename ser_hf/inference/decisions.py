"""Decides for a label: among all labels of a model or some of them, or for none of them."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..evaluation.probabilities import activated
from ..models.configuration import UNKNOWN_KEY
from ..utils.errors import UserError
from .classifier import Classifier

# The prediction for a clip whose most probable label is not probable enough.
UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Decision:
    """The labels that a prediction may have, and the probability that it needs.

    Args:
        labels: the labels, in the order of the model.
        columns: their positions among the labels of the model.
        threshold: the least probability of a prediction; below it the prediction is `UNKNOWN`. None
            if the most probable label is always predicted.
        label_threshold: the probability above which a label is predicted, if a clip may have
            several labels; None if it has one.
    """

    labels: list[str]
    columns: list[int]
    threshold: float | None = None
    label_threshold: float | None = None

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """Select the labels: (clips, labels of the model) -> (clips, labels).

        The softmax of the selected logits are the model's probabilities, divided by their sum.
        """
        return np.asarray(logits)[:, self.columns]

    def abstains(self, logits: np.ndarray, problem_type: str | None) -> np.ndarray:
        """Whether no label is probable enough, (clips,) bool.

        Args:
            logits: logits of the selected labels, (clips, labels).
        """
        if self.threshold is None:
            return np.zeros(len(logits), dtype=bool)
        return activated(logits, problem_type).max(axis=1) < self.threshold


def decision_of(
    classifier: Classifier,
    labels: Sequence[str] | None = None,
    unknown: float | Literal["auto"] | None = None,
) -> Decision:
    """Check the requested labels and threshold.

    Args:
        labels: some of the model's labels, between which it decides; None for all.
        unknown: the least probability of a prediction. ``auto`` is the threshold that the model's
            configuration stores (`evaluation.error` of the recipe); None predicts every clip.

    Raises:
        UserError: for labels that the model does not have, or a threshold that it does not have.
    """
    if (labels is not None or unknown is not None) and classifier.ranges:
        key = "--labels" if labels is not None else "--unknown"
        raise UserError(f"{key}: {classifier.source} predicts dimensions, no labels; leave it out")
    columns = list(range(len(classifier.labels)))
    if labels is not None:
        columns = _columns_of(classifier, labels)
    threshold = unknown
    if unknown == "auto":
        if labels is not None:
            raise UserError(
                "--unknown: auto holds for all labels of the model; with --labels give a "
                "probability, such as 0.6"
            )
        threshold = stored_threshold(classifier)
    if threshold is not None and UNKNOWN in classifier.labels:
        raise UserError(
            f"--unknown: {classifier.source} has a label {UNKNOWN!r}; rename it (id2label in its "
            "config.json), or leave the option out"
        )
    return Decision(
        labels=[classifier.labels[column] for column in columns],
        columns=columns,
        threshold=threshold,
        label_threshold=classifier.label_threshold,
    )


def _columns_of(classifier: Classifier, labels: Sequence[str]) -> list[int]:
    """The positions of the requested labels, in the order of the model."""
    for label in labels:
        if label not in classifier.labels:
            raise UserError(
                f"--labels: {classifier.source} has no label {label!r}; its labels are "
                f"{', '.join(classifier.labels)}"
            )
    columns = [i for i, label in enumerate(classifier.labels) if label in labels]
    if len(columns) < 2:
        raise UserError("--labels: fewer than two labels; name those to decide between")
    return columns


def stored_threshold(classifier: Classifier) -> float:
    """The threshold in the model's configuration.

    Raises:
        UserError: if there is none.
    """
    threshold = getattr(classifier.model.config, UNKNOWN_KEY, None)
    if isinstance(threshold, float) and 0 < threshold <= 1:
        return threshold
    raise UserError(
        f"--unknown: {classifier.source} stores no threshold; give a probability, such as 0.6"
    )
