"""Metrics of a classifier, through scikit-learn, each under the name that the field uses."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import scipy.special
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from ..utils.errors import UserError

BINS = 15
# Single precision knows no smaller step below 1; a probability of 0 would make the log loss infinite.
LEAST = float(np.finfo(np.float32).eps)


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Labels and predicted probabilities of clips, with what several metrics need of them."""

    labels: np.ndarray
    probabilities: np.ndarray
    votes: np.ndarray | None = None

    @property
    def classes(self) -> range:
        return range(self.probabilities.shape[1])

    @functools.cached_property
    def predictions(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def by_class(self) -> dict[str, float]:
        return classification_metrics(self.labels, self.predictions, len(self.classes))

    @functools.cached_property
    def soft(self) -> np.ndarray:
        """KL divergence and cosine of the rated clips, (2, clips)."""
        scores = np.stack(soft_scores(self.probabilities, self.votes))
        return scores[:, np.isfinite(scores[0])]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as reports, tables and the JSON schema describe it.

    Args:
        name: as tables call it.
        definition: in words.
        compute: from the outputs of a model; None if it is undefined for these clips.
        higher_is_better: False for errors and divergences.
        needs: what it is computed from: predictions, probabilities or votes.
    """

    name: str
    definition: str
    compute: Callable[[Outputs], float | None]
    higher_is_better: bool = True
    needs: str = "predictions"


# A new metric is one entry here. Definitions are printed with the values, because papers confuse the names.
METRICS = {
    "uar": Metric(
        "UAR",
        "unweighted average recall: the mean over classes of the share of each class's clips that is recognized",
        lambda own: own.by_class["uar"],
    ),
    "wa": Metric(
        "WA",
        "weighted accuracy: the share of all clips that is recognized (plain accuracy)",
        lambda own: own.by_class["wa"],
    ),
    "macro_f1": Metric(
        "macro-F1",
        "the mean over classes of the harmonic mean of precision and recall",
        lambda own: own.by_class["macro_f1"],
    ),
    "weighted_f1": Metric(
        "weighted F1",
        "the mean over classes of F1, each class weighted by its number of clips",
        lambda own: own.by_class["weighted_f1"],
    ),
    "micro_f1": Metric(
        "micro-F1",
        "F1 of all decisions together; equal to WA with one label per clip",
        lambda own: float(f1_score(own.labels, own.predictions, labels=own.classes, average="micro", zero_division=0)),
    ),
    "top2_accuracy": Metric(
        "top-2 accuracy",
        "the share of clips whose label is one of the two most probable classes",
        lambda own: _top_two(own.labels, own.probabilities),
        needs="probabilities",
    ),
    "kappa": Metric(
        "Cohen's kappa",
        "Cohen's kappa: agreement with the labels beyond chance agreement; 0 is chance, 1 is perfect",
        lambda own: _finite(cohen_kappa_score(own.labels, own.predictions, labels=own.classes)),
    ),
    "mcc": Metric(
        "MCC",
        "Matthews' correlation coefficient of labels and predictions, over all classes; 0 is chance, 1 is perfect",
        lambda own: float(matthews_corrcoef(own.labels, own.predictions)),
    ),
    "auroc": Metric(
        "AUROC",
        "the probability that a clip of a class gets a higher probability for it than a clip of another class, mean "
        "over classes (one versus rest); 0.5 is chance",
        lambda own: _auroc(own.labels, own.probabilities),
        needs="probabilities",
    ),
    "log_loss": Metric(
        "log loss",
        "mean negative natural logarithm of the probability of the true class; lower is better",
        lambda own: float(log_loss(own.labels, clipped(own.probabilities), labels=own.classes)),
        higher_is_better=False,
        needs="probabilities",
    ),
    "brier": Metric(
        "Brier score",
        "mean over clips of the squared error of all probabilities (0 to 2); lower is better",
        lambda own: float(squared_errors(own.labels, own.probabilities).mean()),
        higher_is_better=False,
        needs="probabilities",
    ),
    "ece": Metric(
        "ECE",
        "expected calibration error: the difference between accuracy and predicted probability, mean over 15 equal "
        "bins of the probability; lower is better",
        lambda own: calibration_error(reliability(own.labels, own.probabilities)),
        higher_is_better=False,
        needs="probabilities",
    ),
    "kl": Metric(
        "KL divergence",
        "Kullback-Leibler divergence (nats) of the predicted probabilities from the shares of the raters' votes, mean "
        "over rated clips; lower is better",
        lambda own: float(own.soft[0].mean()) if own.soft.size else None,
        higher_is_better=False,
        needs="votes",
    ),
    "cosine": Metric(
        "cosine similarity",
        "cosine of the predicted probabilities and the shares of the raters' votes, mean over rated clips; 1 is equal",
        lambda own: float(own.soft[1].mean()) if own.soft.size else None,
        needs="votes",
    ),
}
DEFINITIONS = {key: metric.definition for key, metric in METRICS.items()}
NAMES = {key: metric.name for key, metric in METRICS.items()}
# The metrics that small tables show.
HEADLINE = ("uar", "wa", "macro_f1", "weighted_f1")


def softmax(logits: np.ndarray) -> np.ndarray:
    """(clips, classes) logits -> probabilities, float32."""
    return scipy.special.softmax(logits.astype(np.float64), axis=1).astype(np.float32)


def classification_metrics(labels: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of predicted class ids.

    UAR and macro-F1 are means over the classes that occur in `labels`; a class that is never predicted counts as zero.
    """
    present = sorted(set(np.asarray(labels).tolist()))
    # One call for all of them: scikit-learn spends most of its time on input checks.
    _, recall, f1, support = precision_recall_fscore_support(labels, predictions, labels=present, zero_division=0)
    return {
        "uar": float(recall.mean()),
        "wa": float(accuracy_score(labels, predictions)),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
    }


def all_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    votes: np.ndarray | None = None,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, float | None]:
    """The metrics of `METRICS`; None where one is undefined, such as AUROC for clips of one class.

    Args:
        labels: class ids, (clips,).
        probabilities: (clips, classes), each row a distribution.
        votes: shares of the raters' votes, (clips, classes), nan for clips without; adds KL divergence and cosine.
        names: compute only these.
    """
    outputs = Outputs(np.asarray(labels), np.asarray(probabilities), votes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant predictions; an undefined metric is None here
        return {
            name: METRICS[name].compute(outputs)
            for name in names
            if METRICS[name].needs != "votes" or votes is not None
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _top_two(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """None for two classes, of which the two most probable are all."""
    classes = probabilities.shape[1]
    if classes < 3:
        return None
    return float(top_k_accuracy_score(labels, probabilities, k=2, labels=range(classes)))


def _auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Over the classes that occur; None where only one does."""
    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(roc_auc_score(labels[:, None] == present, probabilities[:, present]))


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Float64 rows that sum to 1, none of them below `LEAST`."""
    raised = np.clip(probabilities.astype(np.float64), LEAST, 1)
    return raised / raised.sum(axis=1, keepdims=True)


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Brier (1950): of each clip, summed over classes, (clips,)."""
    return ((probabilities.astype(np.float64) - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)


def confidence_bins(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each clip the probability of its most probable class, and the bin, 0 to `BINS` - 1, that it falls into; a
    probability on a bound belongs to the lower bin, as in Guo et al. (2017)."""
    top = probabilities.max(axis=1).astype(np.float64)
    return top, np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """The reliability diagram (Guo et al., 2017): of each bin of confidence its bounds, clips, their mean confidence
    and the share of right answers; None for both in an empty one."""
    top, bins = confidence_bins(probabilities)
    right = probabilities.argmax(axis=1) == labels
    found = []
    for i in range(BINS):
        own = bins == i
        clips = int(own.sum())
        found.append(
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "clips": clips,
                "confidence": float(top[own].mean()) if clips else None,
                "accuracy": float(right[own].mean()) if clips else None,
            }
        )
    return found


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """ECE of a reliability diagram: the mean gap of its bins, weighted by their clips."""
    filled = [own for own in bins if own["clips"]]
    gaps = [own["clips"] * abs(own["accuracy"] - own["confidence"]) for own in filled]
    return sum(gaps) / sum(own["clips"] for own in filled)


def soft_scores(probabilities: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """KL divergence (nats) and cosine of each clip, (clips,), nan for clips that nobody rated."""
    answered, rated = clipped(probabilities), votes.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(rated > 0, rated * (np.log(rated) - np.log(answered)), 0)
    lengths = np.linalg.norm(rated, axis=1) * np.linalg.norm(answered, axis=1)
    divergence = np.where(np.isnan(rated).any(axis=1), np.nan, terms.sum(axis=1))
    return divergence, (rated * answered).sum(axis=1) / lengths


def per_class(labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support (clips) of each class."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(names, precision, recall, f1, support, strict=True)
    }


def confusion(labels: Sequence[int], predictions: Sequence[int], classes: int) -> list[list[int]]:
    """Counts, one row a true class, one column a predicted one."""
    return confusion_matrix(labels, predictions, labels=range(classes)).tolist()


def trainer_metrics(prediction) -> dict[str, float]:
    """The Trainer's `compute_metrics`: from an `EvalPrediction` of logits (clips, classes)."""
    logits = np.asarray(prediction.predictions)
    return classification_metrics(prediction.label_ids, logits.argmax(axis=1), logits.shape[1])


def load_metric(name: str) -> evaluate.Metric:
    """The metric with this key of `ser_hf.evaluation.metrics.METRICS`.

    Raises:
        UserError: for an unknown key, with the known ones.
    """
    if name not in METRICS:
        raise UserError(f"metric: there is no {name!r}; there are {', '.join(METRICS)}")
    return EmotionMetric(config_name=name)


class EmotionMetric(evaluate.Metric):
    """The metric with the key `config_name`. `compute` returns {key: value}; None if it is undefined."""

    def _info(self) -> evaluate.MetricInfo:
        metric = METRICS[self.config_name]
        scores = datasets.Sequence(datasets.Value("float32"))
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        if metric.needs == "probabilities":
            features = {"prediction_scores": scores, "references": datasets.Value("int64")}
        if metric.needs == "votes":
            features = {"prediction_scores": scores, "references": scores}
        return evaluate.MetricInfo(
            module_name=f"ser_hf_{self.config_name}",
            description=f"{metric.name}: {metric.definition}.",
            citation="",
            inputs_description="references: class ids, for soft labels the raters' shares of each class; predictions: "
            "class ids, or prediction_scores: a probability of each class.",
            features=datasets.Features(features),
        )

    def _compute(self, references: Any, predictions: Any = None, prediction_scores: Any = None) -> dict[str, Any]:
        if not len(references):
            raise UserError(f"{self.config_name}: no clips to measure it on")
        votes = None
        if METRICS[self.config_name].needs == "votes":
            votes = np.asarray(references, np.float32)
            references = votes.argmax(axis=1)
        references = np.asarray(references)
        if references.min() < 0:
            raise UserError(f"{self.config_name}: class {references.min()} among the references; ids begin with 0")
        if prediction_scores is None:
            predictions = np.asarray(predictions)
            if predictions.min() < 0:
                raise UserError(
                    f"{self.config_name}: class {predictions.min()} among the predictions; ids begin with 0"
                )
            prediction_scores = np.eye(max(references.max(), predictions.max()) + 1)[predictions]
        scores = np.asarray(prediction_scores, np.float32)
        # Half precision rounds the shares of many classes off by some thousandths.
        if not (np.abs(scores.sum(axis=1) - 1) < 0.01).all() or scores.min() < 0:
            raise UserError(
                f"{self.config_name}: prediction_scores are to be probabilities, each row of sum 1; of logits give "
                "their softmax"
            )
        if self.config_name == "log_loss" and scores.shape[1] < 2:
            raise UserError("log_loss: expected probabilities of 2 classes or more, got those of 1")
        if references.max() >= scores.shape[1]:
            raise UserError(
                f"{self.config_name}: class {references.max()} among the references, but probabilities of "
                f"{scores.shape[1]} classes only"
            )
        return {self.config_name: all_metrics(references, scores, votes, [self.config_name])[self.config_name]}
