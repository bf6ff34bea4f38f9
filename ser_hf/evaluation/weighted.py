"""The same metrics under many weightings of the clips at once, as a bootstrap asks for them.

`ser_hf.evaluation.metrics` says what each means; here a clip counts as often as a resample drew it.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from .metrics import clipped, soft_scores, squared_errors

# Weights (resamples, clips) -> each figure's value (resamples, ...), nan where a resample leaves it undefined.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]


def measure(
    labels: np.ndarray,
    predictions: np.ndarray,
    classes: int,
    probabilities: np.ndarray | None = None,
    votes: np.ndarray | None = None,
) -> Measure:
    """What measures one run's answers: UAR, WA, macro-F1 and weighted F1, and with probabilities all others but the
    calibration error. That one is biased upwards, the more so the fewer different clips there are, and a resample has
    fewer than the clips that it was drawn from: near calibration its percentiles lie above the truth, and above the
    very figure that they are to surround (Kumar, Liang and Ma 2019, arXiv:1909.10155, on the bias).

    Args:
        labels, predictions: class ids, (clips,).
        probabilities: (clips, classes).
        votes: raters' shares, (clips, classes), nan where nobody rated.
    """
    # Sparse, so that memory grows with the clips and not with the classes; of a confusion no metric asks more.
    of_label, called = groups(labels, classes), groups(predictions, classes)
    right = groups(labels, classes, labels == predictions)
    scores: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # each clip's own, and which clips have one
    ranks = []
    if probabilities is not None:
        everyone = np.ones(len(labels))
        own = np.take_along_axis(clipped(probabilities), labels[:, None], axis=1)[:, 0]
        scores = {"log_loss": (-np.log(own), everyone), "brier": (squared_errors(labels, probabilities), everyone)}
        if classes > 2:
            scores["top2_accuracy"] = (_in_top_two(labels, probabilities), everyone)
        if votes is not None:
            for name, values in zip(("kl", "cosine"), soft_scores(probabilities, votes), strict=True):
                scores[name] = (np.nan_to_num(values), np.isfinite(values).astype(np.float64))
        # A class without a clip has no area, in no resample.
        ranks = [_Ranks(labels == i, probabilities[:, i]) for i in np.unique(labels)]

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=np.float64)
        values = from_counts(weights @ of_label, weights @ called, weights @ right)
        if probabilities is None:
            return {name: values[name] for name in ("uar", "wa", "macro_f1", "weighted_f1")}
        with np.errstate(invalid="ignore", divide="ignore"):
            values["auroc"] = mean_of_known(np.stack([own(weights) for own in ranks], axis=1))
            for name, (own, known) in scores.items():
                values[name] = weights @ (own * known) / (weights @ known)
        return values

    return measured


def groups(of: np.ndarray, count: int, counted: np.ndarray | None = None) -> csr_array:
    """(clips, count), 1 where a clip is of that group: `weights @ groups(...)` is how often each group was drawn,
    (resamples, count). A clip that is not `counted` is of none."""
    clips = len(of)
    ones = np.ones(clips) if counted is None else np.asarray(counted, np.float64)
    return csr_array((ones, np.asarray(of), np.arange(clips + 1)), shape=(clips, count))


def from_counts(support: np.ndarray, called: np.ndarray, hits: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of resamples, each (resamples,), from the clips of each class, the answers that name it and those of
    them that are right, each (resamples, classes)."""
    total = support.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample lacks has no recall; it is left out of that resample's mean. So is a fold of which no
        # speaker was drawn.
        f1 = np.where(support > 0, 2 * hits / (support + called), np.nan)
        right = hits.sum(axis=1)
        chance = (support * called).sum(axis=1)
        spread = np.sqrt((total**2 - (called**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1)))
        correlation = (right * total - chance) / spread
        return {
            "uar": mean_of_known(recalls(support, hits)),
            "wa": right / total,
            "macro_f1": mean_of_known(f1),
            "weighted_f1": np.nansum(f1 * support, axis=1) / total,
            "micro_f1": right / total,
            "kappa": (right * total - chance) / (total**2 - chance),
            # Where all answers, or all labels, are one class, nothing is correlated (as scikit-learn has it).
            "mcc": np.where((spread == 0) & (total > 0), 0, correlation),
        }


def recalls(support: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Of each class, (..., classes), nan where it has no clip."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, hits / support, np.nan)


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
        ranked = scores[self.order]
        places = np.flatnonzero(own[self.order])
        self.own = self.order[places]
        # Of each of the class's clips: how many clips, and how many of the class's, rank below it, and with it or
        # below.
        self.below, self.upto = (np.searchsorted(ranked, ranked[places], side) for side in ("left", "right"))
        self.own_below, self.own_upto = np.searchsorted(places, self.below), np.searchsorted(places, self.upto)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        drawn, own = weights[:, self.own], _counted(weights[:, self.own])
        everyone = _counted(weights[:, self.order])
        others = everyone[:, self.below] + everyone[:, self.upto] - own[:, self.own_below] - own[:, self.own_upto]
        pairs = own[:, -1] * (everyone[:, -1] - own[:, -1])
        return (drawn * others).sum(axis=1) / (2 * pairs)


def _counted(weights: np.ndarray) -> np.ndarray:
    """How much weight there is before each place and, at the end, in all: (resamples, places + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
