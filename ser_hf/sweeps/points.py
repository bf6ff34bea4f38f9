"""Points of a space: what each sets, all of a grid, and those at which a space is checked."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .parameters import Bundles, Choice, Range, Settings, Space

# Of the way from a range's low end to its high one: no number that anybody would write.
_BETWEEN = (math.sqrt(5) - 1) / 2


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
    """Points that hold every bound, a value between them, and every choice and bundle at least once, each beside the
    others' first."""
    first = _first(space, "")
    yield first
    for changes in _changes(space, ""):
        yield first | changes


def identity(answers: Mapping[str, Any]) -> str:
    """A grid's point by name: the same in whatever order its keys stand."""
    return json.dumps(answers, sort_keys=True)


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


def between(parameter: Range) -> int | float:
    """What a draw may well be: of two whole ends a whole number, else none that a whole number's key takes."""
    values = parameter.values()
    if values is not None:
        return values[min(1, len(values) - 1)]
    if parameter.whole:
        return (parameter.low + parameter.high) // 2
    return parameter.low + _BETWEEN * (parameter.high - parameter.low)


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
            yield {path + name: between(parameter)}
            yield {path + name: parameter.high}
        elif isinstance(parameter, Choice):
            yield from ({path + name: label} for label in list(parameter.labelled())[1:])
        else:
            for option, bundle in parameter.options.items():
                inside = f"{path}{name}.{option}."
                chosen = {path + name: option} | _first(bundle.space, inside)
                yield chosen
                yield from (chosen | changes for changes in _changes(bundle.space, inside))
