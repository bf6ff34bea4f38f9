"""The same metrics under many weightings of the clips at once, as a bootstrap asks for them.

`ser_hf.evaluation.metrics` says what each means; here a clip counts as often as a resample drew it.
"""

from collections.abc import Callable

import numpy as np

from .metrics import BINS, clipped, confidence_bins, soft_scores, squared_errors

# Weights (resamples, clips) -> each metric's value (resamples,), nan where a resample leaves it undefined.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]


def measure(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    probabilities: np.ndarray | None = None,
    votes: np.ndarray | None = None,
) -> Measure:
    """What measures one run's answers: UAR, WA, macro-F1 and weighted F1, and with probabilities all the others.

    Args:
        labels, predictions: class ids, (clips,).
        probabilities: (clips, classes).
        votes: raters' shares, (clips, classes), nan where nobody rated.
    """
    pairs = np.eye(classes * classes)[labels * classes + predictions]
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # each clip's own, and which clips have one
    ranks, bins = [], None
    if probabilities is not None:
        everyone = np.ones(len(labels), bool)
        own = np.take_along_axis(clipped(probabilities), labels[:, None], axis=1)[:, 0]
        scores = {"log_loss": (-np.log(own), everyone), "brier": (squared_errors(labels, probabilities), everyone)}
        if classes > 2:
            scores["top2_accuracy"] = (_in_top_two(labels, probabilities), everyone)
        if votes is not None:
            for name, values in zip(("kl", "cosine"), soft_scores(probabilities, votes), strict=True):
                scores[name] = (np.nan_to_num(values), np.isfinite(values))
        ranks = [_Ranks(labels == i, probabilities[:, i]) for i in range(classes)]
        top, places = confidence_bins(probabilities)
        bins = np.eye(BINS)[places] * (top - (predictions == labels))[:, None]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=np.float64)
        values = from_confusions((weights @ pairs).reshape(-1, classes, classes))
        with np.errstate(invalid="ignore", divide="ignore"):
            if bins is not None:
                values["auroc"] = mean_of_known(np.stack([own(weights) for own in ranks], axis=1))
                values["ece"] = np.abs(weights @ bins).sum(axis=1) / weights.sum(axis=1)
            for name, (own, known) in scores.items():
                values[name] = weights @ (own * known) / (weights @ known)
        if probabilities is None:
            return {name: values[name] for name in ("uar", "wa", "macro_f1", "weighted_f1")}
        return values

    return measured


def from_confusions(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of confusion matrices (resamples, classes, classes), rows the true classes: each (resamples,)."""
    support, called = counts.sum(axis=2), counts.sum(axis=1)
    hits, total = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample lacks has no recall; it is left out of that resample's mean. So is a fold of which no
        # speaker was drawn.
        f1 = np.where(support > 0, 2 * hits / (support + called), np.nan)
        right = hits.sum(axis=1)
        chance = (support * called).sum(axis=1)
        spread = np.sqrt((total**2 - (called**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1)))
        correlation = (right * total - chance) / spread
        return {
            "uar": mean_of_known(recalls(counts)),
            "wa": right / total,
            "macro_f1": mean_of_known(f1),
            "weighted_f1": np.nansum(f1 * support, axis=1) / total,
            "micro_f1": right / total,
            "kappa": (right * total - chance) / (total**2 - chance),
            # Where all answers, or all labels, are one class, nothing is correlated (as scikit-learn has it).
            "mcc": np.where((spread == 0) & (total > 0), 0, correlation),
        }


def recalls(counts: np.ndarray) -> np.ndarray:
    """Of each class, (resamples, classes), nan where it has no clip."""
    support = counts.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, np.diagonal(counts, axis1=1, axis2=2) / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not nan."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)


def _in_top_two(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    # Equal probabilities rank as in scikit-learn: the later class first.
    ranked = np.argsort(probabilities, axis=1, kind="stable")[:, ::-1][:, :2]
    return (ranked == labels[:, None]).any(axis=1).astype(np.float64)


class _Ranks:
    """The area under a class's ROC curve, equal probabilities counting half, under weights (resamples, clips)."""

    def __init__(self, own: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        self.own = own[self.order]
        ranked = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        if not self.own.any():
            return np.full(len(weights), np.nan)
        ranked = weights[:, self.order]
        positive = np.add.reduceat(ranked * self.own, self.starts, axis=1)
        negative = np.add.reduceat(ranked * ~self.own, self.starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        return (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
