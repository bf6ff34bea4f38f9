"""Predicted sets of classes of one run (multi-label), and their scores under weights of the clips.

A class is true for a clip if the share of the raters that chose it is above a limit (EMO-SUPERB, Wu
et al. 2024, arXiv:2402.13018), and predicted if its probability is above a threshold.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from .outputs import RocArea
from .tasks import MULTI_LABEL
from .weighting import mean_of_known, one_hot

# The thresholds among which validation clips choose one.
_THRESHOLDS = np.round(np.arange(0.02, 0.99, 0.02), 2)
DEFAULT_THRESHOLD = 0.5
# The text of an empty set of classes.
NONE = "none"


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """The predicted sets of classes of one run.

    Args:
        labels: whether a class is true for a clip, bool (clips, classes).
        probabilities: separate probabilities of the classes, (clips, classes).
        thresholds: the probability above which a class is predicted, for each clip, (clips,).
    """

    labels: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray

    # Fields of `Outputs` and `Ratings`, so that code for all tasks can read them.
    votes = None
    values = None
    task = MULTI_LABEL

    @functools.cached_property
    def predictions(self) -> np.ndarray:
        """Whether a class is predicted for a clip, bool (clips, classes)."""
        return self.probabilities > self.thresholds[:, None]

    @property
    def labeled(self) -> np.ndarray:
        """The labels, as `Outputs` has them."""
        return self.labels

    @functools.cached_property
    def recognized(self) -> np.ndarray:
        """Whether a class is both true and predicted, bool (clips, classes)."""
        return self.labels & self.predictions

    def only(self, places: np.ndarray) -> "LabelSets":
        """Select clips by their positions."""
        return LabelSets(self.labels[places], self.probabilities[places], self.thresholds[places])

    def weighted(self, weights: np.ndarray) -> "WeightedSets":
        """The sets under weights of the clips, (resamples, clips)."""
        return WeightedSets(self, weights)

    @functools.cached_property
    def unweighted(self) -> "WeightedSets":
        """The sets with the weight 1 for each clip."""
        return self.weighted(np.ones((1, len(self.labels))))

    def main_by_group(self, group: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
        """Make a function from weights to the macro-F1 of each group; see `Outputs`."""
        in_group = group >= 0
        # A clip in no group is in the column of group 0, with the value 0, which changes no sum.
        column = np.maximum(group, 0)

        def sums(weights: np.ndarray, of_clips: np.ndarray) -> np.ndarray:
            """Sums of (clips, classes) in each group: (resamples, count, classes)."""
            columns = [
                weights @ one_hot(column, count, in_group * of_class) for of_class in of_clips.T
            ]
            return np.stack(columns, axis=-1)

        def macro_f1_of_groups(weights: np.ndarray) -> np.ndarray:
            support = sums(weights, self.labels)
            scores = f1(support, sums(weights, self.predictions), sums(weights, self.recognized))
            return mean_of_known(scores)

        return macro_f1_of_groups

    @functools.cached_property
    def roc_areas(self) -> list[RocArea]:
        """The AUROC of each class that some clips have and some do not."""
        areas = []
        for is_true, probability in zip(self.labels.T, self.probabilities.T, strict=True):
            if 0 < is_true.sum() < len(is_true):
                areas.append(RocArea(is_true, probability))
        return areas

    @functools.cached_property
    def exact(self) -> np.ndarray:
        """Whether the predicted set of a clip is its true set, (clips,)."""
        return (self.labels == self.predictions).all(axis=1)

    @functools.cached_property
    def wrong_shares(self) -> np.ndarray:
        """The share of wrong decisions for a clip, (clips,)."""
        return (self.labels != self.predictions).mean(axis=1)

    @functools.cached_property
    def overlaps(self) -> np.ndarray:
        """Jaccard index of the two sets of a clip, (clips,); 1 if both are empty."""
        either = (self.labels | self.predictions).sum(axis=1)
        both = self.recognized.sum(axis=1)
        return np.where(either > 0, both / np.maximum(either, 1), 1.0)


class WeightedSets:
    """Counts and scores of `LabelSets` with weights for the clips.

    Args:
        weights: how often each clip is in each resample, (resamples, clips).
    """

    def __init__(self, outputs: LabelSets, weights: np.ndarray):
        self.outputs = outputs
        self.weights = np.asarray(weights, np.float64)
        # (resamples, classes)
        self.support = self.weights @ outputs.labels
        self.predicted = self.weights @ outputs.predictions
        self.recognized = self.weights @ outputs.recognized

    @functools.cached_property
    def f1(self) -> np.ndarray:
        """F1 of each class, (resamples, classes); nan for a class that no clip has."""
        return f1(self.support, self.predicted, self.recognized)

    def micro_f1(self) -> np.ndarray:
        """F1 of all decisions together, (resamples,)."""
        decisions = self.support.sum(axis=1) + self.predicted.sum(axis=1)
        return 2 * self.recognized.sum(axis=1) / decisions

    def mean(self, scores: np.ndarray) -> np.ndarray:
        """Weighted mean of `scores` (clips,) in each resample, (resamples,)."""
        return self.weights @ scores / self.weights.sum(axis=1)

    def auroc(self) -> np.ndarray:
        """AUROC, mean over classes, (resamples,); nan if it is undefined for all classes."""
        if not self.outputs.roc_areas:
            return np.full(len(self.weights), np.nan)
        areas = [area(self.weights) for area in self.outputs.roc_areas]
        return mean_of_known(np.stack(areas, axis=1))


def set_text(names: Sequence[str], chosen: Sequence[bool]) -> str:
    """The chosen names as one text, such as "angry+sad"; "none" for an empty set."""
    present = [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
    return "+".join(present) if present else NONE


def f1(support: np.ndarray, predicted: np.ndarray, recognized: np.ndarray) -> np.ndarray:
    """F1 from counts of clips, (..., classes); nan for a class that no clip has."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = 2 * recognized / (support + predicted)
    return np.where(support > 0, scores, np.nan)


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the highest macro-F1 on validation clips; among equals the nearest to 0.5.

    Args:
        labels: bool (clips, classes).
        probabilities: (clips, classes).
    """
    best = (-1.0, 0.0)
    chosen = DEFAULT_THRESHOLD
    for threshold in _THRESHOLDS:
        predicted = probabilities > threshold
        scores = f1(labels.sum(axis=0), predicted.sum(axis=0), (labels & predicted).sum(axis=0))
        rank = (float(mean_of_known(scores)), -abs(threshold - DEFAULT_THRESHOLD))
        if rank > best:
            best = rank
            chosen = float(threshold)
    return chosen
