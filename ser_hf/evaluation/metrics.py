"""Metrics of predicted classes and dimensions, each computed for many resamples at once."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special
from scipy.sparse import csr_array

from .tasks import EMOTIONS, Task, task_of

BINS = 15
# The smallest step of single precision below 1; a probability of 0 would make the log loss
# infinite.
LEAST = float(np.finfo(np.float32).eps)


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


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as reports, tables and the JSON schema describe it.

    Args:
        compute: (resamples,) values; nan where a resample leaves the metric undefined.
        needs: the field of `Outputs` or `Ratings` that it is computed from: predictions,
            probabilities, votes, values.
        interval: whether percentiles of resamples are a valid interval.
    """

    name: str
    definition: str
    compute: Callable[[Any], np.ndarray]
    higher_is_better: bool = True
    needs: str = "predictions"
    interval: bool = True


# A new metric is one entry here. Definitions are printed with the values, because papers confuse
# the names.
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
    # Fewer different clips bias it upwards, and a resample has fewer than the clips that it is
    # drawn from: its percentiles lie above the value (Kumar, Liang and Ma 2019, arXiv:1909.10155).
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
    "ccc": Metric(
        "CCC",
        "concordance correlation coefficient of ratings and predictions (Lin 1989), which also counts differences in "
        "mean and spread: 1 is equal, 0 is unrelated; mean over dimensions",
        lambda own: own.ccc().mean(axis=1),
        needs="values",
    ),
    "pearson": Metric(
        "Pearson",
        "Pearson's correlation of ratings and predictions; mean over dimensions",
        lambda own: own.pearson().mean(axis=1),
        needs="values",
    ),
    "mae": Metric(
        "MAE",
        "mean absolute error, as a share of the range of the ratings; mean over dimensions; lower is better",
        lambda own: own.mae().mean(axis=1),
        higher_is_better=False,
        needs="values",
    ),
    "rmse": Metric(
        "RMSE",
        "root mean squared error, as a share of the range of the ratings; mean over dimensions; lower is better",
        lambda own: own.rmse().mean(axis=1),
        higher_is_better=False,
        needs="values",
    ),
}
NAMES = {key: metric.name for key, metric in METRICS.items()}
# Those with an interval.
RESAMPLED = tuple(key for key, metric in METRICS.items() if metric.interval)


def lower_is_better(name: str) -> bool:
    """Whether a lower value of a metric, or of the loss, is better."""
    return name == "loss" or not METRICS[name].higher_is_better


def definitions(task: Task) -> dict[str, str]:
    """The definitions of a task's metrics, by their keys."""
    own = {
        key
        for key, metric in METRICS.items()
        if (metric.needs == "values") == ("ccc" in task.headline)
    }
    return {key: METRICS[key].definition for key in METRICS if key in own}


def outputs_of(
    labels: Sequence, scores: np.ndarray, votes: np.ndarray | None = None
) -> Outputs | Ratings:
    """Labels and scores of one run, (clips, outputs): class ids and probabilities, or targets and
    predicted values.
    """
    labels = np.asarray(labels)
    if task_of(labels) is EMOTIONS:
        return Outputs.of_probabilities(labels, scores, votes)
    return Ratings(labels, np.asarray(scores))


def compute(
    outputs: Outputs | Ratings, weights: np.ndarray, names: Sequence[str] = RESAMPLED
) -> dict[str, np.ndarray]:
    """{metric: (resamples,)} under weights (resamples, clips), without metrics whose inputs the
    outputs lack.
    """
    own = outputs.weighted(weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (name for name in names if getattr(outputs, METRICS[name].needs) is not None)
        return {name: METRICS[name].compute(own) for name in known}


def values(
    outputs: Outputs | Ratings, names: Sequence[str] = tuple(METRICS)
) -> dict[str, float | None]:
    """{metric: value} over all clips; None where one is undefined, such as AUROC for clips of one
    class.
    """
    computed = compute(outputs, np.ones((1, len(outputs.labels))), names)
    return {
        name: float(value) if np.isfinite(value) else None for name, (value,) in computed.items()
    }


def all_metrics(
    labels: Sequence,
    probabilities: np.ndarray,
    votes: np.ndarray | None = None,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, float | None]:
    """Compute metrics of one run over all clips.

    Args:
        labels: class ids, (clips,), or targets, (clips, dimensions).
        probabilities: (clips, classes), each row with the sum 1, or predicted values like targets.
        votes: shares of the raters' votes, (clips, classes), nan for clips without; None without
            any votes.
        names: keys of `METRICS`.

    Returns:
        {metric: value}; None where one is undefined, and no entry for metrics that need absent
        votes.
    """
    return values(outputs_of(labels, probabilities, votes), names)


def classification_metrics(
    labels: Sequence[int], predictions: Sequence[int], classes: int
) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of class ids (clips,), means over the classes that occur in
    `labels`.
    """
    return values(Outputs(np.asarray(labels), np.asarray(predictions), classes), EMOTIONS.headline)


def compute_metrics(prediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: from an `EvalPrediction` of labels and logits (clips,
    outputs).

    Example: `Trainer(model, args, compute_metrics=ser_hf.compute_metrics)`
    """
    labels = np.asarray(prediction.label_ids)
    return all_metrics(labels, prediction.predictions, names=task_of(labels).headline)


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


def activated(logits: np.ndarray, problem_type: str | None) -> np.ndarray:
    """What logits, float32 (clips, outputs), say, as in `pipeline`: probabilities of classes, of
    each label of a multi-label model by itself, or the values of dimensions, which logits are."""
    if problem_type == "regression":
        return logits
    return (
        scipy.special.expit(logits)
        if problem_type == "multi_label_classification"
        else softmax(logits)
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Convert logits (clips, classes) to probabilities of the same shape, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Raise probabilities (clips, classes) to at least `LEAST`, and scale the rows to the sum 1,
    float64.
    """
    raised = np.clip(probabilities.astype(np.float64), LEAST, 1)
    return raised / raised.sum(axis=1, keepdims=True)


def one_hot(groups: np.ndarray, count: int, values: np.ndarray | None = None) -> csr_array:
    """Sparse (clips, count) matrix with 1, or the clip's value, in the column of its group.
    `weights @ one_hot(...)`, (resamples, count), counts how often each group was drawn."""
    ones = np.ones(len(groups)) if values is None else np.asarray(values, np.float64)
    return csr_array(
        (ones, np.asarray(groups), np.arange(len(groups) + 1)), shape=(len(groups), count)
    )


def recalls(support: np.ndarray, recognized: np.ndarray) -> np.ndarray:
    """Recall of each class, (..., classes); nan for a class without a clip, which means then leave
    out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(support > 0, recognized / support, np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, nan values left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nansum(values, axis=-1) / np.isfinite(values).sum(axis=-1)


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


def confidence_bins(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest probability of each clip and its bin, 0 to `BINS` - 1, upper bounds included (Guo
    et al. 2017).
    """
    top = probabilities.max(axis=1).astype(np.float64)
    return top, np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
