"""Selective prediction: error of the clips that are predicted, by the share that is left out.

A classifier with a reject option predicts a clip only if its highest probability reaches a
threshold (El-Yaniv and Wiener 2010, JMLR 11; Geifman and El-Yaniv 2017, arXiv:1705.08500). The
share of predicted clips is the coverage, and their error the (selective) risk.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.stats

from .bootstrap import clip_draws, percentile, resample, speaker_keys
from .predictions import Predictions
from .sections import Abstention, AcceptedClips, RiskPoint

# The largest number of points of a curve in the report.
_MOST_POINTS = 100
# The confidence of the upper limit of the error on validation clips. The observed error in place of
# a limit is too optimistic: on new speakers it is exceeded more often than not
# (benchmarks/README.md).
BOUND = 0.8


@dataclasses.dataclass(frozen=True)
class Confidence:
    """The highest probability of each prediction, and whether it is wrong; both (predictions,)."""

    probability: np.ndarray
    wrong: np.ndarray


def confidence_of(predictions: Predictions) -> Confidence:
    """The confidence of all predictions, over all runs."""
    probabilities = predictions.probabilities
    labels = np.tile(predictions.labels, len(probabilities))
    return Confidence(
        probability=probabilities.max(axis=2).ravel().astype(np.float64),
        wrong=probabilities.argmax(axis=2).ravel() != labels,
    )


@dataclasses.dataclass(frozen=True)
class _Curve:
    """Coverage and error for each threshold, from the highest to the lowest, (thresholds,)."""

    thresholds: np.ndarray
    coverage: np.ndarray
    error: np.ndarray
    clips: np.ndarray


def _curve(confidence: Confidence) -> _Curve:
    """Compute the curve; clips with equal probabilities are predicted together."""
    order = np.argsort(-confidence.probability, kind="stable")
    probability = confidence.probability[order]
    last = np.flatnonzero(np.append(np.diff(probability) != 0, True))
    clips = last + 1
    errors = np.cumsum(confidence.wrong[order])[last]
    return _Curve(
        thresholds=probability[last],
        coverage=clips / len(probability),
        error=errors / clips,
        clips=clips,
    )


def aurc(confidence: Confidence) -> float:
    """The area under the risk-coverage curve: the mean error over all coverages.

    Each clip is a step of the curve; clips with equal probabilities share the error of their step.
    """
    curve = _curve(confidence)
    steps = np.diff(curve.coverage, prepend=0)
    return float(np.sum(steps * curve.error))


def choose_threshold(confidence: Confidence, error: float) -> float | None:
    """The lowest threshold that keeps an error; None if no threshold does.

    The upper limit of the error (Clopper and Pearson 1934, with the confidence `BOUND`) must not
    exceed the stated error, as in Geifman and El-Yaniv 2017. The limit takes clips as independent:
    the interval over speakers on the evaluated split shows what it does not cover.

    Args:
        confidence: of clips that the model was not trained on, such as those of the validation
            split.
        error: the largest share of wrong predictions among predicted clips.
    """
    curve = _curve(confidence)
    errors = np.round(curve.error * curve.clips)
    correct = np.maximum(curve.clips - errors, np.finfo(float).tiny)
    limits = scipy.stats.beta.ppf(BOUND, errors + 1, correct)
    kept = np.flatnonzero(limits <= error)
    return float(curve.thresholds[kept[-1]]) if len(kept) else None


def accepted_clips(
    predictions: Predictions,
    accepted: np.ndarray,
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> AcceptedClips:
    """Coverage and error of the predicted clips, with intervals over speakers and their clips.

    Args:
        accepted: whether each clip is predicted, (runs, clips) bool.
    """
    wrong = predictions.predicted != predictions.labels
    share = accepted.mean(axis=0)
    share_wrong = (accepted & wrong).mean(axis=0)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        covered = weights @ share
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (weights @ share_wrong) / covered
        return {"coverage": covered / weights.sum(axis=1), "error": error}

    drawn = resample(
        [measured],
        clip_draws(predictions.ids, speaker_keys(predictions), bootstrap, np.random.default_rng(0)),
    )[0]
    covered = float(share.sum())
    return AcceptedClips(
        clips=len(predictions),
        coverage=covered / len(predictions),
        error=float(share_wrong.sum()) / covered if covered else None,
        coverage_interval=percentile(drawn["coverage"], confidence),
        error_interval=percentile(drawn["error"], confidence) if covered else None,
    )


def abstention_section(
    predictions: Predictions,
    held_out: Predictions | None,
    error: float,
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Abstention:
    """The report's `abstention` of one training.

    Args:
        predictions: predictions of the evaluated split.
        held_out: predictions of the validation split, which choose the threshold; None if there is
            none.
        error: the stated error, `evaluation.error` of the recipe.
    """
    section = curve_section(predictions, error)
    if held_out is None:
        return section
    threshold = choose_threshold(confidence_of(held_out), error)
    if threshold is None:
        return section
    options = {"bootstrap": bootstrap, "confidence": confidence}
    return section.model_copy(
        update={
            "threshold": threshold,
            "validation": _at(held_out, threshold, **options),
            "evaluated": _at(predictions, threshold, **options),
        }
    )


def evaluated_threshold(
    predictions: Predictions,
    threshold: float | None,
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Abstention:
    """The section of an evaluated model with its stored threshold; None if it stores none."""
    section = curve_section(predictions)
    if threshold is None:
        return section
    evaluated = _at(predictions, threshold, bootstrap=bootstrap, confidence=confidence)
    return section.model_copy(update={"threshold": threshold, "evaluated": evaluated})


def _at(
    predictions: Predictions, threshold: float, *, bootstrap: int, confidence: float
) -> AcceptedClips:
    accepted = predictions.probabilities.max(axis=2) >= threshold
    return accepted_clips(predictions, accepted, bootstrap=bootstrap, confidence=confidence)


def curve_section(predictions: Predictions, error: float | None = None) -> Abstention:
    """The section with the curve of the evaluated split, and without a threshold."""
    confidence = confidence_of(predictions)
    curve = _curve(confidence)
    steps = np.linspace(0, len(curve.clips) - 1, min(_MOST_POINTS, len(curve.clips)))
    points = []
    for i in np.unique(steps.round().astype(int)):
        points.append(
            RiskPoint(
                coverage=float(curve.coverage[i]),
                error=float(curve.error[i]),
                threshold=float(curve.thresholds[i]),
            )
        )
    section = Abstention(aurc=aurc(confidence), curve=points)
    return section if error is None else section.model_copy(update={"stated_error": error})


def aggregated_abstention(
    predictions: Predictions,
    thresholds: Mapping[str, float | None],
    numbers: np.ndarray,
    error: float,
    *,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> Abstention:
    """The section over folds or seeds, each of which has its threshold.

    Args:
        predictions: the predictions of all folds or seeds together.
        thresholds: the threshold of each fold or seed, by number; None if it has none. Without a
            threshold, no clip of it is predicted.
        numbers: the fold or seed of each prediction, (runs, clips), as text.
        error: the stated error.
    """
    section = curve_section(predictions, error)
    known = {number: value for number, value in thresholds.items() if value is not None}
    if not known:
        return section.model_copy(update={"thresholds": dict(thresholds)})
    accepted = np.zeros(predictions.predicted.shape, dtype=bool)
    highest = predictions.probabilities.max(axis=2)
    for number, threshold in known.items():
        accepted |= (numbers == number) & (highest >= threshold)
    return section.model_copy(
        update={
            "thresholds": dict(thresholds),
            "evaluated": accepted_clips(
                predictions, accepted, bootstrap=bootstrap, confidence=confidence
            ),
        }
    )
