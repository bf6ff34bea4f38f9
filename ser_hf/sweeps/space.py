"""The search space of a sweep: the recipe keys that vary, read from YAML into typed dataclasses and validated.

search: tpe                    # or random, grid
trials: 40
space:
  training.learning_rate: {low: 1e-5, high: 1e-3, log: true}
  training.num_train_epochs: {low: 10, high: 30, step: 10}
  model.dropout: [0.1, 0.3]                       # a list is a choice
  strategy:                                       # named bundles of keys; each trial uses one of them
    FAST: {freeze.encoder: true, freeze.cache: true, audio.max_duration: 3.0}
    FULL:
      freeze.feature_encoder: true
      space: {freeze.top_layers: [2, 4]}          # varies in this bundle only
"""

import dataclasses
import functools
import itertools
import json
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..experiment.recipe import Recipe
from ..utils.errors import UserError
from ..utils.yaml import dump_yaml, from_mapping, read_yaml

Settings = dict[str, Any]
Space = dict[str, "Range | Choice | Bundles"]

LARGEST_GRID = 2000
# Keys that the sweep sets itself, or that must be equal in all trials for their results to be comparable.
RESERVED = {
    "name": "the sweep names its trials",
    "output_dir": "each trial has its own folder in the sweep's folder",
    "provenance": "it records where a recipe came from and has no effect",
    "evaluation": "all trials are evaluated on validation in the same way",
    "protocol": "trials can be compared on the same speakers only",
    "corpus.root": "trials can be compared on the same clips only",
    "training.seeds": "the best of several seeds is luck; list seeds in the recipe, and each trial is their mean",
}
# Columns of the leaderboard, which names of bundles must not repeat.
COLUMNS = ("rank", "trial", "state", "objective", "epochs", "seconds", "message")
# Position of the value between a range's ends at which the range is checked: a number that nobody would write.
_BETWEEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; integers if both are written as integers."""

    low: Any
    high: Any
    log: bool = False
    step: Any = None

    def __post_init__(self):
        numbers = {"low": self.low, "high": self.high} | ({} if self.step is None else {"step": self.step})
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name}: expected a number, got {value!r}")
        if self.low >= self.high:
            raise ValueError(f"high: expected more than low, {self.low}, got {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: a logarithm needs more than zero, got {self.low}")
        if self.step is not None:
            if self.log:
                raise ValueError("step: cannot be combined with log; leave out one of the two, or list the values")
            if self.step <= 0 or (self.whole and not isinstance(self.step, int)):
                expected = "a whole number above zero" if self.whole else "more than zero"
                raise ValueError(f"step: expected {expected}, got {self.step}")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def count(self) -> int | None:
        """How many values a grid tries; None if the range is continuous."""
        if self.log or (self.step is None and not self.whole):
            return None
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def value(self, index: int) -> int | float:
        value = self.low + index * (self.step or 1)
        return value if self.whole else float(f"{value:.12g}")  # 0.3 instead of 0.1 + 2 * 0.1

    def answers(self, grid: bool) -> list[int | float]:
        if grid:
            return [self.value(index) for index in range(self.count)]
        if self.count is not None:
            return [self.low, self.value(min(1, self.count - 1)), self.value(self.count - 1)]
        between = (self.low + self.high) // 2 if self.whole else self.low + _BETWEEN * (self.high - self.low)
        return [self.low, between, self.high]

    def suggest(self, trial: Any, name: str) -> int | float:
        high = self.high if self.count is None else self.value(self.count - 1)
        if self.whole:
            return trial.suggest_int(name, self.low, high, step=self.step or 1, log=self.log)
        return float(f"{trial.suggest_float(name, self.low, high, step=self.step, log=self.log):.12g}")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values, each written as JSON: Optuna stores no lists and takes 1 and true for equal."""

    labels: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.labels)

    def answers(self, grid: bool) -> list[str]:
        return list(self.labels)

    def suggest(self, trial: Any, name: str) -> str:
        return trial.suggest_categorical(name, self.labels)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Recipe keys that are set together, and the space that varies with them."""

    settings: Settings
    space: Space


@dataclasses.dataclass(frozen=True)
class Bundles:
    """One of several bundles, by name."""

    options: dict[str, Bundle]

    def suggest(self, trial: Any, name: str) -> str:
        return trial.suggest_categorical(name, sorted(self.options))


@dataclasses.dataclass(frozen=True)
class Pruning:
    """When a trial that falls behind ends early, decided after each epoch of its first fold or seed.

    `median` (Golovin et al. 2017, "Google Vizier"): below the median of the finished trials at that epoch, once
    `startup_trials` (5) are finished and `warmup_epochs` (1) have passed. `successive_halving` (Li et al. 2020,
    arXiv:1810.05934) and `hyperband` (Li et al. 2018, arXiv:1603.06560): from `warmup_epochs` on, 1 of
    `reduction_factor` (3) trials continues to that many times the epochs.
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
    """A space file: `space` varies the recipe, `trials` are run in total, `metric` on validation selects the best."""

    space: dict[str, Any]
    search: Literal["tpe", "random", "grid"] = "tpe"
    trials: int | None = None
    seed: int = 0
    metric: Literal["uar", "wa", "macro_f1", "weighted_f1", "loss"] = "uar"
    pruner: Pruning | None = None

    def __post_init__(self):
        if self.trials is None and self.search != "grid":
            raise ValueError(f"trials: missing; the number of trials that {self.search} runs")
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"trials: expected one or more, got {self.trials}")
        if self.seed < 0:
            raise ValueError(f"seed: expected zero or more, got {self.seed}")
        try:
            json.dumps(self.space)
        except TypeError as error:
            raise ValueError(f"space: expected words, numbers, true, false or null: {error}") from None

    @functools.cached_property
    def parameters(self) -> Space:
        return _parameters(self.space, "space")

    @property
    def total(self) -> int:
        """How many trials there are when the sweep is complete."""
        points = _grid_size(self.parameters, "space") if self.search == "grid" else math.inf
        return min(points, self.trials or points)

    def points(self) -> list[Settings]:
        """Every point of a grid; otherwise points that contain each bound, choice and bundle at least once."""
        return list(_points(self.parameters, self.search == "grid"))

    def to_dict(self) -> dict[str, Any]:
        """All settings but the number of trials, which may grow."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "trials"}


def read_space(source: str | Path | Mapping[str, Any], trials: int | None = None) -> Search:
    """Reads and checks a space from a YAML file or a mapping; `trials` replaces the file's.

    Raises:
        UserError: naming the key with its full path.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(source)
    search = from_mapping(Search, values if trials is None else {**values, "trials": trials})
    keys = keys_of(search.parameters, "space")
    if search.metric == "loss":
        for key, where in keys:
            if f"{key}.".startswith("training.loss."):
                raise UserError(
                    f"metric: {where} changes the loss itself, so losses cannot be compared; select by uar"
                )
    if search.search == "grid" and (size := _grid_size(search.parameters, "space")) > LARGEST_GRID:
        raise UserError(f"search: a grid of {size} points; shorten its lists, or search by tpe or random")
    return search


