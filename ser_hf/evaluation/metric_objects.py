"""The metrics as objects of `evaluate`.

Training, evaluation and comparison compute every metric by `evaluate.combine` of these objects. A
user's training loop that uses these objects therefore computes the same values as the report. The
classes are in this package, so nothing is loaded by name or from the network. They work in memory,
without the files and locks that `evaluate` keeps in a cache, so any number of processes may use
them at once.

The bootstrap does not use them: it computes a metric for thousands of resamples in one matrix
product (`ser_hf.evaluation.metrics.compute`), from the same entry of `METRICS`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from ..utils.errors import UserError
from .metrics import METRICS, AnyOutputs, measurable, outputs_of
from .outputs import Outputs
from .tasks import MULTI_LABEL


def load_metric(name: str) -> evaluate.Metric:
    """Load one metric as an `evaluate.Metric`.

    Its `compute` takes two arrays; the metric determines which.

    - `references`: class ids, (clips,), the shares of the raters' votes, (clips, classes), sets of
      classes, 0 or 1, (clips, classes), or targets, (clips, dimensions);
    - `predictions`: class ids, (clips,); or `prediction_scores`: probabilities, (clips, classes),
      or predicted values, (clips, dimensions).

    Example: `ser_hf.load_metric("uar").compute(references=[0, 1], predictions=[0, 0])`

    Args:
        name: key of the metric in reports, such as ``"uar"``.

    Returns:
        The metric; `compute` returns {name: value}.

    Raises:
        UserError: for an unknown name, and from `compute` for impossible ids or probabilities.
    """
    if name not in METRICS:
        raise UserError(f"unknown metric {name!r}; choose one of {', '.join(METRICS)}")
    return EmotionMetric(name)


@functools.cache
def combined(names: tuple[str, ...]) -> evaluate.CombinedEvaluations:
    """Several metrics as one object, whose `compute(outputs=...)` returns {name: value}."""
    return evaluate.combine([load_metric(name) for name in names])


class EmotionMetric(evaluate.Metric):
    """One metric of `METRICS`."""

    def __init__(self, name: str):
        super().__init__(config_name=name, keep_in_memory=True)

    def _build_data_dir(self) -> str:
        """Return no folder, because `evaluate` would create a folder in the user's cache."""
        return ""

    def _info(self) -> evaluate.MetricInfo:
        metric = METRICS[self.config_name]
        ids = datasets.Value("int64")
        shares = datasets.Sequence(datasets.Value("float32"))
        only_of_sets = _only_of_sets(self.config_name)
        features = {"prediction_scores": shares}
        if metric.needs == "predictions" and not only_of_sets:
            features = {"predictions": ids}
        has_matrix = only_of_sets or metric.needs in ("votes", "values")
        features["references"] = shares if has_matrix else ids
        return evaluate.MetricInfo(
            module_name=f"ser_hf_{self.config_name}",
            description=f"{metric.name}: {metric.definition}.",
            citation="",
            inputs_description=load_metric.__doc__,
            features=datasets.Features(features),
        )

    def compute(
        self,
        *,
        predictions: Any = None,
        references: Any = None,
        outputs: AnyOutputs | None = None,
        **inputs: Any,
    ) -> dict[str, float | None]:
        """Compute the metric of the given clips, or of the clips that `add` and `add_batch` added.

        Args:
            outputs: all inputs in one object. Several metrics of the same object share their
                counts.
        """
        if outputs is not None:
            return {self.config_name: self._of(outputs)}
        inputs |= {"predictions": predictions, "references": references}
        features = self._feature_names()
        if len(self) or any(inputs.get(name) is None for name in features):
            return evaluate.Metric.compute(self, **inputs)
        # Compute directly: `evaluate` would write the inputs to an Arrow table and read them back.
        return self._compute(**{name: inputs[name] for name in features})

    def _of(self, outputs: AnyOutputs) -> float | None:
        """The value over all clips; None where it is undefined, such as AUROC with one class."""
        with np.errstate(divide="ignore", invalid="ignore"):
            (value,) = METRICS[self.config_name].compute(outputs.unweighted)
        return float(value) if np.isfinite(value) else None

    def _compute(
        self, references: Any, predictions: Any = None, prediction_scores: Any = None, **others: Any
    ) -> dict[str, float | None]:
        """Compute the metric; `others` are inputs that only other combined metrics use."""
        name = self.config_name
        needs = METRICS[name].needs
        labels = np.asarray(references)
        if not len(labels):
            raise UserError(f"{name}: no clips to measure")
        if needs == "values":
            return {name: self._of(outputs_of(labels, np.asarray(prediction_scores)))}
        if _only_of_sets(name):
            return {name: self._of(outputs_of(labels > 0.5, np.asarray(prediction_scores)))}
        votes = None
        if needs == "votes":
            votes = labels.astype(np.float32)
            labels = labels.argmax(axis=1)
        if needs == "predictions":
            predictions = np.asarray(predictions)
            ids = np.concatenate([labels, predictions])
            self._require_ids(ids)
            return {name: self._of(Outputs(labels, predictions, classes=int(ids.max()) + 1))}
        self._require_ids(labels)
        shares = np.asarray(prediction_scores)
        self._require_probabilities(labels, shares)
        return {name: self._of(outputs_of(labels, shares.astype(np.float32), votes))}

    def _require_ids(self, ids: np.ndarray) -> None:
        if ids.min() < 0:
            raise UserError(f"{self.config_name}: expected class ids of 0 or more, got {ids.min()}")

    def _require_probabilities(self, labels: np.ndarray, shares: np.ndarray) -> None:
        # Half precision rounds the shares of many classes by some thousandths.
        if shares.min() < 0 or not (np.abs(shares.sum(axis=1) - 1) < 0.01).all():
            raise UserError(
                f"{self.config_name}: expected probabilities, each row with the sum 1; apply "
                "softmax to logits"
            )
        if labels.max() >= shares.shape[1]:
            raise UserError(
                f"{self.config_name}: class {labels.max()} has no probability; there are "
                f"{shares.shape[1]} classes"
            )


def _only_of_sets(name: str) -> bool:
    """Whether a metric needs sets of classes (multi-label), not one class for each clip."""
    return METRICS[name].tasks == (MULTI_LABEL.name,)


def measure_outputs(outputs: AnyOutputs, names: Sequence[str]) -> dict[str, float | None]:
    """Compute metrics over all clips: {metric: value}.

    Metrics that need an absent field of the outputs have no entry.
    """
    return combined(tuple(measurable(outputs, names))).compute(outputs=outputs)
