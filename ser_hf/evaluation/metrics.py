"""Metrics of a classifier, each computed for many resamples at once, and calibration by temperature."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

BINS = 15
# The smallest step of single precision below 1; a probability of 0 would make the log loss infinite.
LEAST = float(np.finfo(np.float32).eps)

# The bounds of the search for a temperature.
LOWEST, HIGHEST = 0.01, 100.0


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What one run predicts for some clips: class ids (clips,), the number of classes, probabilities and the shares of
    the raters' votes (clips, classes), nan for clips without."""

    labels: np.ndarray
    predictions: np.ndarray
    classes: int
    probabilities: np.ndarray | None = None
    votes: np.ndarray | None = None

    @classmethod
    def of_probabilities(cls, labels: Sequence[int], shares: np.ndarray, votes: np.ndarray | None = None) -> "Outputs":
        shares = np.asarray(shares)
        return cls(np.asarray(labels), shares.argmax(axis=1), shares.shape[1], shares, votes)

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
        """Whether the label is one of the two most probable classes; NaN for two classes or fewer."""
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
        """Confidence minus correctness of each clip, in the column of its confidence bin, (clips, bins)."""
        confidence, bins = confidence_bins(self.probabilities)
        return one_hot(bins, BINS, confidence - (self.predictions == self.labels))

    @functools.cached_property
    def divergences(self) -> np.ndarray:
        """KL divergence (nats) from the votes; nan for clips that nobody rated."""
        rated = self.votes.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(rated > 0, rated * (np.log(rated) - np.log(clipped(self.probabilities))), 0)
        return np.where(np.isnan(rated).any(axis=1), np.nan, terms.sum(axis=1))

    @functools.cached_property
    def cosines(self) -> np.ndarray:
        """Cosine with the votes; nan for clips that nobody rated."""
        predicted, rated = clipped(self.probabilities), self.votes.astype(np.float64)
        return (rated * predicted).sum(axis=1) / (np.linalg.norm(rated, axis=1) * np.linalg.norm(predicted, axis=1))

    @functools.cached_property
    def roc_areas(self) -> list["_RocArea"]:
        """The AUROC of each class that occurs."""
        return [_RocArea(self.labels == i, self.probabilities[:, i]) for i in np.unique(self.labels)]


