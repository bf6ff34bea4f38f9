"""Predicted classes of one run, and their counts and scores under weights of the clips."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from .probabilities import BINS, clipped, confidence_bins
from .tasks import EMOTIONS
from .weighting import mean_of_known, one_hot, recalls


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The predicted classes of one run.

    Args:
        labels: true class ids, (clips,).
        predictions: predicted class ids, (clips,).
        classes: the number of classes.
        probabilities: (clips, classes).
        votes: shares of the raters' votes, (clips, classes); nan for clips that nobody rated.
    """

    labels: np.ndarray
    predictions: np.ndarray
    classes: int
    probabilities: np.ndarray | None = None
    votes: np.ndarray | None = None

    # A field of `Ratings`, so that code for both classes can read it.
    values = None
    task = EMOTIONS

    @classmethod
    def of_probabilities(
        cls, labels: Sequence[int], shares: np.ndarray, votes: np.ndarray | None = None
    ) -> "Outputs":
        """Predict the most probable class of each clip.

        Args:
            labels: true class ids, (clips,).
            shares: probabilities, (clips, classes).
            votes: shares of the raters' votes, (clips, classes).
        """
        probabilities = np.asarray(shares)
        return cls(
            labels=np.asarray(labels),
            predictions=probabilities.argmax(axis=1),
            classes=probabilities.shape[1],
            probabilities=probabilities,
            votes=votes,
        )

    def only(self, places: np.ndarray) -> "Outputs":
        """Select clips by their positions."""
        probabilities = None if self.probabilities is None else self.probabilities[places]
        votes = None if self.votes is None else self.votes[places]
        return Outputs(
            labels=self.labels[places],
            predictions=self.predictions[places],
            classes=self.classes,
            probabilities=probabilities,
            votes=votes,
        )

    def weighted(self, weights: np.ndarray) -> "Weighted":
        """The outputs under weights of the clips, (resamples, clips)."""
        return Weighted(self, weights)

    @functools.cached_property
    def unweighted(self) -> "Weighted":
        """The outputs with the weight 1 for each clip."""
        return self.weighted(np.ones((1, len(self.labels))))

    def main_by_group(self, group: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
        """Make a function from weights (resamples, clips) to the UAR of each group.

        The function returns (resamples, count).

        Args:
            group: the number of the group of each clip, (clips,), -1 for a clip in no group.
            count: the number of groups.
        """
        present, label = np.unique(self.labels, return_inverse=True)
        # A cell is a class within a group.
        cell = np.maximum(group, 0) * len(present) + label
        cells = count * len(present)
        in_group = group >= 0
        support = one_hot(cell, cells, in_group)
        recognized = one_hot(cell, cells, in_group & (self.labels == self.predictions))
        shape = (-1, count, len(present))

        def uar_of_groups(weights: np.ndarray) -> np.ndarray:
            drawn = (weights @ support).reshape(shape)
            drawn_recognized = (weights @ recognized).reshape(shape)
            return mean_of_known(recalls(drawn, drawn_recognized))

        return uar_of_groups

    # The next three matrices are sparse: their size depends on the clips and not on the classes.
    @functools.cached_property
    def labeled(self) -> csr_array:
        """Indicator of the label of each clip, 0 or 1, (clips, classes)."""
        return one_hot(self.labels, self.classes)

    @functools.cached_property
    def predicted(self) -> csr_array:
        """Indicator of the prediction for each clip, 0 or 1, (clips, classes)."""
        return one_hot(self.predictions, self.classes)

    @functools.cached_property
    def recognized(self) -> csr_array:
        """Indicator of the label of each clip that is recognized, 0 or 1, (clips, classes)."""
        return one_hot(self.labels, self.classes, self.labels == self.predictions)

    @functools.cached_property
    def in_top_two(self) -> np.ndarray:
        """Whether the label of each clip is one of the two most probable classes, (clips,).

        All values are nan if there are fewer than three classes.
        """
        if self.classes < 3:
            return np.full(len(self.labels), np.nan)
        # Of classes with equal probabilities the later one ranks first, as in scikit-learn.
        ranked = np.argsort(self.probabilities, axis=1, kind="stable")[:, ::-1][:, :2]
        return (ranked == self.labels[:, None]).any(axis=1)

    @functools.cached_property
    def log_losses(self) -> np.ndarray:
        """Negative natural logarithm of the probability of each clip's label, (clips,)."""
        return -np.log(clipped(self.probabilities)[np.arange(len(self.labels)), self.labels])

    @functools.cached_property
    def squared_errors(self) -> np.ndarray:
        """Brier score (Brier 1950) of each clip, summed over classes, (clips,)."""
        errors = self.probabilities.astype(np.float64)
        errors[np.arange(len(self.labels)), self.labels] -= 1
        return (errors**2).sum(axis=1)

    @functools.cached_property
    def overconfidence(self) -> csr_array:
        """Confidence minus correctness (0 or 1) of each clip, (clips, bins).

        The value is in the column of the clip's confidence bin.
        """
        confidence, bins = confidence_bins(self.probabilities)
        return one_hot(bins, BINS, confidence - (self.predictions == self.labels))

    @functools.cached_property
    def divergences(self) -> np.ndarray:
        """KL divergence (nats) from the votes, (clips,); nan for clips that nobody rated."""
        votes = self.votes.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_ratio = np.log(votes) - np.log(clipped(self.probabilities))
            terms = np.where(votes > 0, votes * log_ratio, 0)
        unrated = np.isnan(votes).any(axis=1)
        return np.where(unrated, np.nan, terms.sum(axis=1))

    @functools.cached_property
    def cosines(self) -> np.ndarray:
        """Cosine with the votes, (clips,); nan for clips that nobody rated."""
        predicted = clipped(self.probabilities)
        votes = self.votes.astype(np.float64)
        norms = np.linalg.norm(votes, axis=1) * np.linalg.norm(predicted, axis=1)
        return (votes * predicted).sum(axis=1) / norms

    @functools.cached_property
    def roc_areas(self) -> list["RocArea"]:
        """The AUROC of each class that occurs."""
        return [RocArea(self.labels == i, self.probabilities[:, i]) for i in np.unique(self.labels)]


class Weighted:
    """Counts and scores of `Outputs` with weights for the clips.

    Args:
        weights: how often each clip is in each resample, (resamples, clips).
    """

    def __init__(self, outputs: Outputs, weights: np.ndarray):
        self.outputs = outputs
        self.weights = np.asarray(weights, np.float64)
        # (resamples, classes)
        self.support = self.weights @ outputs.labeled
        self.recognized = self.weights @ outputs.recognized
        # (resamples,)
        self.clips = self.support.sum(axis=1)
        self.correct = self.recognized.sum(axis=1)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """How often each class is predicted, (resamples, classes)."""
        return self.weights @ self.outputs.predicted

    @functools.cached_property
    def by_chance(self) -> np.ndarray:
        """The expected number of correct predictions by chance, times the clips, (resamples,)."""
        return (self.support * self.predicted).sum(axis=1)

    @functools.cached_property
    def f1(self) -> np.ndarray:
        """F1 of each class, (resamples, classes); nan for a class without clips."""
        scores = 2 * self.recognized / (self.support + self.predicted)
        return np.where(self.support > 0, scores, np.nan)

    def mean(self, scores: np.ndarray) -> np.ndarray:
        """Weighted mean of `scores` (clips,) in each resample, without nan; (resamples,)."""
        defined = np.isfinite(scores)
        return self.weights @ np.where(defined, scores, 0) / (self.weights @ defined)

    def micro_f1(self) -> np.ndarray:
        """F1 of all decisions together, (resamples,): with one class per clip, the accuracy."""
        return self.correct / self.clips

    def kappa(self) -> np.ndarray:
        """Cohen's kappa, (resamples,)."""
        return (self.correct * self.clips - self.by_chance) / (self.clips**2 - self.by_chance)

    def ece(self) -> np.ndarray:
        """Expected calibration error, (resamples,)."""
        return np.abs(self.weights @ self.outputs.overconfidence).sum(axis=1) / self.clips

    def mcc(self) -> np.ndarray:
        """Matthews' correlation coefficient over all classes, (resamples,)."""
        total = self.clips**2
        spread_of_predictions = total - (self.predicted**2).sum(axis=1)
        spread_of_labels = total - (self.support**2).sum(axis=1)
        spread = np.sqrt(spread_of_predictions * spread_of_labels)
        correlation = (self.correct * self.clips - self.by_chance) / spread
        # If all predictions or all labels have one class, the result is 0, as in scikit-learn.
        return np.where((spread == 0) & (total > 0), 0, correlation)

    def auroc(self) -> np.ndarray:
        """AUROC (one versus rest), mean over classes, (resamples,)."""
        areas = [area(self.weights) for area in self.outputs.roc_areas]
        return mean_of_known(np.stack(areas, axis=1))


class RocArea:
    """AUROC of one class in each resample, from weights (resamples, clips).

    A pair consists of a clip of the class (positive) and a clip of another class (negative). AUROC
    is the share of the pairs in which the positive clip has the higher score; a pair with equal
    scores counts as half. Clips are sorted once, not again for each resample.

    Args:
        is_positive: whether a clip is of the class, (clips,).
        scores: probabilities of the class, (clips,).
    """

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ranked = scores[self.order]
        ranks = np.flatnonzero(is_positive[self.order])
        self.positives = self.order[ranks]
        # For each positive clip: the number of clips with a lower score (below), and with a lower
        # or equal score (upto); then the same numbers for positive clips only.
        self.below = np.searchsorted(ranked, ranked[ranks], "left")
        self.upto = np.searchsorted(ranked, ranked[ranks], "right")
        self.positives_below = np.searchsorted(ranks, self.below)
        self.positives_upto = np.searchsorted(ranks, self.upto)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, self.positives]
        positives = _cumulative(drawn)
        clips = _cumulative(weights[:, self.order])
        # Negatives with a lower score, plus negatives with a lower or equal score: this is twice
        # the number of pairs that each positive wins, as equal scores count half.
        negatives = (
            clips[:, self.below]
            + clips[:, self.upto]
            - positives[:, self.positives_below]
            - positives[:, self.positives_upto]
        )
        pairs = positives[:, -1] * (clips[:, -1] - positives[:, -1])
        return (drawn * negatives).sum(axis=1) / (2 * pairs)


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums of weights over clips, beginning with 0: (resamples, clips + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
