"""Predicted classes of one run, and their counts and scores under weights of the clips."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from .probabilities import BINS, clipped, confidence_bins
from .weighting import mean_of_known, one_hot, recalls


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What one run predicts for some clips: class ids (clips,), the number of classes,
    probabilities and the shares of the raters' votes (clips, classes), nan for clips without."""

    labels: np.ndarray
    predictions: np.ndarray
    classes: int
    probabilities: np.ndarray | None = None
    votes: np.ndarray | None = None
    values = None  # of `Ratings`

    @classmethod
    def of_probabilities(
        cls, labels: Sequence[int], shares: np.ndarray, votes: np.ndarray | None = None
    ) -> "Outputs":
        shares = np.asarray(shares)
        return cls(np.asarray(labels), shares.argmax(axis=1), shares.shape[1], shares, votes)

    def only(self, places: np.ndarray) -> "Outputs":
        """Select clips by their positions."""
        probabilities, votes = (
            None if own is None else own[places] for own in (self.probabilities, self.votes)
        )
        return Outputs(
            self.labels[places], self.predictions[places], self.classes, probabilities, votes
        )

    def weighted(self, weights: np.ndarray) -> "Weighted":
        return Weighted(self, weights)

    @functools.cached_property
    def unweighted(self) -> "Weighted":
        """Each clip once."""
        return self.weighted(np.ones((1, len(self.labels))))

    def main_by_group(self, group: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
        """A function from weights (resamples, clips) to the UAR of each group, (resamples, count);
        `group` is the number of each clip's group, (clips,), -1 for none."""
        present, label = np.unique(self.labels, return_inverse=True)
        cell = np.maximum(group, 0) * len(present) + label
        known = group >= 0
        cells = count * len(present)
        support, hits = (
            one_hot(cell, cells, own) for own in (known, known & (self.labels == self.predictions))
        )
        shape = (-1, count, len(present))
        return lambda weights: mean_of_known(
            recalls((weights @ support).reshape(shape), (weights @ hits).reshape(shape))
        )

    # Sparse, so that memory grows with the clips and not with the classes.
    @functools.cached_property
    def labeled(self) -> csr_array:
        return one_hot(self.labels, self.classes)

    @functools.cached_property
    def predicted(self) -> csr_array:
        return one_hot(self.predictions, self.classes)

    @functools.cached_property
    def recognized(self) -> csr_array:
        return one_hot(self.labels, self.classes, self.labels == self.predictions)

    @functools.cached_property
    def in_top_two(self) -> np.ndarray:
        """Whether the label is one of the two most probable classes; nan with fewer than three."""
        if self.classes < 3:
            return np.full(len(self.labels), np.nan)
        # Equal probabilities rank as in scikit-learn: the later class first.
        ranked = np.argsort(self.probabilities, axis=1, kind="stable")[:, ::-1][:, :2]
        return (ranked == self.labels[:, None]).any(axis=1)

    @functools.cached_property
    def log_losses(self) -> np.ndarray:
        return -np.log(clipped(self.probabilities)[np.arange(len(self.labels)), self.labels])

    @functools.cached_property
    def squared_errors(self) -> np.ndarray:
        """Brier score (Brier 1950) of each clip, summed over classes."""
        errors = self.probabilities.astype(np.float64)
        errors[np.arange(len(self.labels)), self.labels] -= 1
        return (errors**2).sum(axis=1)

    @functools.cached_property
    def overconfidence(self) -> csr_array:
        """Confidence minus correctness of each clip, in the column of its confidence bin, (clips,
        bins).
        """
        confidence, bins = confidence_bins(self.probabilities)
        return one_hot(bins, BINS, confidence - (self.predictions == self.labels))

    @functools.cached_property
    def divergences(self) -> np.ndarray:
        """KL divergence (nats) from the votes; nan for clips that nobody rated."""
        rated = self.votes.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(
                rated > 0, rated * (np.log(rated) - np.log(clipped(self.probabilities))), 0
            )
        return np.where(np.isnan(rated).any(axis=1), np.nan, terms.sum(axis=1))

    @functools.cached_property
    def cosines(self) -> np.ndarray:
        """Cosine with the votes; nan for clips that nobody rated."""
        predicted = clipped(self.probabilities)
        rated = self.votes.astype(np.float64)
        return (rated * predicted).sum(axis=1) / (
            np.linalg.norm(rated, axis=1) * np.linalg.norm(predicted, axis=1)
        )

    @functools.cached_property
    def roc_areas(self) -> list["_RocArea"]:
        """The AUROC of each class that occurs."""
        return [
            _RocArea(self.labels == i, self.probabilities[:, i]) for i in np.unique(self.labels)
        ]


class Weighted:
    """Outputs under weights of the clips, (resamples, clips): how often each resample drew each
    clip.
    """

    def __init__(self, outputs: Outputs, weights: np.ndarray):
        self.outputs, self.weights = outputs, np.asarray(weights, np.float64)
        self.support = self.weights @ outputs.labeled  # (resamples, classes), as the next two
        self.recognized = self.weights @ outputs.recognized
        self.clips = self.support.sum(axis=1)  # (resamples,)
        self.correct = self.recognized.sum(axis=1)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        return self.weights @ self.outputs.predicted

    @functools.cached_property
    def by_chance(self) -> np.ndarray:
        return (self.support * self.predicted).sum(axis=1)

    @functools.cached_property
    def f1(self) -> np.ndarray:
        """(resamples, classes); nan for a class without a clip."""
        return np.where(
            self.support > 0, 2 * self.recognized / (self.support + self.predicted), np.nan
        )

    def mean(self, scores: np.ndarray) -> np.ndarray:
        """(resamples,) means of scores of the clips, (clips,), without those that are nan."""
        known = np.isfinite(scores)
        return self.weights @ np.where(known, scores, 0) / (self.weights @ known)

    def mcc(self) -> np.ndarray:
        total = self.clips**2
        spread = np.sqrt(
            (total - (self.predicted**2).sum(axis=1)) * (total - (self.support**2).sum(axis=1))
        )
        correlation = (self.correct * self.clips - self.by_chance) / spread
        # If all predictions or all labels are one class there is no correlation, as in
        # scikit-learn.
        return np.where((spread == 0) & (total > 0), 0, correlation)

    def auroc(self) -> np.ndarray:
        return mean_of_known(
            np.stack([area(self.weights) for area in self.outputs.roc_areas], axis=1)
        )


class _RocArea:
    """AUROC of one class in each resample, from weights (resamples, clips); clips with equal scores
    count half.
    """

    def __init__(self, own: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ranked = scores[self.order]
        places = np.flatnonzero(own[self.order])
        self.own = self.order[places]
        # For each clip of the class: how many clips, and how many of the class, rank below it, and
        # at most as high.
        self.below, self.upto = (
            np.searchsorted(ranked, ranked[places], side) for side in ("left", "right")
        )
        self.own_below, self.own_upto = (
            np.searchsorted(places, self.below),
            np.searchsorted(places, self.upto),
        )

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, self.own]
        own = _summed(weights[:, self.own])
        everyone = _summed(weights[:, self.order])
        others = (
            everyone[:, self.below]
            + everyone[:, self.upto]
            - own[:, self.own_below]
            - own[:, self.own_upto]
        )
        pairs = own[:, -1] * (everyone[:, -1] - own[:, -1])
        return (drawn * others).sum(axis=1) / (2 * pairs)


def _summed(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums of (resamples, places) that begin with 0, (resamples, places + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