class Weighted:
    """Outputs under weights of the clips, (resamples, clips): how often each resample drew each clip."""

    def __init__(self, outputs: Outputs, weights: np.ndarray):
        self.outputs, self.weights = outputs, np.asarray(weights, np.float64)
        self.support = self.weights @ outputs.labeled  # (resamples, classes), as the next two
        self.predicted = self.weights @ outputs.predicted
        self.recognized = self.weights @ outputs.recognized
        self.clips = self.support.sum(axis=1)  # (resamples,)
        self.correct = self.recognized.sum(axis=1)
        self.by_chance = (self.support * self.predicted).sum(axis=1)

    @functools.cached_property
    def f1(self) -> np.ndarray:
        """(resamples, classes); nan for a class without a clip."""
        return np.where(self.support > 0, 2 * self.recognized / (self.support + self.predicted), np.nan)

    def mean(self, scores: np.ndarray) -> np.ndarray:
        """(resamples,) means of scores of the clips, (clips,), without those that are nan."""
        known = np.isfinite(scores)
        return self.weights @ np.where(known, scores, 0) / (self.weights @ known)

    def mcc(self) -> np.ndarray:
        total = self.clips**2
        spread = np.sqrt((total - (self.predicted**2).sum(axis=1)) * (total - (self.support**2).sum(axis=1)))
        correlation = (self.correct * self.clips - self.by_chance) / spread
        # If all predictions or all labels are one class there is no correlation, as in scikit-learn.
        return np.where((spread == 0) & (total > 0), 0, correlation)

    def auroc(self) -> np.ndarray:
        return mean_of_known(np.stack([area(self.weights) for area in self.outputs.roc_areas], axis=1))


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as reports, tables and the JSON schema describe it.

    Args:
        compute: (resamples,) values; nan where a resample leaves the metric undefined.
        needs: the field of `Outputs` that it is computed from: predictions, probabilities or votes.
        interval: whether percentiles of resamples are a valid interval.
    """

    name: str
    definition: str
    compute: Callable[[Weighted], np.ndarray]
    higher_is_better: bool = True
    needs: str = "predictions"
    interval: bool = True


# A new metric is one entry here. Definitions are printed with the values, because papers confuse the names.
METRICS = {
    "uar": Metric(
        "UAR",
        "unweighted average recall: the mean over classes of the share of each class's clips that is recognized",
        lambda own: mean_of_known(recalls(own.support, own.recognized)),
    ),
    "wa": Metric(
        "WA",
        "weighted accuracy: the share of all clips that is recognized (plain accuracy)",
        lambda own: own.correct / own.clips,
    ),
    "macro_f1": Metric(
        "macro-F1",
        "the mean over classes of the harmonic mean of precision and recall",
        lambda own: mean_of_known(own.f1),
    ),
    "weighted_f1": Metric(
        "weighted F1",
        "the mean over classes of F1, each class weighted by its number of clips",
        lambda own: np.nansum(own.f1 * own.support, axis=1) / own.clips,
    ),
    "micro_f1": Metric(
        "micro-F1",
        "F1 of all decisions together; equal to WA with one label per clip",
        lambda own: own.correct / own.clips,
    ),
    "top2_accuracy": Metric(
        "top-2 accuracy",
        "the share of clips whose label is one of the two most probable classes",
        lambda own: own.mean(own.outputs.in_top_two),
        needs="probabilities",
    ),
    "kappa": Metric(
        "Cohen's kappa",
        "Cohen's kappa: agreement with the labels beyond chance agreement; 0 is chance, 1 is perfect",
        lambda own: (own.correct * own.clips - own.by_chance) / (own.clips**2 - own.by_chance),
    ),
    "mcc": Metric(
        "MCC",
        "Matthews' correlation coefficient of labels and predictions, over all classes; 0 is chance, 1 is perfect",
        Weighted.mcc,
    ),
    "auroc": Metric(
        "AUROC",
        "the probability that a clip of a class gets a higher probability for it than a clip of another class, mean "
        "over classes (one versus rest); 0.5 is chance",
        Weighted.auroc,
        needs="probabilities",
    ),
    "log_loss": Metric(
        "log loss",
        "mean negative natural logarithm of the probability of the true class; lower is better",
        lambda own: own.mean(own.outputs.log_losses),
        higher_is_better=False,
        needs="probabilities",
    ),
    "brier": Metric(
        "Brier score",
        "mean over clips of the squared error of all probabilities (0 to 2); lower is better",
        lambda own: own.mean(own.outputs.squared_errors),
        higher_is_better=False,
        needs="probabilities",
    ),
    # Fewer different clips bias it upwards, and a resample has fewer than the clips that it is drawn from: its
    # percentiles lie above the value (Kumar, Liang and Ma 2019, arXiv:1909.10155).
    "ece": Metric(
        "ECE",
        "expected calibration error: the difference between accuracy and predicted probability, mean over 15 equal "
        "bins of the probability; lower is better",
        lambda own: np.abs(own.weights @ own.outputs.overconfidence).sum(axis=1) / own.clips,
        higher_is_better=False,
        needs="probabilities",
        interval=False,
    ),
    "kl": Metric(
        "KL divergence",
        "Kullback-Leibler divergence (nats) of the predicted probabilities from the shares of the raters' votes, mean "
        "over rated clips; lower is better",
        lambda own: own.mean(own.outputs.divergences),
        higher_is_better=False,
        needs="votes",
    ),
    "cosine": Metric(
        "cosine similarity",
        "cosine of the predicted probabilities and the shares of the raters' votes, mean over rated clips; 1 is equal",
        lambda own: own.mean(own.outputs.cosines),
        needs="votes",
    ),
}
DEFINITIONS = {key: metric.definition for key, metric in METRICS.items()}
NAMES = {key: metric.name for key, metric in METRICS.items()}
# The metrics that small tables show.
HEADLINE = ("uar", "wa", "macro_f1", "weighted_f1")
# Those with an interval.
RESAMPLED = tuple(key for key, metric in METRICS.items() if metric.interval)


def compute(outputs: Outputs, weights: np.ndarray, names: Sequence[str] = RESAMPLED) -> dict[str, np.ndarray]:
    """{metric: (resamples,)} under weights (resamples, clips), without metrics whose inputs the outputs lack."""
    own = Weighted(outputs, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (name for name in names if getattr(outputs, METRICS[name].needs) is not None)
        return {name: METRICS[name].compute(own) for name in known}


def values(outputs: Outputs, names: Sequence[str] = tuple(METRICS)) -> dict[str, float | None]:
    """{metric: value} over all clips; None where one is undefined, such as AUROC for clips of one class."""
    computed = compute(outputs, np.ones((1, len(outputs.labels))), names)
    return {name: float(value) if np.isfinite(value) else None for name, (value,) in computed.items()}


def all_metrics(
    labels: Sequence[int],
    probabilities: np.ndarray,
    votes: np.ndarray | None = None,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, float | None]:
    """Compute metrics of one run over all clips.

    Args:
        labels: class ids, (clips,).
        probabilities: (clips, classes), each row with the sum 1.
        votes: shares of the raters' votes, (clips, classes), nan for clips without; None without any votes.
        names: keys of `METRICS`.

    Returns:
        {metric: value}; None where one is undefined, and no entry for metrics that need absent votes.
    """
    return values(Outputs.of_probabilities(labels, probabilities, votes), names)


def classification_metrics(labels: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of class ids (clips,), means over the classes that occur in `labels`."""
    return values(Outputs(np.asarray(labels), np.asarray(predictions), classes), HEADLINE)


