"""A sweep's space: one YAML file that says which recipe keys vary, between what, and how they are searched.

search: tpe                    # or random, grid
trials: 40
space:
  training.learning_rate: {low: 1e-5, high: 1e-3, log: true}
  training.num_train_epochs: {low: 10, high: 30, step: 10}
  model.dropout: [0.1, 0.3]                       # a list is a choice
  strategy:                                       # bundles of keys, chosen by name
    FAST: {freeze.encoder: true, freeze.cache: true, audio.max_duration: 3.0}
    FULL:
      freeze.feature_encoder: true
      space: {freeze.top_layers: [2, 4]}          # what only this bundle varies
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..strict import from_mapping, read_yaml
from .parameters import Bundle, Bundles, Choice, Range, Space, written
from .space_checks import (
    keys_of,
    refuse_moving_loss,
    refuse_name,
    refuse_reserved,
    refuse_same_names,
    refuse_section,
    refuse_strange,
    refuse_twice,
    require_small_grid,
)


@dataclasses.dataclass(frozen=True)
class Pruning:
    """When a trial that falls behind is ended, judged after each epoch, of the first of its folds or seeds only.

    `median` (Golovin et al. 2017, "Google Vizier"): below the median of the finished trials at that epoch, once
    `startup_trials` are finished (5) and `warmup_epochs` have passed (1). `successive_halving` (Li et al. 2020,
    arXiv:1810.05934) and `hyperband` (Li et al. 2018, arXiv:1603.06560): from `warmup_epochs` epochs on, 1 of
    `reduction_factor` (3) goes on to so many times the epochs.
    """

    kind: Literal["median", "successive_halving", "hyperband"]
    startup_trials: int | None = None
    warmup_epochs: int = 1
    reduction_factor: int | None = None

    def __post_init__(self):
        if self.kind == "median" and self.reduction_factor is not None:
            raise ValueError("reduction_factor: belongs to hyperband and successive_halving, not to median")
        if self.kind != "median" and self.startup_trials is not None:
            raise ValueError(f"startup_trials: belongs to median, not to {self.kind}")
        smallest = {"startup_trials": 0, "warmup_epochs": 0 if self.kind == "median" else 1, "reduction_factor": 2}
        for name, least in smallest.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise ValueError(f"{name}: expected {least} or more, got {value}")


@dataclasses.dataclass(frozen=True)
class Search:
    """What a space file says: `space` varies the recipe, `trials` in all are run, `metric` on validation decides."""

    space: dict[str, Any]
    search: Literal["tpe", "random", "grid"] = "tpe"
    trials: int | None = None
    seed: int = 0
    metric: Literal["uar", "wa", "macro_f1", "weighted_f1", "loss"] = "uar"
    pruner: Pruning | None = None

    def __post_init__(self):
        if self.trials is None and self.search != "grid":
            raise ValueError(f"trials: missing; how many {self.search} is to try")
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"trials: expected one or more, got {self.trials}")
        if self.seed < 0:
            raise ValueError(f"seed: expected zero or more, got {self.seed}")

    @property
    def parameters(self) -> Space:
        refuse_strange(self.space, "space")
        space = read_parameters(self.space, "space")
        refuse_same_names(space, "space")
        return space

    def to_dict(self) -> dict[str, Any]:
        """What decides which trials there are, as YAML has it: all but how many."""
        values = dataclasses.asdict(self)
        del values["trials"]
        return values


def read_space(source: str | Path | Mapping[str, Any], trials: int | None = None) -> Search:
    """Reads and checks a space from a YAML file or a mapping.

    Args:
        trials: in place of the file's.

    Raises:
        UserError: naming the key with its full path.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(source)
    if trials is not None:
        values["trials"] = trials
    search = from_mapping(Search, values)
    parameters = search.parameters
    if search.metric == "loss":
        refuse_moving_loss(keys_of(parameters, "space"))
    if search.search == "grid":
        require_small_grid(parameters)
    return search


def read_parameters(values: Mapping[str, Any], path: str) -> Space:
    """The parameters of a `space` section, none of which sets what another one sets."""
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"{path}: expected recipe keys, each with a range or a list")
    space = {str(key): _parameter(str(key), value, f"{path}.{key}") for key, value in values.items()}
    refuse_twice(keys_of(space, path))
    return space


def _parameter(key: str, value: Any, path: str) -> Range | Choice | Bundles:
    if isinstance(value, list):
        refuse_reserved(key, path)
        for own in value:
            refuse_section(key, own, path)
        return _choice(value, path)
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"{path}: expected a list of values, {{low: ..., high: ...}} or bundles of keys, got {written(value)}"
        )
    if {"low", "high"} & set(value):
        refuse_reserved(key, path)
        return from_mapping(Range, value, path)
    refuse_name(key, path)
    return Bundles({str(name): _bundle(own, f"{path}.{name}") for name, own in value.items()})


def _choice(values: list, path: str) -> Choice:
    if not values:
        raise UserError(f"{path}: expected at least one value, got an empty list")
    choice = Choice(tuple(values))
    if len(choice.labelled()) != len(values):
        raise UserError(f"{path}: each value once, got {', '.join(map(written, values))}")
    return choice


def _bundle(values: Any, path: str) -> Bundle:
    if not isinstance(values, Mapping):
        raise UserError(
            f"{path}: expected a bundle, recipe keys with their values, got {written(values)}; keys of a section are "
            "written with a dot, as training.learning_rate"
        )
    settings = {str(key): value for key, value in values.items() if key != "space"}
    for key, value in settings.items():
        refuse_reserved(key, f"{path}.{key}")
        refuse_section(key, value, f"{path}.{key}")
    return Bundle(settings, read_parameters(values["space"], f"{path}.space") if "space" in values else {})
