"""Classification losses, correct under gradient accumulation and with several processes."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils.hooks import RemovableHandle

from ..utils.errors import UserError


class SupervisedContrastive:
    """Supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362, L_out).

    With embeddings z of length one, temperature T, positives P(i) (other clips of the class of clip i) and A(i) (all
    other clips), the loss is the sum over all anchors i with a positive of

        -1 / |P(i)| * sum over p in P(i) of log(exp(z_i z_p / T) / sum over a in A(i) of exp(z_i z_a / T))

    The embedding is the input of the model's classifier, without a projection, and each clip has one view. Clips are
    compared within one micro-batch of one process, so accumulation and several processes change this loss.
    """

    def __init__(self, weight: float, temperature: float = 0.1):
        self.weight = weight
        self.temperature = temperature
        self._embeddings: torch.Tensor | None = None

    def listen(self, classifier: nn.Module) -> RemovableHandle:
        """Records the first input of `classifier`, (batch, size), in each forward pass with gradients.

        The module may be wrapped or compiled later. Remove the returned handle after training.
        """

        # Not a method: a copy of the module would then refer to a copy of this object.
        def record(module: nn.Module, inputs: tuple) -> None:
            self._embeddings = inputs[0] if torch.is_grad_enabled() else None

        return classifier.register_forward_pre_hook(record)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """The weighted loss of the last forward pass, a scalar; the pass is then forgotten.

        Args:
            ids: (batch,) class ids; clips at -100 are ignored.

        Raises:
            UserError: if the recorded input is not one vector per clip.
        """
        embeddings, self._embeddings = self._embeddings, None
        if embeddings is None:
            raise RuntimeError("the contrastive loss has no embeddings; call listen(model.classifier) first")
        if embeddings.dim() != 2 or len(embeddings) != len(ids):
            raise UserError(
                f"training.loss.contrastive_weight: the classifier was given {tuple(embeddings.shape)} for {len(ids)} "
                "clips, not one vector for each; use 0 with this model, and torchrun for several GPUs"
            )
        return self.weight * supervised_contrastive(embeddings, ids, self.temperature)


def supervised_contrastive(embeddings: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss of `embeddings` (batch, size), of any length, and class ids (batch,), -100 for ignored clips."""
    with torch.autocast(embeddings.device.type, enabled=False):
        directions = normalize(embeddings.float(), dim=1)
        similarity = directions @ directions.T / temperature
    others = (ids != -100) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    positives = others & (ids == ids[:, None])
    # The least number and not infinity: a clip without others would pass NaN backwards.
    rest = similarity.masked_fill(~others, torch.finfo(similarity.dtype).min).logsumexp(dim=1, keepdim=True)
    log_shares = torch.where(positives, similarity - rest, 0.0).sum(dim=1)
    return -(log_shares / positives.sum(dim=1).clamp(min=1)).sum()


def class_weights(
    kind: Literal["balanced", "effective_number"] | Mapping[str, float],
    labels: Sequence[int],
    names: Sequence[str],
    beta: float = 0.999,
) -> list[float]:
    """Weight of each class, in the order of the ids, with a mean of one over the training clips.

    A class without training clips gets the weight of the rarest present class.

    Args:
        kind: ``balanced`` (inverse frequency), ``effective_number``, (1 - beta) / (1 - beta ** clips) (Cui et al.
            2019, arXiv:1901.05555), or weights by label, up to scale.
        labels: ids of the training clips (the majority class of soft labels).
        names: label of each id.
        beta: 0 gives equal weights; towards 1 it approaches ``balanced``.

    Raises:
        UserError: for missing or unknown labels, and values out of range.
    """
    counts = _counts(labels, len(names))
    if isinstance(kind, str):
        # The smallest count of a present class stands in for none.
        present = np.where(counts > 0, counts, counts[counts > 0].min()).astype(float)
        if kind == "balanced":
            weights = 1 / present
        elif kind == "effective_number":
            if not 0 <= beta < 1:
                raise UserError(f"training.loss.effective_number_beta: {beta} is not in [0, 1); 0.999 is usual")
            weights = (1 - beta) / (1 - beta**present)
        else:
            raise UserError(
                f"training.loss.class_weights: {kind!r}; use balanced, effective_number or weights by label"
            )
    else:
        weights = _given(kind, names)
    mean = (weights * counts).sum() / counts.sum()
    if mean <= 0:
        present = ", ".join(name for name, count in zip(names, counts, strict=True) if count)
        raise UserError(f"training.loss.class_weights: every class with training clips weighs 0 ({present})")
    return (weights / mean).tolist()