def trainer_metrics(prediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: from an `EvalPrediction` of logits (clips, classes)."""
    logits = np.asarray(prediction.predictions)
    return classification_metrics(prediction.label_ids, logits.argmax(axis=1), logits.shape[1])


def mean_metrics(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric over runs; None if it is undefined for one."""
    runs = {name: [own[name] for own in measured] for name in measured[0]}
    return {name: None if None in own else float(np.mean(own)) for name, own in runs.items()}


def transductive_note(metrics: Mapping[str, float | None]) -> str:
    """The note about results with features standardized per speaker."""
    return (
        f"Standardized per speaker, UAR is {metrics['uar']:.3f}, macro-F1 {metrics['macro_f1']:.3f} and WA "
        f"{metrics['wa']:.3f}: this needs other clips of the same speaker, unlabeled; the published model does not do "
        "it."
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Convert logits (clips, classes) to probabilities of the same shape, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Raise probabilities (clips, classes) to at least `LEAST`, and scale the rows to the sum 1, float64."""
    raised = np.clip(probabilities.astype(np.float64), LEAST, 1)
    return raised / raised.sum(axis=1, keepdims=True)


def one_hot(groups: np.ndarray, count: int, values: np.ndarray | None = None) -> csr_array:
    """Sparse (clips, count) matrix with 1, or the clip's value, in the column of its group. `weights @ one_hot(...)`,
    (resamples, count), counts how often each group was drawn."""
    ones = np.ones(len(groups)) if values is None else np.asarray(values, np.float64)
    return csr_array((ones, np.asarray(groups), np.arange(len(groups) + 1)), shape=(len(groups), count))


def recalls(support: np.ndarray, recognized: np.ndarray) -> np.ndarray:
    """Recall of each class, (..., classes); nan for a class without a clip, which means then leave out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, recognized / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, nan values left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)


class _RocArea:
    """AUROC of one class in each resample, from weights (resamples, clips); clips with equal scores count half."""

    def __init__(self, own: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(scores, kind="stable")
        ranked = scores[self.order]
        places = np.flatnonzero(own[self.order])
        self.own = self.order[places]
        # For each clip of the class: how many clips, and how many of the class, rank below it, and at most as high.
        self.below, self.upto = (np.searchsorted(ranked, ranked[places], side) for side in ("left", "right"))
        self.own_below, self.own_upto = np.searchsorted(places, self.below), np.searchsorted(places, self.upto)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        drawn, own, everyone = weights[:, self.own], _summed(weights[:, self.own]), _summed(weights[:, self.order])
        others = everyone[:, self.below] + everyone[:, self.upto] - own[:, self.own_below] - own[:, self.own_upto]
        pairs = own[:, -1] * (everyone[:, -1] - own[:, -1])
        return (drawn * others).sum(axis=1) / (2 * pairs)


def _summed(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums of (resamples, places) that begin with 0, (resamples, places + 1)."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


def confidence_bins(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest probability of each clip and its bin, 0 to `BINS` - 1, upper bounds included (Guo et al. 2017)."""
    top = probabilities.max(axis=1).astype(np.float64)
    return top, np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """The reliability diagram (Guo et al. 2017): bounds, clips, mean confidence and accuracy of each bin, None if
    empty."""
    top, bins = confidence_bins(probabilities)
    means = {"confidence": top, "accuracy": probabilities.argmax(axis=1) == labels}
    return [
        {"low": i / BINS, "high": (i + 1) / BINS, "clips": int(own.sum())}
        | {name: float(scores[own].mean()) if own.any() else None for name, scores in means.items()}
        for i, own in enumerate(bins == i for i in range(BINS))
    ]


def per_class(labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support (clips) of each class."""
    columns = precision_recall_fscore_support(labels, predictions, labels=range(len(names)), zero_division=0)
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    return {name: {"precision": p, "recall": r, "f1": f1, "support": count} for name, p, r, f1, count in rows}


def confusion(labels: Sequence[int], predictions: Sequence[int], classes: int) -> list[list[int]]:
    """Count clips, (classes, classes): one row per true class, one column per predicted class."""
    return confusion_matrix(labels, predictions, labels=range(classes)).tolist()


def fit_temperature(
    logits: np.ndarray, labels: Sequence[int], merged: Callable[[np.ndarray], np.ndarray] = lambda logits: logits
) -> float:
    """Fit the temperature T under which softmax(logits / T) has the lowest log loss.

    Guo et al. 2017, arXiv:1706.04599. Predicted labels do not change. If every clip is recognized, a lower T always
    has a lower loss, and the result is the limit `LOWEST`, see `at_limit`.

    Args:
        logits: (clips, classes) or (windows, classes), of clips that the model was not trained on.
        labels: class ids, (clips,).
        merged: converts logits of windows to those of clips (`ser_hf.training.data.merge`).

    Returns:
        T, from `LOWEST` to `HIGHEST`.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)

    def loss(temperature: float) -> float:
        probabilities = scipy.special.log_softmax(merged(logits / temperature), axis=1)
        return float(-probabilities[np.arange(len(labels)), labels].mean())

    if (merged(logits).argmax(axis=1) == labels).all():
        return LOWEST
    limits = np.log([LOWEST, HIGHEST])
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=limits, method="bounded", options={"xatol": 1e-6})
    return min([1.0, float(np.exp(found.x)), LOWEST, HIGHEST], key=loss)


def at_limit(temperature: float) -> bool:
    """Whether `fit_temperature` ended at a bound of its search: the clips do not determine a temperature."""
    return not LOWEST < temperature < HIGHEST


def temperature_facts(
    temperature: float, labels: Sequence[int], before: np.ndarray, after: np.ndarray, stored: bool
) -> dict[str, Any]:
    """The report's `temperature`: log loss, ECE and Brier score before and after temperature scaling.

    Args:
        temperature: from `fit_temperature`.
        labels: class ids, (clips,).
        before, after: logits (clips, classes).
        stored: whether the published model applies the temperature.
    """
    found: dict[str, Any] = {"value": temperature, "fitted_on": "validation"}
    for when, logits in (("before", before), ("after", after)):
        probabilities = scipy.special.softmax(np.asarray(logits, dtype=np.float64), axis=1)
        found[when] = all_metrics(labels, probabilities, names=("log_loss", "ece", "brier"))
    return found | {"stored": stored}