def resolve(
    space: Space, choose: Callable[[str, "Range | Choice | Bundles"], Any], prefix: str = ""
) -> tuple[Settings, Settings]:
    """The recipe keys at one point of a space, and the same for people: names of bundles without their content.

    Args:
        choose: from the name of a parameter, unique in the space, and the parameter to a number, label or bundle.
    """
    settings: Settings = {}
    shown: Settings = {}
    for name, parameter in space.items():
        answer = choose(prefix + name, parameter)
        if isinstance(parameter, Bundles):
            bundle = parameter.options[answer]
            inner, inner_shown = resolve(bundle.space, choose, f"{prefix}{name}.{answer}.")
            settings |= bundle.settings | inner
            shown |= {name: answer} | inner_shown
        else:
            settings[name] = shown[name] = json.loads(answer) if isinstance(parameter, Choice) else answer
    return settings, shown


def overrides(settings: Settings) -> list[str]:
    """Settings in the form that `read_recipe` takes."""
    return [f"{key}={dump_yaml(value)}" for key, value in settings.items()]


def described(settings: Settings) -> str:
    """Settings in one line, for people."""
    return ", ".join(f"{key}={short(value)}" for key, value in settings.items())


def short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def keys_of(space: Space, path: str) -> list[tuple[str, str]]:
    """(recipe key, where the space sets it) of all keys that a space may set.

    Raises:
        UserError: if a key is set from two places at once, so that one of them would have no effect.
    """
    keys = []
    for name, parameter in space.items():
        if not isinstance(parameter, Bundles):
            keys.append((name, f"{path}.{name}"))
            continue
        alternatives = {}  # each trial uses one bundle, so that several may set the same key
        for option, bundle in parameter.options.items():
            here = f"{path}.{name}.{option}"
            own = [(key, f"{here}.{key}") for key in bundle.settings] + keys_of(bundle.space, f"{here}.space")
            _refuse_twice(own)
            alternatives = dict(own) | alternatives
        keys += alternatives.items()
    _refuse_twice(keys)
    return keys


