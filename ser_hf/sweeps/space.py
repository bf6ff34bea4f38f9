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
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..strict import dump_yaml, from_mapping, parse_yaml, read_yaml

# More points than this are no grid that anybody waits for, and each is read as a recipe before the first one runs.
LARGEST_GRID = 2000
# What the sweep itself sets, or what must be the same in all trials for their figures to be comparable.
RESERVED = {
    "name": "the sweep names its trials",
    "output_dir": "each trial has a folder of its own in the sweep's",
    "provenance": "says where a recipe came from, and decides nothing",
    "evaluation": "trials are judged on validation, all in the same way",
    "protocol": "trials can be compared on the same speakers only",
    "corpus.root": "trials can be compared on the same clips only",
}

Settings = dict[str, Any]
Space = dict[str, "Range | Choice | Bundles"]


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are written so. `log` draws their logarithm
    evenly, `step` takes every so manieth."""

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
                raise ValueError("step: not on a logarithm; leave out one of the two, or list the values")
            if self.step <= 0 or (self.whole and not isinstance(self.step, int)):
                expected = "a whole number above zero" if self.whole else "more than zero"
                raise ValueError(f"step: expected {expected}, got {self.step}")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def values(self) -> list[int | float] | None:
        """Every value from `low` on; None where there is no end of them."""
        if self.log or (self.step is None and not self.whole):
            return None
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        # 0.1 + 2 * 0.1 is not 0.3: what people write has fewer digits than that.
        return [self.low + i * step if self.whole else float(f"{self.low + i * step:.12g}") for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of `values`, which may be anything a recipe's key takes; told apart by how they are written."""

    values: tuple[Any, ...]

    def labelled(self) -> dict[str, Any]:
        return {written(value): value for value in self.values}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Recipe keys that are set together, and what varies where they are."""

    settings: Settings
    space: Space


@dataclasses.dataclass(frozen=True)
class Bundles:
    """One of several bundles, by name."""

    options: dict[str, Bundle]


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
        return read_parameters(self.space, "space")

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
    if search.search == "grid":
        _require_listed(parameters, "space")
        points = math.prod(_count(parameter) for parameter in parameters.values())
        if points > LARGEST_GRID:
            raise UserError(f"search: a grid of {points} points; shorten its lists, or search by tpe or random")
    return search


def read_parameters(values: Mapping[str, Any], path: str) -> Space:
    """The parameters of a `space` section, none of which sets what another one sets."""
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"{path}: expected recipe keys, each with a range or a list")
    space = {str(key): _parameter(str(key), value, f"{path}.{key}") for key, value in values.items()}
    _refuse_twice([(key, where) for name, own in space.items() for key, where in _keys(name, own, f"{path}.{name}")])
    return space


def written(value: Any) -> str:
    """A value in one line: as JSON, or a word that YAML takes for a word. No two values are written alike."""
    return value if isinstance(value, str) and _is_plain(value) else json.dumps(value, ensure_ascii=False)


def overrides(settings: Settings) -> list[str]:
    """Settings as `ser_hf.recipe.read_recipe` takes them."""
    return [f"{key}={dump_yaml(value)}" for key, value in settings.items()]


def choose(
    space: Space, ask: Callable[[str, "Range | Choice | Bundles"], Any], path: str = ""
) -> tuple[Settings, Settings]:
    """The recipe's keys at one point of the space, and the same for people: with the bundles' names, without what
    they hold.

    Args:
        ask: from a parameter's name (unique in the space) and itself to a number, a choice's or bundle's name.
    """
    settings: Settings = {}
    shown: Settings = {}
    for name, parameter in space.items():
        answer = ask(path + name, parameter)
        if isinstance(parameter, Bundles):
            bundle = parameter.options[answer]
            inner, inner_shown = choose(bundle.space, ask, f"{path}{name}.{answer}.")
            settings |= bundle.settings | inner
            shown |= {name: answer} | inner_shown
        else:
            settings[name] = parameter.labelled()[answer] if isinstance(parameter, Choice) else answer
            shown[name] = settings[name]
    return settings, shown


def at(space: Space, answers: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """What `choose` gives for a point of `grid` or `corners`."""
    return choose(space, lambda name, _: answers[name])


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every point, as the answers that `choose` asks for; the last key varies fastest."""
    yield from _product(space, "")


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Points that hold every bound, choice and bundle at least once, each beside the others' first."""
    first = _first(space, "")
    yield first
    for changes in _changes(space, ""):
        yield first | changes


