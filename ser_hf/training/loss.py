"""Losses for classes, sets of classes and dimensions.

They are exact with gradient accumulation and several processes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from ..utils.errors import UserError

_CLASS_WEIGHTS = "training.loss.class_weights"


def class_weights(
    kind: Literal["balanced"] | Mapping[str, float], labels: Sequence[int], names: Sequence[str]
) -> list[float]:
    """The weight of each class, in the order of ids; the mean over the training clips is one.

    A class without training clips gets the weight of the rarest present class.

    Args:
        kind: ``balanced`` (inverse frequency), or weights by label, up to scale.
        labels: ids of the training clips (the majority class of soft labels).

    Raises:
        UserError: for missing or unknown labels, or if every present class weighs 0.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(names))
    if kind == "balanced":
        weights = 1 / np.where(counts > 0, counts, counts[counts > 0].min())
    else:
        _require_weights(kind, names)
        weights = np.asarray([kind[name] for name in names], dtype=float)
    mean = (weights * counts).sum() / counts.sum()
    if mean <= 0:
        raise UserError(
            f"{_CLASS_WEIGHTS}: every class with training clips weighs 0; use a weight above 0"
        )
    return (weights / mean).tolist()


def class_ids(labels: torch.Tensor) -> torch.Tensor:
    """Convert labels to class ids (batch,): the first class with the largest share."""
    return labels if labels.dim() == 1 else labels.argmax(dim=1)