def _refuse_twice(keys: Iterable[tuple[str, str]]) -> None:
    for (key, where), (other, elsewhere) in itertools.combinations(keys, 2):
        if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
            raise UserError(
                f"{elsewhere}: {where} sets {key} too; a key that only some bundles vary belongs in their space"
            )


def _points(space: Space, grid: bool, prefix: str = "") -> Iterator[dict[str, Any]]:
    columns = []
    for name, parameter in space.items():
        if isinstance(parameter, Bundles):
            column = [
                {prefix + name: option} | inner
                for option, bundle in parameter.options.items()
                for inner in _points(bundle.space, grid, f"{prefix}{name}.{option}.")
            ]
        else:
            column = [{prefix + name: answer} for answer in parameter.answers(grid)]
        columns.append(column)
    if grid:
        rows = itertools.product(*columns)
    else:
        longest = max(map(len, columns), default=1)
        rows = ([column[i % len(column)] for column in columns] for i in range(longest))
    for row in rows:
        yield {key: value for answers in row for key, value in answers.items()}


def _grid_size(space: Space, path: str) -> int:
    size = 1
    for name, parameter in space.items():
        here = f"{path}.{name}"
        if isinstance(parameter, Bundles):
            size *= sum(_grid_size(own.space, f"{here}.{key}.space") for key, own in parameter.options.items())
        elif parameter.count is None:
            raise UserError(f"{here}: a grid needs a list of values, or a step and no log")
        else:
            size *= parameter.count
    return size


def _parameters(values: Any, path: str) -> Space:
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"{path}: expected recipe keys, each with a range or a list")
    return {str(key): _parameter(str(key), value, f"{path}.{key}") for key, value in values.items()}


def _parameter(key: str, value: Any, path: str) -> Range | Choice | Bundles:
    if isinstance(value, list):
        labels = tuple(json.dumps(own, ensure_ascii=False) for own in value)
        if not labels:
            raise UserError(f"{path}: expected at least one value, got an empty list")
        if len(set(labels)) < len(labels):
            raise UserError(f"{path}: each value once, got {', '.join(labels)}")
        for own in value:
            _check_key(key, own, path)
        return Choice(labels)
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"{path}: expected a list of values, {{low: ..., high: ...}} or bundles of keys, got {short(value)}"
        )
    if {"low", "high"} & set(value):
        _check_key(key, None, path)
        return from_mapping(Range, value, path)
    if key in _sections() or "." in key:
        raise UserError(f"{path}: a bundle's name has no dot and is no section; write keys as training.learning_rate")
    if key in COLUMNS or key.startswith("validation_"):
        raise UserError(f"{path}: the leaderboard has a column of that name; choose another name for the bundles")
    return Bundles({str(name): _bundle(own, f"{path}.{name}") for name, own in value.items()})


def _bundle(values: Any, path: str) -> Bundle:
    if not isinstance(values, Mapping):
        raise UserError(
            f"{path}: expected a bundle, recipe keys with their values, got {short(values)}; write keys of a section "
            "with a dot, such as training.learning_rate"
        )
    settings = {str(key): value for key, value in values.items() if key != "space"}
    for key, value in settings.items():
        _check_key(key, value, f"{path}.{key}")
    return Bundle(settings, _parameters(values["space"], f"{path}.space") if "space" in values else {})


def _check_key(key: str, value: Any, path: str) -> None:
    for reserved, why in RESERVED.items():
        if f"{key}.".startswith(f"{reserved}."):
            raise UserError(f"{path}: cannot vary; {why}")
    if key in _sections() and isinstance(value, Mapping):
        raise UserError(
            f"{path}: {key} is a section, and its other keys would be lost; set its keys one by one, with a dot, such "
            f"as {key}.{next(iter(value), 'key')}"
        )


@functools.cache
def _sections() -> frozenset[str]:
    def below(kind: type, path: str) -> Iterator[str]:
        for name, hint in typing.get_type_hints(kind).items():
            if dataclasses.is_dataclass(hint):
                yield path + name
                yield from below(hint, f"{path}{name}.")

    return frozenset(below(Recipe, ""))
