"""The loss, in one place: right under gradient accumulation and under several processes."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy


def balanced_weights(labels: Sequence[int], classes: int) -> list[float]:
    """Weight per class so that every class counts alike: clips / (classes * clips of the class)."""
    counts = torch.bincount(torch.as_tensor(labels), minlength=classes)
    return (len(labels) / (classes * counts.double())).tolist()


class ClassificationLoss:
    """Cross entropy, with class weights and label smoothing where asked for; the Trainer's `compute_loss_func`.

    The sum over clips is divided by the clips of the whole optimiser step, over all accumulated micro-batches and all
    processes (`num_items_in_batch`), so that (8, 1), (2, 4) and two processes make the same gradient. The heads of
    transformers take each micro-batch's mean instead, which multiplies the gradient (transformers issue 47688).
    Class weights have a mean of one over the training clips, so they need no other divisor.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0):
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.label_smoothing = label_smoothing

    def __call__(self, outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None):
        """`outputs.logits` (batch, classes), `labels` (batch,) -> scalar."""
        logits = outputs["logits"].float()
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        total = cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)
