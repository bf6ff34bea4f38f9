"""The search space of a sweep: the recipe keys that vary, read from YAML as Optuna distributions.

`docs/sweeps.md` shows an example. A list is a choice; a range has `low` and `high`. A bundle is a
named set of keys, and each trial uses one of several bundles.
"""

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial, FixedTrial
from pydantic import Field, model_validator

from ..utils.errors import UserError
from ..utils.settings import Settings
from ..utils.validation import validated
from ..utils.yaml import dump_yaml, read_yaml

Values = dict[str, Any]
Space = dict[str, "Parameter"]

LARGEST_GRID = 2000
# Keys that the sweep sets itself, or that must be equal in all trials so that the results are
# comparable.
RESERVED = (
    "name",
    "output_dir",
    "provenance",
    "evaluation",
    "protocol",
    "corpus",
    "training.seeds",
)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A recipe key and the distribution of its values.

    Choices are written as JSON, because Optuna stores no lists and treats 1 and true as equal. With
    `bundles`, a choice is the name of a bundle: recipe keys that are set together, and the space
    that varies with them.
    """

    distribution: BaseDistribution
    bundles: Mapping[str, tuple[Values, Space]] = dataclasses.field(default_factory=dict)

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """Draw a value for a trial; for bundles, the name of a bundle."""
        drawn_from = self.distribution
        if isinstance(drawn_from, CategoricalDistribution):
            label = trial.suggest_categorical(name, drawn_from.choices)
            return label if self.bundles else json.loads(label)
        low = drawn_from.low
        high = drawn_from.high
        scale = {"step": drawn_from.step, "log": drawn_from.log}
        if isinstance(drawn_from, IntDistribution):
            return trial.suggest_int(name, low, high, **scale)
        value = trial.suggest_float(name, low, high, **scale)
        return float(f"{value:.12g}")  # 0.3 instead of 0.1 + 2 * 0.1

    def values(self, grid: bool) -> list[Any]:
        """List the values to try.

        For a grid these are all values. Otherwise they are every choice, or both ends of the range
        and a value between them.
        """
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.distribution.choices)
        low = self.distribution.low
        high = self.distribution.high
        step = self.distribution.step
        if grid:
            return [low + i * step for i in range(round((high - low) / step) + 1)]
        between = low + (step or 0.618 * (high - low))  # 0.618 rarely gives a whole number
        return [low, min(between, high), high]


class Pruning(Settings):
    """Ends a trial early if it is worse than most other trials at the same epoch.

    The rule is that of Golovin et al. 2017, "Google Vizier". Trials are compared at the epochs of
    the first fold or seed.
    """

    kind: Annotated[
        Literal["median"], Field(description="end a trial below the median of finished trials")
    ] = "median"
    startup_trials: Annotated[
        int, Field(ge=0, description="finished trials before the first is ended early")
    ] = 5
    warmup_epochs: Annotated[
        int, Field(ge=1, description="epochs of a trial before it can end early")
    ] = 1


class Search(Settings):
    """A space file: what varies, how trials are drawn, and what selects the best one."""

    space: Annotated[dict[str, Any], Field(description="key of the recipe: its possible values")]
    search: Annotated[
        Literal["tpe", "random", "grid"], Field(description="how trials are drawn")
    ] = "tpe"
    trials: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="number of trials in total; null: all points of a grid"),
    ] = None
    seed: Annotated[int, Field(ge=0, description="seed of the draws")] = 0
    metric: Annotated[
        Literal["uar", "wa", "macro_f1", "weighted_f1", "ccc", "pearson"],
        Field(description="validation metric that selects the best; of dimensions ccc or pearson"),
    ] = "uar"
    pruner: Annotated[Pruning | None, Field(description="ends poor trials early")] = None

    @model_validator(mode="after")
    def _check_trials(self) -> Self:
        if self.trials is None and self.search != "grid":
            raise ValueError(f"trials: missing; the number of trials that {self.search} runs")
        return self

    @functools.cached_property
    def parameters(self) -> Space:
        return _parameters(self.space, "space", self.search == "grid")

    @functools.cached_property
    def points(self) -> list[Values]:
        """Return points of the space at which the recipe is checked.

        For a grid these are all points, but at most one more than allowed, which is enough to
        refuse the grid. Otherwise they contain each bound, choice and bundle at least once.
        """
        points = _points(self.parameters, self.search == "grid")
        return list(itertools.islice(points, LARGEST_GRID + 1))

    @property
    def total(self) -> int:
        """The number of trials in the complete sweep."""
        points = len(self.points) if self.search == "grid" else math.inf
        return min(points, self.trials or points)


def read_space(source: str | Path | Mapping[str, Any], trials: int | None = None) -> Search:
    """Read and check a space from a YAML file or a mapping; `trials` replaces its key."""
    values = dict(source) if isinstance(source, Mapping) else read_yaml(source)
    search = validated(Search, values if trials is None else {**values, "trials": trials})
    if len(search.points) > LARGEST_GRID:
        raise UserError(
            f"search: a grid of more than {LARGEST_GRID} points; shorten its lists, or search by "
            "tpe"
        )
    for point in search.points:
        resolve(search.parameters, point)
    return search


def resolve(space: Space, at: BaseTrial | Mapping[str, Any], prefix: str = "") -> Values:
    """Return the recipe keys that a trial, or a point of the space, sets."""
    trial = FixedTrial(at) if isinstance(at, Mapping) else at
    pairs: list[tuple[str, Any]] = []
    for name, parameter in space.items():
        value = parameter.suggest(trial, prefix + name)
        if parameter.bundles:
            settings, inner = parameter.bundles[value]
            pairs += settings.items()
            pairs += resolve(inner, trial, f"{prefix}{name}.{value}.").items()
        else:
            pairs.append((name, value))

    keys = [key for key, _ in pairs]
    for first, second in itertools.combinations(keys, 2):
        if f"{first}.".startswith(f"{second}.") or f"{second}.".startswith(f"{first}."):
            raise UserError(
                f"space: a trial would set both {first} and {second}; move one into each bundle's "
                "space"
            )
    return dict(pairs)


def choices(space: Space, at: BaseTrial | Mapping[str, Any], prefix: str = "") -> Values:
    """Return what a trial, or a point of the space, has chosen: names of bundles, and values.

    Unlike `resolve`, keys that a bundle sets are left out, because its name stands for them.
    """
    trial = FixedTrial(at) if isinstance(at, Mapping) else at
    chosen: Values = {}
    for name, parameter in space.items():
        value = parameter.suggest(trial, prefix + name)
        if parameter.bundles:
            chosen[prefix + name] = value
            _, inner = parameter.bundles[value]
            chosen |= choices(inner, trial, f"{prefix}{name}.{value}.")
        else:
            chosen[name] = value
    return chosen


def overrides(settings: Values) -> list[str]:
    """Convert the values of a trial to the form that `read_recipe` takes."""
    return [f"{key}={dump_yaml(value)}" for key, value in settings.items()]


def described(settings: Values) -> str:
    """Describe the values of a trial in one line, for people."""
    return ", ".join(f"{key}={short(value)}" for key, value in settings.items())


def short(value: Any) -> str:
    """Write a value in few characters, for people."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _points(space: Space, grid: bool, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield every combination of a grid, or a few points that contain every value.

    Without a grid, the number of points is that of the parameter with the most values, and each
    other parameter cycles through its values.
    """
    columns = [_column(prefix + name, parameter, grid) for name, parameter in space.items()]
    if grid:
        combinations = itertools.product(*columns)
    else:
        longest = max(map(len, columns), default=1)
        combinations = ([column[i % len(column)] for column in columns] for i in range(longest))
    for combination in combinations:
        point: dict[str, Any] = {}
        for values in combination:
            point |= values
        yield point


def _column(name: str, parameter: Parameter, grid: bool) -> list[dict[str, Any]]:
    """List the values of one parameter; for a bundle, with the values of its inner space."""
    if not parameter.bundles:
        return [{name: value} for value in parameter.values(grid)]
    column = []
    for option, (_, inner) in parameter.bundles.items():
        for point in _points(inner, grid, f"{name}.{option}."):
            column.append({name: option} | point)
    return column


def _parameters(values: Any, path: str, grid: bool) -> Space:
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"{path}: expected recipe keys, each with a range or a list")
    return {
        str(key): _parameter(str(key), value, f"{path}.{key}", grid)
        for key, value in values.items()
    }


def _parameter(key: str, value: Any, path: str, grid: bool) -> Parameter:
    if isinstance(value, list) and value:
        choices: dict[str, None] = {}  # without duplicates, in order
        for choice in value:
            _check_key(key, choice, path)
            choices[json.dumps(choice, ensure_ascii=False, default=str)] = None
        return Parameter(CategoricalDistribution(choices))
    if isinstance(value, Mapping) and {"low", "high"} & set(value):
        _check_key(key, None, path)
        return Parameter(_range(value, path, grid))
    if not isinstance(value, Mapping) or not value or "." in key:
        expected = (
            "a list of values, {low: ..., high: ...}, or bundles of keys under a name without a dot"
        )
        raise UserError(f"{path}: expected {expected}, got {short(value)}")
    bundles = {
        str(name): _bundle(keys, f"{path}.{name}", grid) for name, keys in sorted(value.items())
    }
    return Parameter(CategoricalDistribution(bundles), bundles)


def _range(values: Mapping[str, Any], path: str, grid: bool) -> IntDistribution | FloatDistribution:
    """Read a range; it is a range of integers if all its numbers are written as integers."""
    numbers = [value for key, value in values.items() if key != "log"]
    if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
        raise UserError(f"{path}: expected numbers, got {short(dict(values))}")
    kind = IntDistribution if all(type(value) is int for value in numbers) else FloatDistribution
    try:
        distribution = kind(**values)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: expected {{low: ..., high: ..., log: true}} or {{..., step: ...}}: {error}"
        ) from None
    if grid and not _is_enumerable(distribution):
        raise UserError(
            f"{path}: a grid needs a list of values, or a range with a step and without log"
        )
    return distribution


def _is_enumerable(distribution: IntDistribution | FloatDistribution) -> bool:
    """Whether a grid can contain all values of a range."""
    if distribution.log or distribution.step is None:
        return False
    return (distribution.high - distribution.low) / distribution.step <= LARGEST_GRID


def _bundle(values: Any, path: str, grid: bool) -> tuple[Values, Space]:
    if not isinstance(values, Mapping):
        raise UserError(
            f"{path}: expected recipe keys with their values, such as training.learning_rate: 0.001"
        )
    settings = {str(key): value for key, value in values.items() if key != "space"}
    for key, value in settings.items():
        _check_key(key, value, f"{path}.{key}")
    space: Space = {}
    if "space" in values:
        space = _parameters(values["space"], f"{path}.space", grid)
    return settings, space


def _check_key(key: str, value: Any, path: str) -> None:
    if any(f"{key}.".startswith(f"{reserved}.") for reserved in RESERVED):
        raise UserError(f"{path}: cannot vary; all trials need the same clips, speakers and seeds")
    if isinstance(value, Mapping):
        raise UserError(
            f"{path}: set the keys of {key} one by one, such as {key}.{next(iter(value), 'key')}"
        )