class ClassificationLoss:
    """All classification losses of a recipe; the Trainer's `compute_loss_func`.

    The label of a clip is a distribution t over classes c, smoothed to (1 - e) t + e / classes. Its
    term is

        sum over c of  w_c * t_c * (1 - p_c) ** gamma * -log p_c

    with p the softmax of the logits. The sum is divided by the clips of the whole optimizer step,
    over all accumulated micro-batches and processes (`num_items_in_batch`), so that (8, 1), (2, 4)
    and two processes give the same gradient. The heads of transformers take the mean of each
    micro-batch instead (transformers issue 47688).

    Args:
        class_weights: w, from `class_weights`, with a mean of one over the training clips.
        label_smoothing: e in [0, 1] (Szegedy et al. 2016, arXiv:1512.00567).
        focal_gamma: gamma (Lin et al. 2017, arXiv:1708.02002).
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ):
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = torch.tensor(class_weights, dtype=torch.float32)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], names: Sequence[str], labels: Sequence[int]
    ) -> "ClassificationLoss":
        """The loss of these options, with class weights from the `labels` of the training clips.

        Args:
            options: `class_weights`, `label_smoothing` and `focal_gamma`.
            names: of the labels.
        """
        weights = None
        if options["class_weights"]:
            weights = class_weights(options["class_weights"], labels, names)
        return cls(weights, options["label_smoothing"], options["focal_gamma"])

    def __call__(
        self,
        outputs: Mapping,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss, a scalar in float32.

        Args:
            outputs: `logits` (batch, classes).
            labels: class ids (batch,), or shares (batch, classes).
            num_items_in_batch: entries of `labels` in the whole step, by default those of this
                batch.
        """
        logits = outputs["logits"].float()
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        clips = items / logits.shape[1] if labels.dim() == 2 else items
        return self._terms(logits, labels).sum() / clips

    def _terms(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The term of each class in the loss of each clip, (batch, classes)."""
        if labels.dim() == 1:
            # `scatter` raises for a class id that does not exist.
            targets = torch.zeros_like(logits).scatter(1, labels[:, None], 1.0)
        else:
            targets = labels.float()
        targets = (1 - self.label_smoothing) * targets + self.label_smoothing / logits.shape[1]
        cross_entropies = -logits.log_softmax(dim=1)
        terms = targets * cross_entropies
        if self.focal_gamma:
            # This is 1 - p without cancellation. It is kept above zero, because a power below one
            # has no finite gradient at zero.
            remaining = (-(-cross_entropies).expm1()).clamp(min=torch.finfo(torch.float32).tiny)
            terms = terms * remaining**self.focal_gamma
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(logits.device)
            terms = terms * self.class_weights
        return terms


class MultiLabelLoss:
    """The loss of sets of classes; the Trainer's `compute_loss_func`.

    Each class is decided by itself. With the target t (0 or 1, in mixtures between them), smoothed
    to (1 - e) t + e / 2, and the sigmoid p of the logit, the term of a class is

        -(w t (1 - p) ** gamma log p + (1 - t) p ** gamma log(1 - p))

    The sum over classes is divided by their number and by the clips of the whole optimizer step, as
    in `ClassificationLoss`.

    Args:
        positive_weights: w of each class; with `balanced` the number of clips without the class,
            divided by the number of clips with it.
        label_smoothing: e in [0, 1].
        focal_gamma: gamma (Lin et al. 2017, arXiv:1708.02002).
    """

    def __init__(
        self,
        positive_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ):
        self.positive_weights = None
        if positive_weights is not None:
            self.positive_weights = torch.tensor(positive_weights, dtype=torch.float32)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], names: Sequence[str], labels: np.ndarray
    ) -> "MultiLabelLoss":
        """The loss of these options.

        Args:
            options: `class_weights`, `label_smoothing` and `focal_gamma`.
            names: of the classes.
            labels: the sets of the training clips, 0 or 1, (clips, classes).

        Raises:
            UserError: for missing or unknown labels, or if every class weighs 0.
        """
        weights = None
        if options["class_weights"]:
            weights = _positive_weights(options["class_weights"], labels, names)
        return cls(weights, options["label_smoothing"], options["focal_gamma"])

    def __call__(
        self,
        outputs: Mapping,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss, a scalar in float32; see `ClassificationLoss`.

        Args:
            outputs: `logits` (batch, classes).
            labels: sets of classes, 0 or 1, (batch, classes).
        """
        logits = outputs["logits"].float()
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        targets = (1 - self.label_smoothing) * labels.float() + self.label_smoothing / 2
        positive_terms = -targets * functional.logsigmoid(logits)
        negative_terms = -(1 - targets) * functional.logsigmoid(-logits)
        if self.focal_gamma:
            # A power below one has no finite gradient at zero.
            least = torch.finfo(torch.float32).tiny
            shares = logits.sigmoid()
            positive_terms = positive_terms * (1 - shares).clamp(min=least) ** self.focal_gamma
            negative_terms = negative_terms * shares.clamp(min=least) ** self.focal_gamma
        if self.positive_weights is not None:
            self.positive_weights = self.positive_weights.to(logits.device)
            positive_terms = positive_terms * self.positive_weights
        # The items are the clips times the classes.
        return (positive_terms + negative_terms).sum() / items


def _positive_weights(
    kind: Literal["balanced"] | Mapping[str, float], labels: np.ndarray, names: Sequence[str]
) -> list[float]:
    """The weight of the clips with each class, for `MultiLabelLoss`; 1 for a class without clips.

    Raises:
        UserError: for missing or unknown labels, or if every class weighs 0.
    """
    if kind == "balanced":
        positives = np.asarray(labels, dtype=float).sum(axis=0)
        ratios = (len(labels) - positives) / positives.clip(1)
        return np.where(positives > 0, ratios, 1.0).tolist()
    _require_weights(kind, names)
    if not any(kind.values()):
        raise UserError(f"{_CLASS_WEIGHTS}: every class weighs 0; use a weight above 0")
    return [float(kind[name]) for name in names]


def _require_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Raise a `UserError` unless there is a weight for each class, and for nothing else."""
    if weights.keys() != set(names):
        raise UserError(
            f"{_CLASS_WEIGHTS}: expected a weight for each of {', '.join(names)}, got "
            f"{', '.join(weights)}"
        )


class DimensionLoss:
    """The loss of predicted dimensions; the Trainer's `compute_loss_func`.

    The loss of a dimension is 1 - CCC (Lin 1989, Biometrics 45; as a loss: Trigeorgis et al. 2016),
    the mean squared error, or their sum. The loss is the weighted mean over dimensions. CCC is
    computed for each micro-batch and process, and weighted by its share of the clips of the
    optimizer step. CCC is not a mean over clips, so (8, 1) and (2, 4) give different gradients, and
    a batch of one clip gives none.

    Args:
        dimensions: ``ccc``, ``mse`` or ``ccc_mse``.
        weights: weight of each dimension, in the order of the logits; equal by default.
    """

    def __init__(
        self,
        dimensions: Literal["ccc", "mse", "ccc_mse"] = "ccc",
        weights: Sequence[float] | None = None,
    ):
        self.dimensions = dimensions
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], names: Sequence[str], labels: Sequence[int]
    ) -> "DimensionLoss":
        """The loss of these options, `dimensions` and `weights`, for dimensions of these names."""
        weights = [options["weights"].get(name, 1.0) for name in names]
        return cls(options["dimensions"], weights)

    def __call__(
        self,
        outputs: Mapping,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss, a scalar in float32; see `ClassificationLoss`.

        Args:
            outputs: `logits` (batch, dimensions).
            labels: targets (batch, dimensions).
        """
        values = outputs["logits"].float()
        targets = labels.float()
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        clips = items / labels.shape[1]
        terms = torch.zeros_like(values[0])
        if "ccc" in self.dimensions:
            terms = terms + 1 - ccc(values, targets)
        if "mse" in self.dimensions:
            terms = terms + (values - targets).square().mean(dim=0)
        weights = torch.ones_like(terms) if self.weights is None else self.weights.to(terms.device)
        return (weights * terms).sum() / weights.sum() * len(values) / clips


def ccc(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The concordance correlation coefficient (Lin 1989) of each column of (clips, dimensions).

    0 where nothing varies.
    """
    value_mean = values.mean(dim=0)
    target_mean = targets.mean(dim=0)
    covariance = ((values - value_mean) * (targets - target_mean)).mean(dim=0)
    variances = values.var(dim=0, correction=0) + targets.var(dim=0, correction=0)
    return 2 * covariance / (variances + (value_mean - target_mean).square() + 1e-8)


Loss = ClassificationLoss | MultiLabelLoss | DimensionLoss
LOSSES = {
    "classification": ClassificationLoss,
    "multi_label": MultiLabelLoss,
    "dimensions": DimensionLoss,
}
