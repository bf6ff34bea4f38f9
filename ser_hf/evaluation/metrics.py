"""The table of metrics, each computed for many resamples at once."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .label_sets import DEFAULT_THRESHOLD, LabelSets, best_threshold
from .outputs import Outputs, Weighted
from .probabilities import activated
from .ratings import Ratings
from .tasks import DIMENSIONS, EMOTIONS, MULTI_LABEL, Task, task_of
from .weighting import mean_of_known, recalls

if TYPE_CHECKING:
    from transformers import EvalPrediction


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as reports, tables and the JSON schema describe it.

    Args:
        compute: function from `Weighted`, `WeightedSets` or `Moments` to the values, (resamples,);
            nan where the metric is undefined for a resample.
        needs: the field of the outputs from which the metric is computed: predictions,
            probabilities, votes or values.
        interval: whether percentiles of the resampled values are a valid interval.
        unit: what a value is measured in, for tables and lines; empty for a score.
        tasks: the names of the tasks that have the metric.
    """

    name: str
    definition: str
    compute: Callable[[Any], np.ndarray]
    higher_is_better: bool = True
    needs: str = "predictions"
    interval: bool = True
    unit: str = ""
    tasks: tuple[str, ...] = (EMOTIONS.name,)


_OF_DIMENSIONS = (DIMENSIONS.name,)
_OF_SETS = (MULTI_LABEL.name,)
_OF_BOTH = (EMOTIONS.name, MULTI_LABEL.name)

# To add a metric, add an entry here. Definitions are printed with the values, because papers use
# the same names for different metrics.
METRICS = {
    "uar": Metric(
        "UAR",
        "unweighted average recall: the mean over classes of the share of each class's clips "
        "that is recognized",
        lambda weighted: mean_of_known(recalls(weighted.support, weighted.recognized)),
    ),
    "wa": Metric(
        "WA",
        "weighted accuracy: the share of all clips that is recognized (plain accuracy)",
        lambda weighted: weighted.correct / weighted.clips,
    ),
    "macro_f1": Metric(
        "macro-F1",
        "the mean over classes of the harmonic mean of precision and recall",
        lambda weighted: mean_of_known(weighted.f1),
        tasks=_OF_BOTH,
    ),
    "weighted_f1": Metric(
        "weighted F1",
        "the mean over classes of F1, each class weighted by its number of clips",
        lambda weighted: (
            np.nansum(weighted.f1 * weighted.support, axis=1) / weighted.support.sum(axis=1)
        ),
        tasks=_OF_BOTH,
    ),
    "micro_f1": Metric(
        "micro-F1",
        "F1 of all decisions together; equal to WA with one label per clip",
        lambda weighted: weighted.micro_f1(),
        tasks=_OF_BOTH,
    ),
    "top2_accuracy": Metric(
        "top-2 accuracy",
        "the share of clips whose label is one of the two most probable classes",
        lambda weighted: weighted.mean(weighted.outputs.in_top_two),
        needs="probabilities",
    ),
    "kappa": Metric(
        "Cohen's kappa",
        "Cohen's kappa: agreement with the labels beyond chance agreement; 0 is chance, 1 is "
        "perfect",
        Weighted.kappa,
    ),
    "mcc": Metric(
        "MCC",
        "Matthews' correlation coefficient of labels and predictions, over all classes; 0 is "
        "chance, 1 is perfect",
        Weighted.mcc,
    ),
    "auroc": Metric(
        "AUROC",
        "the probability that a clip of a class gets a higher probability for it than a clip of "
        "another class, mean over classes (one versus rest); 0.5 is chance",
        lambda weighted: weighted.auroc(),
        needs="probabilities",
        tasks=_OF_BOTH,
    ),
    "log_loss": Metric(
        "log loss",
        "mean negative natural logarithm of the probability of the true class; lower is better",
        lambda weighted: weighted.mean(weighted.outputs.log_losses),
        higher_is_better=False,
        needs="probabilities",
    ),
    "brier": Metric(
        "Brier score",
        "mean over clips of the squared error of all probabilities (0 to 2); lower is better",
        lambda weighted: weighted.mean(weighted.outputs.squared_errors),
        higher_is_better=False,
        needs="probabilities",
    ),
    # With fewer different clips, ECE is biased upwards. A resample has fewer different clips than
    # the split, so percentiles of resamples lie above the value of the split (Kumar, Liang and Ma
    # 2019, arXiv:1909.10155).
    "ece": Metric(
        "ECE",
        "expected calibration error: the difference between accuracy and predicted probability, "
        "mean over 15 equal bins of the probability; lower is better",
        Weighted.ece,
        higher_is_better=False,
        needs="probabilities",
        interval=False,
    ),
    "kl": Metric(
        "KL divergence",
        "Kullback-Leibler divergence (nats) of the predicted probabilities from the shares of "
        "the raters' votes, mean over rated clips; lower is better",
        lambda weighted: weighted.mean(weighted.outputs.divergences),
        higher_is_better=False,
        needs="votes",
    ),
    "cosine": Metric(
        "cosine similarity",
        "cosine of the predicted probabilities and the shares of the raters' votes, mean over "
        "rated clips; 1 is equal",
        lambda weighted: weighted.mean(weighted.outputs.cosines),
        needs="votes",
    ),
    "jaccard": Metric(
        "Jaccard index",
        "labels that are both true and predicted, as a share of those that are either, mean over "
        "clips; 1 for a clip without any",
        lambda weighted: weighted.mean(weighted.outputs.overlaps),
        tasks=_OF_SETS,
    ),
    "exact_match": Metric(
        "exact match",
        "the share of clips whose set of predicted labels is the set of true labels",
        lambda weighted: weighted.mean(weighted.outputs.exact),
        tasks=_OF_SETS,
    ),
    "hamming_loss": Metric(
        "Hamming loss",
        "the share of wrong decisions, each on one label of one clip; lower is better",
        lambda weighted: weighted.mean(weighted.outputs.wrong_shares),
        higher_is_better=False,
        tasks=_OF_SETS,
    ),
    "ccc": Metric(
        "CCC",
        "concordance correlation coefficient of ratings and predictions (Lin 1989), which also "
        "counts differences in mean and spread: 1 is equal, 0 is unrelated; mean over dimensions",
        lambda moments: moments.ccc().mean(axis=1),
        tasks=_OF_DIMENSIONS,
        needs="values",
    ),
    "pearson": Metric(
        "Pearson",
        "Pearson's correlation of ratings and predictions; mean over dimensions",
        lambda moments: moments.pearson().mean(axis=1),
        tasks=_OF_DIMENSIONS,
        needs="values",
    ),
    "mae": Metric(
        "MAE",
        "mean absolute error, as a share of the range of the ratings; mean over dimensions; "
        "lower is better",
        lambda moments: moments.mae().mean(axis=1),
        tasks=_OF_DIMENSIONS,
        higher_is_better=False,
        needs="values",
        unit="of the range",
    ),
    "rmse": Metric(
        "RMSE",
        "root mean squared error, as a share of the range of the ratings; mean over dimensions; "
        "lower is better",
        lambda moments: moments.rmse().mean(axis=1),
        tasks=_OF_DIMENSIONS,
        higher_is_better=False,
        needs="values",
        unit="of the range",
    ),
}


