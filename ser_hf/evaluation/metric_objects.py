"""The metrics as `evaluate.Metric` objects, for code that speaks that interface; they load without a network.

    metric = load_metric("uar")
    metric.add_batch(predictions=[0, 1, 1], references=[0, 1, 0])
    metric.compute()                                  # {"uar": 0.75}

Those of predicted class ids take `predictions`, those of probabilities (top-2 accuracy, AUROC, log loss, Brier score,
ECE) `prediction_scores` of shape (clips, classes). They work with `evaluate.combine` and `evaluate.evaluator` too.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from ..errors import UserError
from .metrics import DEFINITIONS, NAMES, all_metrics

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
