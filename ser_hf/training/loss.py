"""The loss, in one place: right under gradient accumulation and under several processes."""

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
    """The supervised contrastive loss of Khosla et al. 2020 (arXiv:2004.11362), their L_out.

    Each clip i is an anchor; its positives P(i) are the other clips of its class, told from all other clips A(i). With
    embeddings z of length one and the temperature T its term is

        -1 / |P(i)| * sum over p in P(i) of log(exp(z_i z_p / T) / sum over a in A(i) of exp(z_i z_a / T))

    and the loss is the sum over the anchors that have a positive. The embedding is what the model's classifier is
    given; there is no projection beside it, and each clip is seen once, not in two views as in the paper.

    It compares the clips of one micro-batch on one device. In contrast to every other loss, accumulation and several
    processes change it: smaller micro-batches have fewer pairs.
    """

    def __init__(self, weight: float, temperature: float = 0.1):
        self.weight = weight
        self.temperature = temperature
        self._embeddings: torch.Tensor | None = None

    def listen(self, classifier: nn.Module) -> RemovableHandle:
        """Keeps what `classifier` is given (its first input, (batch, size)) in each forward pass, for the next call.

        Only where gradients are taken, so that evaluation leaves nothing behind. The module may be wrapped (DDP) or
        compiled later, and the layers before it may be checkpointed. A copy of it reports to the same listener. Remove
        the handle when training is over.
        """

        # Not a method: copying a module would copy a method's object along, and the copy would talk to nobody.
        def hear(module: nn.Module, inputs: tuple) -> None:
            self._embeddings = inputs[0] if torch.is_grad_enabled() else None

        return classifier.register_forward_pre_hook(hear)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """The weighted sum over the anchors of the last forward pass, a scalar; the pass is forgotten.

        Args:
            ids: (batch,) class ids; clips at -100 are neither anchors nor positives nor told from.

        Raises:
            RuntimeError: if nothing was heard since the last call.
            UserError: if what was heard is not one vector for each clip.
        """
        embeddings, self._embeddings = self._embeddings, None
        if embeddings is None:
            raise RuntimeError("the contrastive loss has heard no classifier; listen(model.classifier) comes first")
        if embeddings.dim() != 2 or len(embeddings) != len(ids):
            raise UserError(
                f"training.loss.contrastive_weight: the classifier was given {tuple(embeddings.shape)} for {len(ids)} "
                "clips, not one vector for each; use 0 with this model, and torchrun for several GPUs"
            )
        return self.weight * supervised_contrastive(embeddings, ids, self.temperature)


def supervised_contrastive(embeddings: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss above of `embeddings` (batch, size), of any length, and class ids (batch,), -100 for left out."""
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
    """Weight per class, in the order of the ids, scaled so that the training clips' weights have a mean of one.

    So the loss needs no other divisor than the number of clips, and a learning rate keeps its meaning.

    A class without training clips gets the weight of the rarest class that has some: smoothed and soft labels, and
    validation, may still ask for it. Weights that are given stand for absent classes too.

    Args:
        kind: ``balanced``, every class counts alike: clips / (classes * clips of the class). ``effective_number``,
            (1 - beta) / (1 - beta ** clips of the class): Cui et al. 2019 (arXiv:1901.05555), for whom the clips of a
            class overlap, so that each new one adds less. Or the weights themselves by label, up to scale.
        labels: ids of the training clips, hard ones (the majority where labels are soft).
        names: label of each id.
        beta: 0 weighs all classes alike, towards 1 it is ``balanced``.

    Raises:
        UserError: for a label that is missing or unknown, a weight that is negative or not finite, weights that leave
            no training clip anything to count by, and a beta outside [0, 1).
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
    """Logarithm of each class's share of the training clips; a class without any counts as one clip."""
    counts = np.maximum(_counts(labels, classes), 1)
    return np.log(counts / counts.sum()).tolist()


def class_ids(labels: torch.Tensor) -> torch.Tensor:
    """Hard labels: (batch,) as they are; of (batch, classes) the class with the greatest share (the first of equals),
    and -100 for the rows of -100, which do not count."""
    if labels.dim() == 1:
        return labels
    return torch.where((labels == -100).all(dim=1), -100, labels.argmax(dim=1))


class ClassificationLoss:
    """Every classification loss of a recipe; the Trainer's `compute_loss_func`.

    A clip's label becomes a distribution t over the classes c, smoothed to (1 - e) t + e / classes, and its term is

        sum over c of  w_c * t_c * (1 - p_c) ** gamma * -log p_c

    with p the softmax of the logits, plus tau times the log priors where logits are adjusted. Without weights, gamma
    and tau that is the cross entropy. In training the contrastive loss joins in; in evaluation it does not.

    The sum over clips is divided by the clips of the whole optimiser step, over all accumulated micro-batches and all
    processes (`num_items_in_batch`), so that (8, 1), (2, 4) and two processes make the same gradient. The heads of
    transformers take each micro-batch's mean instead, which multiplies the gradient (transformers issue 47688).

    Args:
        class_weights: w, from `class_weights`: with a mean of one over the training clips, since nothing else is
            divided by them.
        label_smoothing: e in [0, 1] (Szegedy et al. 2016, arXiv:1512.00567).
        focal_gamma: gamma, by which clips that are told with ease count less (Lin et al. 2017, arXiv:1708.02002).
        logit_adjustment: tau (Menon et al. 2021, arXiv:2007.07314): the network learns what speaks for a class beyond
            its frequency, and its own logits, on which nothing is added, favour no class for being frequent.
        log_priors: from `log_priors`, where logits are adjusted.
        contrastive: listens to the model's classifier; of soft labels it takes the class with the greatest share.
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
        """A scalar, computed in float32.

        Args:
            outputs: `logits` (batch, classes).
            labels: (batch,) class ids, or (batch, classes) shares that add up to one. A clip at -100, in the second
                form a row of them, does not count: its term is zero, and so is its gradient.
            num_items_in_batch: entries of `labels` other than -100 in the whole step, as the Trainer counts them, so
                clips times classes in the second form. Without it the clips of this batch that count.
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
        """Logits and labels -> (batch, classes), what each class adds to the loss."""
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
