"""The targets of a run with several: their layout, the packed targets of clips, and the loss."""

from collections.abc import Callable, Sequence

import numpy as np
from datasets import Dataset
from transformers import EvalPrediction

from ..corpora.targets import dimension_names, positives_of, targets_of
from ..evaluation.groups import SLICES
from ..evaluation.metrics import compute_metrics, set_metrics
from ..evaluation.tasks import DIMENSIONS, MULTI_LABEL, TASKS
from ..training.clips import votes_of
from ..training.loss import LOSSES, ClassificationLoss, Loss
from ..training.targets import TargetLayout, TargetMetrics, TargetsLoss, TargetTerm
from ..utils.errors import UserError
from .recipe import Recipe

_AUXILIARY = "training.loss.auxiliary"
ComputeMetrics = Callable[[EvalPrediction], dict[str, float]]


def auxiliary_classes(recipe: Recipe, dataset: Dataset) -> dict[str, list[str]]:
    """{auxiliary target of the recipe: its classes}.

    They are the groups of that name in the report: the sexes, and the age groups.

    Raises:
        UserError: if a column has fewer than two groups.
    """
    classes = {}
    for name in recipe.training.loss.auxiliary:
        groups = set(_groups(dataset, name)) - {None}
        if len(groups) < 2:
            present = ", ".join(sorted(groups)) or "none"
            raise UserError(
                f"{_AUXILIARY}.{name}: needs two groups or more in the column "
                f"{SLICES[name].column}, got {present}; leave it out"
            )
        classes[name] = SLICES[name].in_order(groups)
    return classes


def _groups(dataset: Dataset, name: str) -> list[str | None]:
    """The group of each clip; None if it is unknown."""
    slicing = SLICES[name]
    return [slicing.group(value) for value in dataset[slicing.column][:]]


def target_layout(recipe: Recipe, dataset: Dataset) -> TargetLayout | None:
    """The layout of the targets; None for a model with a single target."""
    task = TASKS[recipe.task]
    auxiliary = auxiliary_classes(recipe, dataset)
    if len(task.parts) == 1 and not auxiliary:
        return None
    widths = {True: len(dimension_names(dataset)), False: dataset.features["label"].num_classes}
    sizes = {}
    for name in task.parts:
        problem_type = TASKS[name].problem_type
        sizes[name] = (widths[name == DIMENSIONS.name], problem_type)
    return TargetLayout.of(sizes, {name: len(names) for name, names in auxiliary.items()})


def packed_targets(recipe: Recipe, dataset: Dataset) -> np.ndarray:
    """The targets of all clips in the layout of `target_layout`, float32 (clips, columns).

    They are nan where a clip lacks a target.
    """
    rows = range(len(dataset))
    parts = []
    for name in TASKS[recipe.task].parts:
        if name == DIMENSIONS.name:
            ratings = targets_of(dataset, rows)
            ratings[np.isnan(ratings).any(axis=1)] = np.nan
            parts.append(ratings)
        elif name == MULTI_LABEL.name:
            parts.append(positives_of(dataset, rows).astype(np.float32))
        elif recipe.training.loss.soft_labels:
            parts.append(_soft_classes(dataset))
        else:
            labels = np.asarray(dataset["label"][:])
            parts.append(_one_hot(labels, dataset.features["label"].num_classes))
    for name, classes in auxiliary_classes(recipe, dataset).items():
        ids = {group: i for i, group in enumerate(classes)}
        groups = np.asarray([ids.get(group, -1) for group in _groups(dataset, name)])
        parts.append(_one_hot(groups, len(classes)))
    return np.concatenate(parts, axis=1)


def _one_hot(ids: np.ndarray, classes: int) -> np.ndarray:
    """Class ids (clips,) as shares, float32 (clips, classes); nan for the id -1."""
    shares = np.eye(classes, dtype=np.float32)[ids]
    shares[ids < 0] = np.nan
    return shares


def _soft_classes(dataset: Dataset) -> np.ndarray:
    """The shares of the votes, float32 (clips, classes); nan for a clip without a label."""
    labels = np.asarray(dataset["label"][:])
    shares = np.full((len(dataset), dataset.features["label"].num_classes), np.nan, np.float32)
    labeled = np.flatnonzero(labels >= 0)
    shares[labeled] = votes_of(dataset, labeled)
    return shares


def targets_loss(
    recipe: Recipe, layout: TargetLayout, names: Sequence[str], targets: np.ndarray
) -> TargetsLoss:
    """The loss of several targets.

    Args:
        names: of the classes, or of the dimensions if there are no classes.
        targets: packed targets of the training clips, (clips, columns).

    Raises:
        UserError: if no training clip has a target.
    """
    settings = recipe.training.loss
    options = settings.model_dump()
    terms = []
    for block in layout.blocks:
        present = block.has_target(targets)
        if not present.any():
            raise UserError(f"task: no training clip has a target for {block.name}")
        of_block = targets[present][:, block.columns]
        loss: Loss = ClassificationLoss()
        weight = settings.auxiliary.get(block.name, 0.0)
        if block.measured:
            weight = settings.task_weights.get(block.name, 1.0)
            labels = of_block if TASKS[block.name] is MULTI_LABEL else of_block.argmax(axis=1)
            outputs = recipe.corpus.targets if block.name == DIMENSIONS.name else names
            loss = LOSSES[TASKS[block.name].loss].from_options(options, outputs, labels)
        terms.append(TargetTerm(block, loss, weight, float(present.mean())))
    return TargetsLoss(terms)


def require_measurable(layout: TargetLayout, targets: np.ndarray, split: str) -> None:
    """Raise a `UserError` if no clip of a split has one of the targets that are measured.

    Args:
        targets: packed targets of the split, (clips, columns).
    """
    for block in layout.blocks:
        if block.measured and not block.has_target(targets).any():
            raise UserError(
                f"protocol: no clip of the {split} split has a target for {block.name}; choose "
                "other speakers for it"
            )


def metrics_function(recipe: Recipe, layout: TargetLayout | None) -> ComputeMetrics:
    """The function for the metrics of validation, for a Trainer."""
    functions: dict[str, ComputeMetrics] = {MULTI_LABEL.name: set_metrics}
    if layout is not None:
        return TargetMetrics(layout, functions)
    return functions.get(recipe.task, compute_metrics)
