"""Completes a recipe with the defaults that depend on its network, task or schedule."""

from typing import Any

from ..evaluation.tasks import TASKS
from ..training.settings import TrainingSettings
from ..utils.errors import UserError
from ..utils.validation import unknown_key
from .model_settings import ENCODER
from .recipe import Recipe

# The default length of the warm-up, as a share of all steps.
WARMUP = 0.05


def complete(recipe: Recipe) -> Recipe:
    """The recipe with the defaults that depend on the network, the task or the schedule.

    Raises:
        UserError: for a solver or a grid that the network does not support.
    """
    return recipe.replace(
        training=complete_training(recipe.training, recipe.model.architecture, recipe.task)
    )


def complete_training(training: TrainingSettings, architecture: str, task: str) -> TrainingSettings:
    """The section `training` with the defaults of a network and a task."""
    from ..training.arguments import sampling_for, solvers_for
    from ..training.schedules import WITHOUT_WARMUP

    solver = training.solver or solvers_for(architecture)[0]
    changes: dict[str, Any] = {"solver": solver, "grid": _grid(training, solver, architecture)}
    if training.early_stopping.metric is None:
        metric = TASKS[task].selects
        changes["early_stopping"] = training.early_stopping.replace(metric=metric)
    if training.warmup_steps is None:
        without = training.lr_scheduler_type in WITHOUT_WARMUP
        changes["warmup_steps"] = 0.0 if without else WARMUP
    if training.train_sampling_strategy is None:
        gradient = solver == "trainer"
        changes["train_sampling_strategy"] = sampling_for(architecture) if gradient else "random"
    if training.ddp_find_unused_parameters is None and architecture != ENCODER:
        # Encoders may skip whole layers. In the networks of ser_hf, every parameter has a gradient
        # in every step.
        changes["ddp_find_unused_parameters"] = False
    return training.replace(**changes)


def _grid(training: TrainingSettings, solver: str, architecture: str) -> dict[str, list]:
    """The values that scikit-learn tries: those of the recipe, or the network's default grid."""
    from ..training.arguments import GRIDS, solvers_for

    possible = solvers_for(architecture)
    if solver not in possible:
        descriptions = {"trainer": "trained by gradient", "sklearn": "fitted by scikit-learn"}
        raise UserError(f"training.solver: {architecture} can only be {descriptions[possible[0]]}")
    grid = dict(GRIDS[architecture]) if solver == "sklearn" else {}
    if training.grid and not grid:
        raise UserError("training.grid: only training.solver: sklearn has a grid; leave it out")
    for key, values in training.grid.items():
        if key not in grid:
            raise unknown_key(f"training.grid.{key}", grid)
        grid[key] = [_grid_value(value, type(grid[key][0]), key) for value in values]
    return grid


def _grid_value(value: Any, kind: type, key: str) -> Any:
    """A value of a grid as a number of the type `kind`; it must be positive and finite."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < float("inf") or kind(value) != value:
        words = "a whole number" if kind is int else "a number"
        raise UserError(f"training.grid.{key}: expected {words} of more than 0, got {value!r:.100}")
    return kind(value)