@dataclasses.dataclass(frozen=True)
class MeanMetric:
    """A metric that only selects checkpoints: the mean of others, of several targets."""

    name: str
    definition: str
    parts: tuple[str, ...]


SELECTING = {
    "uar_ccc": MeanMetric(
        "mean of UAR and CCC",
        "the mean of UAR and CCC of a model with both classes and dimensions",
        ("uar", "ccc"),
    )
}
AnyOutputs = Outputs | LabelSets | Ratings
NAMES = {key: metric.name for key, metric in (METRICS | SELECTING).items()}
# The metrics that have an interval.
RESAMPLED = tuple(key for key, metric in METRICS.items() if metric.interval)


def lower_is_better(name: str) -> bool:
    """Whether a lower value of a metric, or of the loss, is better."""
    if name in SELECTING:
        return False
    return name == "loss" or not METRICS[name].higher_is_better


def definitions(task: Task) -> dict[str, str]:
    """The definitions of the metrics of a task, by key."""
    return {
        key: metric.definition
        for key, metric in METRICS.items()
        if not set(task.parts).isdisjoint(metric.tasks)
    }


def outputs_of(
    labels: Sequence,
    scores: np.ndarray,
    votes: np.ndarray | None = None,
    thresholds: np.ndarray | None = None,
) -> AnyOutputs:
    """Combine the labels and the scores of one run.

    Args:
        labels: class ids, (clips,), sets of classes, bool (clips, classes), or targets, (clips,
            dimensions).
        scores: probabilities, (clips, classes), or predicted values, (clips, dimensions).
        votes: shares of the raters' votes, (clips, classes).
        thresholds: for sets of classes: the probability above which a class is predicted, (clips,);
            0.5 by default.
    """
    labels = np.asarray(labels)
    task = task_of(labels)
    if task is EMOTIONS:
        return Outputs.of_probabilities(labels, scores, votes)
    if task is MULTI_LABEL:
        if thresholds is None:
            thresholds = np.full(len(labels), DEFAULT_THRESHOLD)
        return LabelSets(labels, np.asarray(scores), thresholds)
    return Ratings(labels, np.asarray(scores))


