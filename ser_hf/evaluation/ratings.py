"""Predicted dimensions of one run, and their scores under weights of the clips."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from .tasks import DIMENSIONS
from .weighting import one_hot


@dataclasses.dataclass(frozen=True)
class Ratings:
    """The predicted dimensions of one run.

    Args:
        labels: targets, (clips, dimensions), 0 to 1.
        values: predicted values, of the same shape.
    """

    labels: np.ndarray
    values: np.ndarray

    # Fields of `Outputs`, so that code for both classes can read them.
    predictions = None
    probabilities = None
    votes = None
    task = DIMENSIONS

    def only(self, places: np.ndarray) -> "Ratings":
        """Select clips by their positions."""
        return Ratings(self.labels[places], self.values[places])

    def weighted(self, weights: np.ndarray) -> "Moments":
        """The moments under weights of the clips, (resamples, clips).

        Scores of the result have the shape (resamples, dimensions).
        """
        weights = np.asarray(weights, np.float64)
        shares = weights / weights.sum(axis=1, keepdims=True)
        return Moments(self, lambda values: shares @ values)

    @functools.cached_property
    def unweighted(self) -> "Moments":
        """The moments with the weight 1 for each clip."""
        return self.weighted(np.ones((1, len(self.labels))))

    def main_by_group(self, group: np.ndarray, count: int) -> Callable[[np.ndarray], np.ndarray]:
        """Make a function from weights to the mean CCC of each group; see `Outputs`."""
        in_group = group >= 0
        # A clip in no group is in the column of group 0, with the value 0, which changes no sum.
        column = np.maximum(group, 0)
        clips = one_hot(column, count, in_group)

        def ccc_of_groups(weights: np.ndarray) -> np.ndarray:
            def mean(values: np.ndarray) -> np.ndarray:
                """The means of values (clips, dimensions): (resamples, count, dimensions)."""
                sums = []
                for of_dimension in values.T:
                    sums.append(weights @ one_hot(column, count, in_group * of_dimension))
                return np.stack(sums, axis=-1) / (weights @ clips)[..., None]

            return Moments(self, mean).ccc().mean(axis=-1)

        return ccc_of_groups


class Moments:
    """Scores of `Ratings`, (..., dimensions), from population moments as in Lin (1989).

    Args:
        mean: function from values (clips, dimensions) to their means over clips, (...,
            dimensions).
    """

    def __init__(self, ratings: Ratings, mean: Callable[[np.ndarray], np.ndarray]):
        self.mean = mean
        middle = ratings.labels.mean(axis=0, dtype=np.float64)
        # Values are centered first, because moments of numbers far from zero lose precision.
        self.targets = ratings.labels - middle
        self.values = ratings.values - middle

    @functools.cached_property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the targets and the mean of the predicted values."""
        return self.mean(self.targets), self.mean(self.values)

    @functools.cached_property
    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """The variance of the targets and the variance of the predicted values."""
        of_targets = self.mean(self.targets**2) - self.means[0] ** 2
        of_values = self.mean(self.values**2) - self.means[1] ** 2
        # Rounding may leave a small negative number.
        return np.maximum(of_targets, 0), np.maximum(of_values, 0)

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """The covariance of the targets and the predicted values."""
        return self.mean(self.targets * self.values) - self.means[0] * self.means[1]

    def ccc(self) -> np.ndarray:
        """Concordance correlation coefficient (Lin 1989, Biometrics 45)."""
        return 2 * self.covariance / (sum(self.variances) + (self.means[0] - self.means[1]) ** 2)

    def pearson(self) -> np.ndarray:
        """Pearson's correlation; nan if the targets or the predicted values are constant."""
        product = self.variances[0] * self.variances[1]
        return np.where(product > 0, self.covariance / np.sqrt(product), np.nan)

    def mae(self) -> np.ndarray:
        """Mean absolute error."""
        return self.mean(np.abs(self.values - self.targets))

    def rmse(self) -> np.ndarray:
        """Root mean squared error."""
        return np.sqrt(self.mean((self.values - self.targets) ** 2))


# The scores of one dimension; the metrics of the same names are their means over dimensions.
BY_DIMENSION = {
    "ccc": Moments.ccc,
    "pearson": Moments.pearson,
    "mae": Moments.mae,
    "rmse": Moments.rmse,
}
