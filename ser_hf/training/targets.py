"""Several targets of one model: their columns in one packed row, their losses and their metrics.

The targets of a clip are the shares of its classes, its ratings, and the classes of auxiliary
targets, side by side in one row. The outputs of a model are packed in the same order. A target that
a clip does not have is nan, and the clip does not count in the loss of that target.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction, PreTrainedModel

from ..evaluation.metrics import SELECTING, compute_metrics
from ..loading.batches import WindowLogits, merge
from ..models.target_heads import AUXILIARY_HEAD, AUXILIARY_KEY
from .loss import Loss


@dataclasses.dataclass(frozen=True)
class TargetBlock:
    """One target in a packed row.

    Args:
        name: the task, or the auxiliary target.
        columns: its columns.
        problem_type: how its outputs are converted (`ser_hf.evaluation.probabilities.activated`).
        measured: whether validation measures it; auxiliary targets are not measured.
    """

    name: str
    columns: slice
    problem_type: str | None
    measured: bool = True

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.columns.stop - self.columns.start

    def has_target(self, targets: np.ndarray) -> np.ndarray:
        """Whether each clip has this target, (clips,); `targets` are packed, (clips, columns)."""
        return np.isfinite(targets[:, self.columns]).all(axis=1)


@dataclasses.dataclass(frozen=True)
class TargetLayout:
    """The targets of a model, in the order of its packed outputs; the classes are the first."""

    blocks: tuple[TargetBlock, ...]

    @classmethod
    def of(
        cls, sizes: Mapping[str, tuple[int, str | None]], auxiliary: Mapping[str, int]
    ) -> "TargetLayout":
        """Lay out targets side by side.

        Args:
            sizes: task -> its number of outputs, and their problem type.
            auxiliary: auxiliary target -> its number of classes.
        """
        blocks = []
        start = 0
        for name, (width, problem_type) in sizes.items():
            blocks.append(TargetBlock(name, slice(start, start + width), problem_type))
            start += width
        for name, width in auxiliary.items():
            blocks.append(TargetBlock(name, slice(start, start + width), None, measured=False))
            start += width
        return cls(tuple(blocks))

    @property
    def width(self) -> int:
        """The number of columns of all targets."""
        return self.blocks[-1].columns.stop

    def block(self, name: str) -> TargetBlock:
        """The target of this name."""
        return next(block for block in self.blocks if block.name == name)

    def merge(
        self, rows: Sequence[int], lengths: Sequence[int], logits: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Merge packed outputs of windows; see `ser_hf.loading.batches.merge`."""
        merged = []
        for block in self.blocks:
            clips, values = merge(rows, lengths, logits[:, block.columns], block.problem_type)
            merged.append(values)
        return clips, np.concatenate(merged, axis=1)

    def windows(self, windows: WindowLogits, name: str) -> WindowLogits:
        """The outputs of one target."""
        logits = windows.logits[:, self.block(name).columns]
        return WindowLogits(windows.rows, windows.lengths, logits)


def packed_outputs(outputs: Mapping[str, Any]) -> torch.Tensor:
    """The outputs of a model in one tensor, (batch, columns); of one target its logits."""
    parts = [outputs["logits"]]
    for name in ("ratings", "auxiliary"):
        if outputs.get(name) is not None:
            parts.append(outputs[name])
    return parts[0] if len(parts) == 1 else torch.cat([part.float() for part in parts], dim=1)


@dataclasses.dataclass(frozen=True)
class TargetTerm:
    """The loss of one target.

    Args:
        loss: for the outputs and targets of this block.
        weight: its weight in the sum.
        share: the share of the training clips that have the target.
    """

    block: TargetBlock
    loss: Loss
    weight: float
    share: float


class TargetsLoss:
    """The weighted sum of the losses of several targets; the Trainer's `compute_loss_func`.

    The loss of a target is a mean over the clips that have it. These are counted by their share of
    the training clips, not in each batch, so that each clip has the same weight in every batch, and
    gradient accumulation and several processes add up as for a single target.
    """

    def __init__(self, terms: Sequence[TargetTerm]):
        self.terms = terms

    def __call__(
        self,
        outputs: Mapping,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss, a scalar in float32.

        Args:
            outputs: `logits`, packed (batch, columns).
            labels: packed targets (batch, columns); nan where a clip lacks a target.
            num_items_in_batch: entries of `labels` in the whole step, by default those of this
                batch.
        """
        logits = outputs["logits"].float()
        items = labels.numel() if num_items_in_batch is None else num_items_in_batch
        clips = items / labels.shape[1]
        total = 0 * logits.sum()  # every head gets a gradient, also in a batch without its target
        for term in self.terms:
            targets = labels[:, term.block.columns]
            present = targets.isfinite().all(dim=1)
            if not present.any():
                continue
            block_logits = logits[:, term.block.columns][present]
            expected_items = clips * term.share * term.block.width
            loss = term.loss({"logits": block_logits}, targets[present], expected_items)
            total = total + term.weight * loss
        return total


class TargetMetrics:
    """The metrics of several targets; a function for the argument `compute_metrics` of a Trainer.

    Besides the metrics of each task, `uar_ccc` is the mean of UAR and CCC.

    Args:
        compute: task -> the function for its metrics; `compute_metrics` for other tasks.
    """

    def __init__(
        self,
        layout: TargetLayout,
        compute: Mapping[str, Callable[[EvalPrediction], dict[str, float]]],
    ):
        self.layout = layout
        self.compute = compute

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Compute the metrics from packed outputs and targets, (clips, columns)."""
        targets = np.asarray(prediction.label_ids)
        logits = np.asarray(prediction.predictions)
        metrics: dict[str, float] = {}
        for block in self.layout.blocks:
            if not block.measured:
                continue
            present = block.has_target(targets)
            labels = targets[present][:, block.columns]
            if block.problem_type is None:
                labels = labels.argmax(axis=1)
            compute = self.compute.get(block.name, compute_metrics)
            metrics |= compute(EvalPrediction(logits[present][:, block.columns], labels))
        for name, metric in SELECTING.items():
            if all(part in metrics for part in metric.parts):
                metrics[name] = float(np.mean([metrics[part] for part in metric.parts]))
        return metrics


@contextlib.contextmanager
def without_auxiliary(model: PreTrainedModel) -> Iterator[None]:
    """Remove the heads of auxiliary targets from a model, as long as it is saved."""
    head = getattr(model, AUXILIARY_HEAD, None)
    if head is None:
        yield
        return
    targets = getattr(model.config, AUXILIARY_KEY)
    delattr(model, AUXILIARY_HEAD)
    delattr(model.config, AUXILIARY_KEY)
    try:
        yield
    finally:
        setattr(model, AUXILIARY_HEAD, head)
        setattr(model.config, AUXILIARY_KEY, targets)
