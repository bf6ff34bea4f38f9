"""Metrics of a classifier, through scikit-learn, each under the name that the field uses."""

import warnings
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
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

# What stands first in every table, and what tables have room for.
HEADLINE = ("uar", "wa", "macro_f1", "weighted_f1")
# Shown beside the figures wherever they stand, because papers swap them.
DEFINITIONS = {
    "uar": "unweighted average recall: the mean over classes of the share of each class's clips that is recognised",
    "wa": "weighted accuracy: the share of all clips that is recognised (plain accuracy)",
    "macro_f1": "the mean over classes of the harmonic mean of precision and recall",
    "weighted_f1": "the same, each class weighted by its number of clips",
    "micro_f1": "F1 of all decisions taken together; with one label a clip it equals WA",
    "top2_accuracy": "the share of clips whose label is one of the two most probable classes",
    "kappa": "Cohen's kappa: agreement with the labels beyond what as many guesses of each class would reach; 0 is "
    "chance, 1 all right",
    "mcc": "Matthews' correlation coefficient of labels and answers, over all classes; 0 is chance, 1 all right",
    "auroc": "the chance that a clip of a class gets a higher probability of it than a clip of another, mean over "
    "classes (one against the rest); 0.5 is chance",
    "log_loss": "mean negative logarithm (natural) of the probability that the true class was given; lower is better",
    "brier": "mean over clips of the squared error of all probabilities (0 to 2); lower is better",
    "ece": "expected calibration error: how far the share of right answers is from the probability that they were "
    "given, over 15 equal bins of it; lower is better",
    "kl": "Kullback-Leibler divergence (nats) of the answered probabilities from the raters' shares, mean over clips "
    "that were rated; lower is better",
    "cosine": "cosine of answered probabilities and raters' shares, mean over clips that were rated; 1 is the same",
}
NAMES = {
    "uar": "UAR",
    "wa": "WA",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro-F1",
    "top2_accuracy": "top-2 accuracy",
    "kappa": "Cohen's kappa",
    "mcc": "MCC",
    "auroc": "AUROC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "kl": "KL divergence",
    "cosine": "cosine similarity",
}
LOWER_IS_BETTER = ("log_loss", "brier", "ece", "kl")
BINS = 15
# Single precision knows no smaller step below 1; a probability of 0 would make the log loss infinite.
LEAST = float(np.finfo(np.float32).eps)


def classification_metrics(labels: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """UAR, WA, macro-F1 and weighted F1 of predicted class ids.

    UAR and macro-F1 run over the classes that occur in `labels`; a class that is never predicted counts as zero.
    """
    present = sorted(set(np.asarray(labels).tolist()))
    # Once for all of them: most of what scikit-learn does is to look at its input, and slices ask for each speaker.
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
    names: Sequence[str] = tuple(DEFINITIONS),
) -> dict[str, float | None]:
    """Every metric of `DEFINITIONS` that these answers have; None for one that the clips leave undefined, such as the
    AUROC where there is one class only.

    Args:
        labels: class ids, (clips,).
        probabilities: (clips, classes), each row a distribution.
        votes: raters' shares, (clips, classes), nan where nobody rated; adds KL divergence and cosine.
        names: measure these alone.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    classes = probabilities.shape[1]
    predictions = probabilities.argmax(axis=1)
    everyone = range(classes)
    found: dict[str, float | None] = {}
    if not {*HEADLINE}.isdisjoint(names):
        found |= classification_metrics(labels, predictions, classes)
    others = {
        "micro_f1": lambda: float(f1_score(labels, predictions, labels=everyone, average="micro", zero_division=0)),
        "top2_accuracy": lambda: _top_two(labels, probabilities),
        "kappa": lambda: _finite(cohen_kappa_score(labels, predictions, labels=everyone)),
        "mcc": lambda: float(matthews_corrcoef(labels, predictions)),
        "auroc": lambda: _auroc(labels, probabilities),
        "log_loss": lambda: float(log_loss(labels, clipped(probabilities), labels=everyone)),
        "brier": lambda: float(squared_errors(labels, probabilities).mean()),
        "ece": lambda: calibration_error(reliability(labels, probabilities)),
    }
    with warnings.catch_warnings():
        # Of constant answers; what is undefined is None here.
        warnings.simplefilter("ignore")
        found |= {name: measured() for name, measured in others.items() if name in names}
    if votes is not None:
        divergence, cosine = soft_scores(probabilities, votes)
        rated = np.isfinite(divergence)
        found["kl"] = float(divergence[rated].mean()) if rated.any() else None
        found["cosine"] = float(cosine[rated].mean()) if rated.any() else None
    return {name: value for name, value in found.items() if name in names}


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


OF_SCORES = ("top2_accuracy", "auroc", "log_loss", "brier", "ece")
OF_VOTES = ("kl", "cosine")


def load_metric(name: str) -> evaluate.Metric:
    """The metric of that name, one of `ser_hf.evaluation.metrics.DEFINITIONS`.

    Raises:
        UserError: naming those that there are.
    """
    if name not in DEFINITIONS:
        raise UserError(f"metric: there is no {name!r}; there are {', '.join(DEFINITIONS)}")
    return EmotionMetric(config_name=name)


class EmotionMetric(evaluate.Metric):
    """One metric, which its `config_name` names. `compute` gives {name: value}, None for what is undefined."""

    def _info(self) -> evaluate.MetricInfo:
        name = self.config_name
        scores = datasets.Sequence(datasets.Value("float32"))
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        if name in OF_SCORES:
            features = {"prediction_scores": scores, "references": datasets.Value("int64")}
        if name in OF_VOTES:
            features = {"prediction_scores": scores, "references": scores}
        return evaluate.MetricInfo(
            module_name=f"ser_hf_{name}",
            description=f"{NAMES[name]}: {DEFINITIONS[name]}.",
            citation="",
            inputs_description="references: class ids, for soft labels the raters' shares of each class; predictions: "
            "class ids, or prediction_scores: a probability of each class.",
            features=datasets.Features(features),
        )

    def _compute(self, references: Any, predictions: Any = None, prediction_scores: Any = None) -> dict[str, Any]:
        if not len(references):
            raise UserError(f"{self.config_name}: no clips to measure it on")
        votes = None
        if self.config_name in OF_VOTES:
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