def log_priors(labels: Sequence[int], classes: int) -> list[float]:
    """Logarithm of each class's share of the training clips; a class without clips counts as one clip."""
    counts = np.maximum(_counts(labels, classes), 1)
    return np.log(counts / counts.sum()).tolist()


def class_ids(labels: torch.Tensor) -> torch.Tensor:
    """Hard labels (batch,): as they are, or the class with the greatest share (the first of equals); -100 stays."""
    if labels.dim() == 1:
        return labels
    return torch.where((labels == -100).all(dim=1), -100, labels.argmax(dim=1))


class ClassificationLoss:
    """All classification losses of a recipe; the Trainer's `compute_loss_func`.

    The label of a clip is a distribution t over classes c, smoothed to (1 - e) t + e / classes. Its term is

        sum over c of  w_c * t_c * (1 - p_c) ** gamma * -log p_c

    with p the softmax of the logits, plus tau times the log priors for logit adjustment. In training the contrastive
    loss is added. The sum is divided by the clips of the whole optimizer step, over all accumulated micro-batches and
    processes (`num_items_in_batch`), so that (8, 1), (2, 4) and two processes give the same gradient. The heads of
    transformers take the mean of each micro-batch instead (transformers issue 47688).

    Args:
        class_weights: w, from `class_weights`, with a mean of one over the training clips.
        label_smoothing: e in [0, 1] (Szegedy et al. 2016, arXiv:1512.00567).
        focal_gamma: gamma (Lin et al. 2017, arXiv:1708.02002).
        logit_adjustment: tau (Menon et al. 2021, arXiv:2007.07314).
        log_priors: from `log_priors`, for logit adjustment.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        logit_adjustment: float = 0.0,
        log_priors: Sequence[float] | None = None,
        contrastive: SupervisedContrastive | None = None,
    ):
        if logit_adjustment and log_priors is None:
            raise ValueError("logits are adjusted by log_priors, which are not given")
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        shift = [logit_adjustment * prior for prior in log_priors] if logit_adjustment else None
        self.shift = None if shift is None else torch.tensor(shift, dtype=torch.float32)
        self.contrastive = contrastive

    def __call__(
        self, outputs: Mapping, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """The loss, a scalar in float32.

        Args:
            outputs: `logits` (batch, classes).
            labels: (batch,) class ids, or (batch, classes) shares that sum to one. A clip at -100 is ignored.
            num_items_in_batch: entries of `labels` other than -100 in the whole step, as the Trainer counts them. By
                default the clips of this batch.
        """
        logits = outputs["logits"].float()
        ids = class_ids(labels)
        total = self._terms(logits, labels, ids).sum()
        if self.contrastive is not None and logits.requires_grad:
            total = total + self.contrastive(ids)
        if num_items_in_batch is None:
            clips = (ids != -100).sum()
        else:
            clips = torch.as_tensor(num_items_in_batch) / (logits.shape[1] if labels.dim() == 2 else 1)
        return total / clips.clamp(min=1)

    def _terms(self, logits: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """(batch, classes): what each class adds to the loss."""
        counted = (ids != -100)[:, None]
        if labels.dim() == 1:
            # Scattered rather than compared: an id that does not exist is an error, not a clip without a label.
            known = torch.where(ids == -100, 0, ids)
            targets = torch.zeros_like(logits).scatter(1, known[:, None], 1.0)
        else:
            targets = labels.float()
        targets = (1 - self.label_smoothing) * targets + self.label_smoothing / logits.shape[1]
        targets = torch.where(counted, targets, 0.0)
        if self.shift is not None:
            self.shift = self.shift.to(logits.device)
            logits = logits + self.shift
        surprise = -logits.log_softmax(dim=1)
        terms = targets * surprise
        if self.focal_gamma:
            # 1 - p without cancellation. A power below one has no slope at zero, so there the factor is held.
            remaining = (-(-surprise).expm1()).clamp(min=torch.finfo(torch.float32).tiny)
            terms = terms * remaining**self.focal_gamma
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(logits.device)
            terms = terms * self.class_weights
        return terms


def _counts(labels: Sequence[int], classes: int) -> np.ndarray:
    return np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)


def _given(weights: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    key = "training.loss.class_weights"
    for name in names:
        if name not in weights:
            raise UserError(f"{key}: no weight for {name}; give one for each of {', '.join(names)}")
    for name, weight in weights.items():
        if name not in names:
            raise UserError(f"{key}.{name}: no such label; there are {', '.join(names)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"{key}.{name}: {weight} is not a weight; use 0 or more")
    return np.asarray([weights[name] for name in names], dtype=float)
