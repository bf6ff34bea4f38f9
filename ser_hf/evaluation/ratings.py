"""Predicted dimensions of one run, and their scores under weights of the clips."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from .weighting import one_hot


@dataclasses.dataclass(frozen=True)
class Ratings:
    """What one run predicts for some clips: targets and predicted values, (clips, dimensions) each,
    0 to 1.
    """

    labels: np.ndarray
    values: np.ndarray
    predictions = probabilities = votes = None  # of `Outputs`

    def only(self, places: np.ndarray) -> "Ratings":
        """Select clips by their positions."""
        return Ratings(self.labels[places], self.values[places])

    def weighted(self, weights: np.ndarray) -> "Moments":
        """Scores are (resamples, dimensions)."""
        weights = np.asarray(weights, np.float64)
        shares = weights / weights.sum(axis=1, keepdims=True)
        return Moments(self, lambda values: shares @ values)

    @functools.cached_property
    def unweighted(self) -> "Moments":
        """Each clip once."""
        return self.weighted(np.ones((1, len(self.labels))))

    def main_by_group(self, group: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
        """As `Outputs.main_by_group`, the mean CCC."""
        place = np.maximum(group, 0)
        known = group >= 0
        clips = one_hot(place, count, known)

        def measured(weights: np.ndarray) -> np.ndarray:
            def mean(values: np.ndarray) -> np.ndarray:
                sums = [weights @ one_hot(place, count, known * own) for own in values.T]
                return np.stack(sums, axis=-1) / (weights @ clips)[..., None]

            return Moments(self, mean).ccc().mean(axis=-1)

        return measured


class Moments:
    """Scores of `Ratings`, (..., dimensions), from population moments as in Lin (1989).

    Args:
        mean: from values (clips, dimensions) to their means over clips, (..., dimensions).
    """

    def __init__(self, ratings: Ratings, mean: Callable[[np.ndarray], np.ndarray]):
        self.mean, middle = mean, ratings.labels.mean(axis=0, dtype=np.float64)
        # Centered first: the moments of numbers far from zero lose digits.
        self.targets = ratings.labels - middle
        self.values = ratings.values - middle

    @functools.cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean(self.targets), self.mean(self.values)

    @functools.cached_property
    def variances(self) -> list[np.ndarray]:
        squares = self.mean(self.targets**2), self.mean(self.values**2)
        return [np.maximum(own - mean**2, 0) for own, mean in zip(squares, self.means, strict=True)]

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        return self.mean(self.targets * self.values) - self.means[0] * self.means[1]

    def ccc(self) -> np.ndarray:
        """Concordance correlation coefficient (Lin 1989, Biometrics 45)."""
        return 2 * self.covariance / (sum(self.variances) + (self.means[0] - self.means[1]) ** 2)

    def pearson(self) -> np.ndarray:
        """Pearson's correlation; nan where targets or values do not vary."""
        product = self.variances[0] * self.variances[1]
        return np.where(product > 0, self.covariance / np.sqrt(product), np.nan)

    def mae(self) -> np.ndarray:
        return self.mean(np.abs(self.values - self.targets))

    def rmse(self) -> np.ndarray:
        return np.sqrt(self.mean((self.values - self.targets) ** 2))


# The scores of one dimension; the metrics of the same names are their means over dimensions.
BY_DIMENSION = {
    "ccc": Moments.ccc,
    "pearson": Moments.pearson,
    "mae": Moments.mae,
    "rmse": Moments.rmse,
}
