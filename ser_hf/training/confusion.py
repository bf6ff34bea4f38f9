"""How training clips are recognised as they pass: counted on the device, read once an epoch."""

import numpy as np
import torch

from .loss import class_ids


class TrainingCounts:
    """Counts of true class by predicted class over the training batches since the last `take`.

    They cost no pass of their own, so they are of the network as it learnt: in training mode (dropout, augmentation),
    while its weights moved, and on the majority where labels are soft or mixed. Nothing is read back from the device
    before `take`.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self._counts = torch.zeros(classes * classes, dtype=torch.int64)

    @torch.no_grad()
    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Counts a batch: `logits` (batch, classes), `labels` as `ClassificationLoss` takes them; -100 is left out."""
        ids = class_ids(labels)
        counted = ids != -100
        cells = torch.where(counted, ids, 0) * self.classes + logits.argmax(dim=1)
        self._counts = self._counts.to(logits.device)  # moves once
        self._counts.index_add_(0, cells, counted.long())

    def take(self) -> torch.Tensor:
        """(classes, classes) int64 on the CPU, a row a true class, summed over all processes; begins anew.

        Where there are several processes, all of them have to call it.
        """
        counts = self._counts.clone()
        self._counts.zero_()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        return counts.view(self.classes, self.classes).cpu()


def scores(confusion: torch.Tensor) -> dict[str, float]:
    """UAR, macro-F1 and WA of a (classes, classes) confusion matrix, a row a true class; empty if it counts no clip.

    As in evaluation, UAR and macro-F1 run over the classes that have clips, and one that is never predicted counts as
    zero.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if not counts.any():
        return {}
    clips, predicted, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    present = clips > 0
    recall, f1 = right[present] / clips[present], 2 * right[present] / (clips + predicted)[present]
    return {"uar": float(recall.mean()), "macro_f1": float(f1.mean()), "wa": float(right.sum() / counts.sum())}