def _parameter(key: str, value: Any, path: str) -> Range | Choice | Bundles:
    if isinstance(value, list):
        _refuse_reserved(key, path)
        return _choice(value, path)
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"{path}: expected a list of values, {{low: ..., high: ...}} or bundles of keys, got {written(value)}"
        )
    if {"low", "high"} & set(value):
        _refuse_reserved(key, path)
        return from_mapping(Range, value, path)
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
    for key in settings:
        _refuse_reserved(key, f"{path}.{key}")
    return Bundle(settings, read_parameters(values["space"], f"{path}.space") if "space" in values else {})


def _refuse_reserved(key: str, path: str) -> None:
    for reserved, why in RESERVED.items():
        if key == reserved or key.startswith(f"{reserved}."):
            raise UserError(f"{path}: cannot vary; {why}")


def _keys(name: str, parameter: Range | Choice | Bundles, path: str) -> list[tuple[str, str]]:
    """(recipe key, where it is set) of all that a parameter may set, those of several bundles once each."""
    if not isinstance(parameter, Bundles):
        return [(name, path)]
    keys = {}
    for option, bundle in parameter.options.items():
        inner = [pair for n, own in bundle.space.items() for pair in _keys(n, own, f"{path}.{option}.space.{n}")]
        own = [(key, f"{path}.{option}.{key}") for key in bundle.settings] + inner
        _refuse_twice(own)
        keys |= {key: where for key, where in own if key not in keys}
    return list(keys.items())


def _refuse_twice(keys: list[tuple[str, str]]) -> None:
    """One key, or a key and its section, cannot be set from two places at once: one of them would vary nothing."""
    for (key, where), (other, elsewhere) in itertools.combinations(keys, 2):
        if key == other or key.startswith(f"{other}.") or other.startswith(f"{key}."):
            raise UserError(
                f"{elsewhere}: {where} sets {key} too; what only some bundles vary belongs into a space of theirs"
            )


def _require_listed(space: Space, path: str) -> None:
    for name, parameter in space.items():
        if isinstance(parameter, Range) and parameter.values() is None:
            raise UserError(f"{path}.{name}: a grid needs a list of values, or a step and no log")
        if isinstance(parameter, Bundles):
            for option, bundle in parameter.options.items():
                _require_listed(bundle.space, f"{path}.{name}.{option}.space")


def _count(parameter: Range | Choice | Bundles) -> int:
    if isinstance(parameter, Bundles):
        return sum(math.prod(_count(own) for own in bundle.space.values()) for bundle in parameter.options.values())
    return len(parameter.values()) if isinstance(parameter, Range) else len(parameter.values)


def _answers(name: str, parameter: Range | Choice | Bundles, path: str) -> Iterator[dict[str, Any]]:
    if isinstance(parameter, Range):
        yield from ({path + name: value} for value in parameter.values())
    elif isinstance(parameter, Choice):
        yield from ({path + name: label} for label in parameter.labelled())
    else:
        for option, bundle in parameter.options.items():
            for inner in _product(bundle.space, f"{path}{name}.{option}."):
                yield {path + name: option} | inner


def _product(space: Space, path: str) -> Iterator[dict[str, Any]]:
    for parts in itertools.product(*(list(_answers(name, own, path)) for name, own in space.items())):
        yield {key: value for part in parts for key, value in part.items()}


def _first(space: Space, path: str) -> dict[str, Any]:
    answers = {}
    for name, parameter in space.items():
        if isinstance(parameter, Range):
            answers[path + name] = parameter.low
        elif isinstance(parameter, Choice):
            answers[path + name] = next(iter(parameter.labelled()))
        else:
            option, bundle = next(iter(parameter.options.items()))
            answers |= {path + name: option} | _first(bundle.space, f"{path}{name}.{option}.")
    return answers


def _changes(space: Space, path: str) -> Iterator[dict[str, Any]]:
    """One parameter's other values at a time."""
    for name, parameter in space.items():
        if isinstance(parameter, Range):
            yield {path + name: parameter.high}
        elif isinstance(parameter, Choice):
            yield from ({path + name: label} for label in list(parameter.labelled())[1:])
        else:
            for option, bundle in parameter.options.items():
                inside = f"{path}{name}.{option}."
                chosen = {path + name: option} | _first(bundle.space, inside)
                yield chosen
                yield from (chosen | changes for changes in _changes(bundle.space, inside))


def _is_plain(word: str) -> bool:
    try:
        return bool(word) and "\n" not in word and parse_yaml(word, "") == word
    except UserError:
        return False
