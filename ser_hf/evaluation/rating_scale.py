"""Calibration of predicted dimensions: a linear map to the scale of the ratings."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from .ratings import Ratings
from .sections import RatingCalibration

# The share of the predictions of the fitted clips that may be outside of the scale.
_OUTSIDE = 0.01
_MOST_FOLDS = 10


@dataclasses.dataclass(frozen=True)
class RatingScale:
    """A linear map of predicted values to the scale of the ratings.

    Args:
        slopes: the factor of each dimension, above 0.
        offsets: what is added to each dimension.
    """

    slopes: np.ndarray
    offsets: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map values (clips, dimensions) to float32 of the same shape."""
        return (values * self.slopes + self.offsets).astype(np.float32)


def fit_rating_scale(labels: np.ndarray, values: np.ndarray) -> RatingScale:
    """Fit the map under which predictions agree best with the ratings and are on their scale.

    Mean and deviation become those of the ratings, which gives the highest CCC of all linear maps
    with a positive slope (Lin 1989, Biometrics 45). The slope is smaller if more than 1 % of the
    predictions would be outside of the scale.

    Args:
        labels: targets, 0 to 1, (clips, dimensions).
        values: predicted values, of the same shape.
    """
    means = values.mean(axis=0, dtype=np.float64)
    ratings = labels.mean(axis=0, dtype=np.float64)
    centered = values - means
    deviations = centered.std(axis=0)
    lowest, highest = np.quantile(centered, [_OUTSIDE / 2, 1 - _OUTSIDE / 2], axis=0)
    slopes = np.ones(len(means))
    for i in np.flatnonzero(deviations > 1e-6):
        limits = [labels[:, i].std(dtype=np.float64) / deviations[i]]
        if highest[i] > 0:
            limits.append((1 - ratings[i]) / highest[i])
        if lowest[i] < 0:
            limits.append(ratings[i] / -lowest[i])
        # All ratings of the fitted clips may be equal; the slope is kept above 0.
        slopes[i] = max(min(limits), 1e-6)
    return RatingScale(slopes, ratings - slopes * means)


def select_rating_scale(
    labels: np.ndarray, values: np.ndarray, speakers: Sequence[str]
) -> RatingScale:
    """Fit the map (`fit_rating_scale`) of the dimensions that it does not harm.

    A dimension keeps its values if the map lowers its CCC on clips of other speakers than those it
    was fitted on. To find out, the clips of each speaker (or of a tenth of the speakers) are mapped
    by a map of all others. Values outside of the scale are clamped to its ends, with and without
    the map.

    Args:
        labels: targets, 0 to 1, (clips, dimensions).
        values: predicted values, of the same shape.
        speakers: the speaker of each clip.
    """
    mapped = np.empty_like(values, np.float32)
    for left_out in _folds(speakers):
        if left_out.all():  # one speaker, which shows nothing about others
            return fit_rating_scale(labels, values)
        scale_of_others = fit_rating_scale(labels[~left_out], values[~left_out])
        mapped[left_out] = scale_of_others.apply(values[left_out])
    ccc_before = Ratings(labels, values.clip(0, 1)).unweighted.ccc()[0]
    ccc_after = Ratings(labels, mapped.clip(0, 1)).unweighted.ccc()[0]
    is_lower = ccc_after < ccc_before  # False where a CCC is undefined
    scale = fit_rating_scale(labels, values)
    return RatingScale(
        np.where(is_lower, 1.0, scale.slopes), np.where(is_lower, 0.0, scale.offsets)
    )


def _folds(speakers: Sequence[str]) -> Iterator[np.ndarray]:
    """The clips of each fold of the speakers, as a mask (clips,)."""
    numbers = np.unique(np.asarray(speakers), return_inverse=True)[1] % _MOST_FOLDS
    for number in np.unique(numbers):
        yield numbers == number


def outside_scale(values: np.ndarray) -> np.ndarray:
    """Whether a value is outside of 0 to 1, or was clamped to an end; of the shape of `values`."""
    return (values <= 0) | (values >= 1)


def calibration_effect(
    scale: RatingScale, names: list[str], labels: np.ndarray, before: np.ndarray
) -> dict[str, RatingCalibration]:
    """The effect of a map on the evaluated clips, by dimension.

    Args:
        names: of the dimensions.
        labels: targets of the evaluated clips, (clips, dimensions).
        before: their predicted values without the map, of the same shape.
    """
    after = scale.apply(before)
    ccc_before = Ratings(labels, before).unweighted.ccc()[0]
    ccc_after = Ratings(labels, after.clip(0, 1)).unweighted.ccc()[0]
    effects = {}
    for i, name in enumerate(names):
        effects[name] = RatingCalibration(
            slope=float(scale.slopes[i]),
            offset=float(scale.offsets[i]),
            ccc_before=_known(ccc_before[i]),
            ccc_after=_known(ccc_after[i]),
            outside_before=float(outside_scale(before[:, i]).mean()),
            outside_after=float(outside_scale(after[:, i]).mean()),
        )
    return effects


def _known(score: float) -> float | None:
    """The score; None if it is undefined."""
    return float(score) if np.isfinite(score) else None