def measurable(outputs: AnyOutputs, names: Sequence[str]) -> list[str]:
    """The metrics among `names` that the task has, and for which the outputs have the field."""
    measured = []
    for name in names:
        metric = METRICS[name]
        if outputs.task.name in metric.tasks and getattr(outputs, metric.needs) is not None:
            measured.append(name)
    return measured


def compute(
    outputs: AnyOutputs, weights: np.ndarray, names: Sequence[str] = RESAMPLED
) -> dict[str, np.ndarray]:
    """Compute metrics of each resample, for the bootstrap.

    Args:
        weights: how often each clip is in each resample, (resamples, clips).
        names: keys of `METRICS`.

    Returns:
        {metric: (resamples,)}, without the metrics that need an absent field of the outputs.
    """
    weighted = outputs.weighted(weights)
    computed = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in measurable(outputs, names):
            computed[name] = METRICS[name].compute(weighted)
    return computed


def values(outputs: AnyOutputs, names: Sequence[str] = tuple(METRICS)) -> dict[str, float | None]:
    """Compute metrics over all clips, by `evaluate.combine`: {metric: value}.

    The value is None if the metric is undefined, such as AUROC if all clips have one class. Metrics
    that need an absent field of the outputs have no entry.
    """
    # `evaluate` imports the pipelines of Transformers, which takes a second.
    from .metric_objects import measure_outputs

    return measure_outputs(outputs, names)


def all_metrics(
    labels: Sequence,
    probabilities: np.ndarray,
    votes: np.ndarray | None = None,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, float | None]:
    """Compute metrics of one run over all clips.

    Args:
        labels: class ids, (clips,), or targets, (clips, dimensions).
        probabilities: (clips, classes), each row with the sum 1, or predicted values, (clips,
            dimensions).
        votes: shares of the raters' votes, (clips, classes), nan for clips that nobody rated; None
            if there are no votes.
        names: keys of `METRICS`.

    Returns:
        {metric: value}; None for an undefined metric. Without votes, the metrics that need votes
        have no entry.
    """
    return values(outputs_of(labels, probabilities, votes), names)


def classification_metrics(
    labels: Sequence[int], predictions: Sequence[int], classes: int
) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of class ids, (clips,).

    Means over classes are over the classes that occur in `labels`.
    """
    outputs = Outputs(np.asarray(labels), np.asarray(predictions), classes)
    return values(outputs, EMOTIONS.headline)


def compute_metrics(prediction: "EvalPrediction") -> dict[str, float]:
    """Compute the headline metrics; a function for the argument `compute_metrics` of a Trainer.

    Args:
        prediction: labels, and logits or predicted values, (clips, outputs).

    Example: `Trainer(model, args, compute_metrics=ser_hf.compute_metrics)`
    """
    labels = np.asarray(prediction.label_ids)
    return all_metrics(labels, prediction.predictions, names=task_of(labels).headline)


def set_metrics(prediction: "EvalPrediction") -> dict[str, float]:
    """`compute_metrics` of models whose clips have sets of classes (multi-label).

    The decisions use the threshold that is best on the same clips, as validation chooses it.

    Args:
        prediction: sets of classes, 0 or 1, and logits, both (clips, classes).
    """
    labels = np.asarray(prediction.label_ids) > 0.5
    probabilities = activated(np.asarray(prediction.predictions), MULTI_LABEL.problem_type)
    thresholds = np.full(len(labels), best_threshold(labels, probabilities))
    outputs = outputs_of(labels, probabilities, thresholds=thresholds)
    return values(outputs, MULTI_LABEL.headline)


def mean_metrics(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric over runs; None if the metric is undefined for a run."""
    means: dict[str, float | None] = {}
    for name in runs[0]:
        scores = [run[name] for run in runs]
        means[name] = None if None in scores else float(np.mean(scores))
    return means


def transductive_note(metrics: Mapping[str, float | None]) -> str:
    """The note about results with features standardized per speaker."""
    return (
        f"Standardized per speaker, UAR is {metrics['uar']:.3f}, macro-F1 "
        f"{metrics['macro_f1']:.3f} and WA {metrics['wa']:.3f}: this needs other clips of the same "
        "speaker, unlabeled; the published model does not do it."
    )
