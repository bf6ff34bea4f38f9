"""The metrics as `evaluate.Metric` objects, for `evaluate.combine` and training loops of one's own."""

from typing import Any

import datasets
import evaluate
import numpy as np

from ..utils.errors import UserError
from .metrics import METRICS, all_metrics


def load_metric(name: str) -> evaluate.Metric:
    """Load one metric as an `evaluate.Metric`.

    Its `compute` takes `references`, class ids (clips,), the shares of the raters' votes (clips,
    classes) or targets (clips, dimensions), and `predictions`, class ids, or `prediction_scores`,
    probabilities (clips, classes) or values (clips, dimensions), as the metric needs. Example:
    `ser_hf.load_metric("uar").compute(references=[0, 1], predictions=[0, 0])`

    Args:
        name: its key in reports, such as ``"uar"``.

    Returns:
        The metric; `compute` returns {name: value}.

    Raises:
        UserError: for an unknown name, and from `compute` for impossible ids or probabilities.
    """
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}; choose one of {', '.join(METRICS)}")
    return EmotionMetric(config_name=name)


class EmotionMetric(evaluate.Metric):
    """The metric with the key `config_name`."""

    def _info(self) -> evaluate.MetricInfo:
        metric = METRICS[self.config_name]
        ids = datasets.Value("int64")
        shares = datasets.Sequence(datasets.Value("float32"))
        given = (
            {"predictions": ids} if metric.needs == "predictions" else {"prediction_scores": shares}
        )
        return evaluate.MetricInfo(
            module_name=f"ser_hf_{self.config_name}",
            description=f"{metric.name}: {metric.definition}.",
            citation="",
            inputs_description=load_metric.__doc__,
            features=datasets.Features(
                given | {"references": shares if metric.needs in ("votes", "values") else ids}
            ),
        )

    def _compute(
        self, references: Any, predictions: Any = None, prediction_scores: Any = None
    ) -> dict[str, Any]:
        name = self.config_name
        votes = None
        labels = np.asarray(references)
        if not len(labels):
            raise UserError(f"{name}: no clips to measure")
        if METRICS[name].needs == "values":
            return {name: all_metrics(labels, np.asarray(prediction_scores), names=[name])[name]}
        if METRICS[name].needs == "votes":
            votes = labels.astype(np.float32)
            labels = labels.argmax(axis=1)
        ids = labels if predictions is None else np.concatenate([labels, predictions])
        if ids.min() < 0:
            raise UserError(f"{name}: expected class ids of 0 or more, got {ids.min()}")
        scores = (
            np.eye(ids.max() + 1)[predictions]
            if predictions is not None
            else np.asarray(prediction_scores)
        )
        # Half precision rounds the shares of many classes by some thousandths.
        if scores.min() < 0 or not (np.abs(scores.sum(axis=1) - 1) < 0.01).all():
            raise UserError(
                f"{name}: expected probabilities, each row with the sum 1; apply softmax to logits"
            )
        if labels.max() >= scores.shape[1]:
            raise UserError(
                f"{name}: class {labels.max()} has no probability; there are {scores.shape[1]} classes"
            )
        return {name: all_metrics(labels, scores.astype(np.float32), votes, [name])[name]}
