"""What no space may do: vary what must be alike in all trials, discard a section, set one key from two places."""

import dataclasses
import functools
import itertools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import UserError
from ..sections import Recipe
from .parameters import Bundles, Choice, Range, Space

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
    "training.seeds": "the best of several seeds is luck; list them in the recipe, and each trial is their mean",
}
# What a leaderboard's columns are called; those of bundles stand beside them.
_COLUMNS = ("rank", "trial", "state", "epochs", "seconds", "message")


def refuse_reserved(key: str, path: str) -> None:
    for reserved, why in RESERVED.items():
        if key == reserved or key.startswith(f"{reserved}."):
            raise UserError(f"{path}: cannot vary; {why}")


def refuse_section(key: str, value: Any, path: str) -> None:
    """A section that is set as a whole would lose what the recipe says of it, and bring in what must not vary."""
    if key in _sections() and isinstance(value, Mapping):
        raise UserError(
            f"{path}: {key} is a section, whose other keys would be lost; set its keys one by one, with a dot, such "
            f"as {key}.{next(iter(value), 'key')}"
        )


def refuse_name(name: str, path: str) -> None:
    """Of bundles: a word that is nothing else already."""
    if name in _sections() or "." in name:
        raise UserError(
            f"{path}: bundles have a name of their own, without a dot; keys of a section are written with one, as "
            "training.learning_rate"
        )
    if name in _COLUMNS or name.startswith(("judged_by_", "validation_")):
        raise UserError(f"{path}: the leaderboard has a column of that name; choose another one for the bundles")


def refuse_strange(value: Any, path: str) -> None:
    """What YAML can say and JSON cannot: dates, bytes, sets."""
    if isinstance(value, Mapping):
        for key, own in value.items():
            refuse_strange(own, f"{path}.{key}")
    elif isinstance(value, list):
        for own in value:
            refuse_strange(own, path)
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise UserError(f"{path}: expected words, numbers, true, false or null, got a {type(value).__name__}")


def keys_of(space: Space, path: str) -> list[tuple[str, str]]:
    """(recipe key, where it is set) of all that a space may set."""
    return [pair for name, own in space.items() for pair in _keys(name, own, f"{path}.{name}")]


@functools.cache
def _sections() -> frozenset[str]:
    def below(kind: type, path: str) -> Iterator[str]:
        for name, hint in typing.get_type_hints(kind).items():
            if dataclasses.is_dataclass(hint):
                yield path + name
                yield from below(hint, f"{path}{name}.")

    return frozenset(below(Recipe, ""))


def _keys(name: str, parameter: Range | Choice | Bundles, path: str) -> list[tuple[str, str]]:
    """(recipe key, where it is set) of all that a parameter may set, those of several bundles once each."""
    if not isinstance(parameter, Bundles):
        return [(name, path)]
    keys = {}
    for option, bundle in parameter.options.items():
        inner = [pair for n, own in bundle.space.items() for pair in _keys(n, own, f"{path}.{option}.space.{n}")]
        own = [(key, f"{path}.{option}.{key}") for key in bundle.settings] + inner
        refuse_twice(own)
        keys |= {key: where for key, where in own if key not in keys}
    return list(keys.items())


def refuse_twice(keys: list[tuple[str, str]]) -> None:
    """One key, or a key and its section, cannot be set from two places at once: one of them would vary nothing."""
    for (key, where), (other, elsewhere) in itertools.combinations(keys, 2):
        if key == other or key.startswith(f"{other}.") or other.startswith(f"{key}."):
            raise UserError(
                f"{elsewhere}: {where} sets {key} too; what only some bundles vary belongs into a space of theirs"
            )


def refuse_same_names(space: Space, path: str) -> None:
    """Optuna knows a parameter by its bundles' names and its own; two of one name would be one to it."""
    seen = set()
    for name in _names(space, ""):
        if name in seen:
            raise UserError(f"{path}: two parameters are both called {name}; give one of their bundles another name")
        seen.add(name)


def _names(space: Space, path: str) -> Iterator[str]:
    for name, parameter in space.items():
        yield path + name
        if isinstance(parameter, Bundles):
            for option, bundle in parameter.options.items():
                yield from _names(bundle.space, f"{path}{name}.{option}.")


def refuse_moving_loss(keys: Iterable[tuple[str, str]]) -> None:
    """Smoothed, focal or weighted losses are other numbers of the same model."""
    for key, where in keys:
        if key == "training.loss" or key.startswith("training.loss."):
            raise UserError(
                f"metric: {where} changes what the loss is, so that trials' losses say nothing of each other; judge "
                "them by uar"
            )


def require_small_grid(space: Space) -> None:
    _require_listed(space, "space")
    points = math.prod(_count(parameter) for parameter in space.values())
    if points > LARGEST_GRID:
        raise UserError(f"search: a grid of {points} points; shorten its lists, or search by tpe or random")


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
