"""The options of a network: type, limits, default and description of each, as plain values.

A field of a configuration class is an option:

    hop_length: Annotated[int, WholeNumber(1, 512), "samples from one frame to the next"] = 256

`options_of` lists the options of a class. The configuration checks its values with these options.
Other layers read the options to build a form, a page or a JSON schema. Nothing here imports more
than transformers, because this file is published beside the weights.
"""

import dataclasses
import functools
import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin

from transformers import PreTrainedConfig

# Larger numbers, also integers, have no float.
_LARGEST_FLOAT = 2.0**1023
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

# The keywords of JSON schemas that are used here; "not" is no name of Python.
JsonSchema = TypedDict(
    "JsonSchema",
    {
        "type": str,
        "enum": list[Any],
        "minimum": float,
        "exclusiveMinimum": float,
        "maximum": float,
        "exclusiveMaximum": float,
        "not": dict[str, int],
        "items": "JsonSchema",
        "minItems": int,
        "maxItems": int,
        "uniqueItems": bool,
        "anyOf": list["JsonSchema"],
        "default": Any,
        "description": str,
    },
    total=False,
)


class Limits:
    """The values that an option may have; `str` gives the words for an error message."""

    def allows(self, value: Any) -> bool:
        """Whether a value of any type is within the limits."""
        raise NotImplementedError

    def json_schema(self) -> JsonSchema:
        """Return the limits as a JSON schema."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class WholeNumber(Limits):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def allows(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def json_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high:,}"


@dataclasses.dataclass(frozen=True)
class OddNumber(Limits):
    """An odd number from 1 to `high`, so that a window of this size has a middle."""

    high: int

    def allows(self, value: Any) -> bool:
        return type(value) is int and 1 <= value <= self.high and value % 2 == 1

    def json_schema(self) -> JsonSchema:
        return {
            "type": "integer",
            "minimum": 1,
            "maximum": self.high,
            "not": {"multipleOf": 2},
        }

    def __str__(self) -> str:
        return f"an odd number from 1 to {self.high:,}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number(Limits):
    """A finite number between bounds, each of which may be missing."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None

    def allows(self, value: Any) -> bool:
        if not _has_type(value, float):
            return False
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.more_than is None or value > self.more_than)
            and (self.at_most is None or value <= self.at_most)
            and (self.less_than is None or value < self.less_than)
        )

    def json_schema(self) -> JsonSchema:
        bounds = {
            "minimum": self.at_least,
            "exclusiveMinimum": self.more_than,
            "maximum": self.at_most,
            "exclusiveMaximum": self.less_than,
        }
        present = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"type": "number", **present}

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"a number from {self.at_least:g} to {self.at_most:g}"
        bounds = []
        if self.at_least is not None:
            bounds.append(f"{self.at_least:g} or more")
        if self.more_than is not None:
            bounds.append(f"more than {self.more_than:g}")
        if self.at_most is not None:
            bounds.append(f"{self.at_most:g} or less")
        if self.less_than is not None:
            bounds.append(f"less than {self.less_than:g}")
        return f"a number of {' and '.join(bounds)}"


@dataclasses.dataclass(frozen=True)
class Items(Limits):
    """A list of `fewest` to `most` values, each within the limits `each`."""

    each: Limits
    fewest: int = 1
    most: int = 64

    def allows(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and self.fewest <= len(value) <= self.most
            and all(self.each.allows(item) for item in value)
        )

    def json_schema(self) -> JsonSchema:
        return {
            "type": "array",
            "items": self.each.json_schema(),
            "minItems": self.fewest,
            "maxItems": self.most,
        }

    def __str__(self) -> str:
        if self.fewest == self.most:
            count = str(self.most)
        elif self.fewest == 0:
            count = f"up to {self.most}"
        else:
            count = f"{self.fewest} to {self.most}"
        return f"a list of {count} values, each {self.each}"


@dataclasses.dataclass(frozen=True)
class SomeOf(Limits):
    """A list of one or more of `choices`, each at most once."""

    choices: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) > 0
            and all(item in self.choices for item in value)
            and len(set(value)) == len(value)
        )

    def json_schema(self) -> JsonSchema:
        return {
            "type": "array",
            "items": {"enum": list(self.choices)},
            "minItems": 1,
            "uniqueItems": True,
        }

    def __str__(self) -> str:
        return f"a list of some of {', '.join(self.choices)}, each once"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a network.

    Args:
        name: the key.
        kind: `bool`, `int`, `float`, `str`, a list of one of these, a `Literal`, or `Any`.
        nullable: whether the value may be None.
        limits: the limits of the values; None if the type alone limits them.
        default: the value if a configuration gives none; a tuple stands for a list.
        description: the meaning of the option, with its unit; empty if no class describes it.
    """

    name: str
    kind: Any
    nullable: bool
    limits: Limits | None
    default: Any
    description: str

    def allows(self, value: Any) -> bool:
        """Whether a configuration may have this value."""
        if value is None:
            return self.nullable or self.kind is Any
        if not _has_type(value, self.kind):
            return False
        return self.limits is None or self.limits.allows(value)

    @property
    def expected(self) -> str:
        """The allowed values in words."""
        words = str(self.limits) if self.limits is not None else _type_in_words(self.kind)
        return f"{words} or null" if self.nullable else words

    def json_schema(self) -> JsonSchema:
        """JSON schema of the values, with the default and the description."""
        schema = _type_schema(self.kind) if self.limits is None else self.limits.json_schema()
        if self.nullable:
            schema = {"anyOf": [schema, {"type": "null"}]}
        default = list(self.default) if isinstance(self.default, tuple) else self.default
        return schema | {"default": default, "description": self.description}


@functools.cache
def options_of(configuration: type[PreTrainedConfig]) -> dict[str, Option]:
    """Return the options of a configuration class of ser_hf, by name.

    The fields of every model of transformers are left out. If a class defines an option again (with
    another default or range), the description comes from the nearest base class that has one.
    """
    options = {}
    for field in dataclasses.fields(configuration):
        if field.name in PreTrainedConfig.__dataclass_fields__:
            continue
        values = _allowed_values(field.type)
        options[field.name] = Option(
            name=field.name,
            kind=values.kind,
            nullable=values.nullable,
            limits=values.limits,
            default=field.default,
            description=_description(configuration, field.name),
        )
    return options


@dataclasses.dataclass(frozen=True)
class _AllowedValues:
    """The parts of an annotation; see `Option`."""

    kind: Any
    nullable: bool
    limits: Limits | None


def _allowed_values(annotation: Any) -> _AllowedValues:
    """Divide an annotation into its parts."""
    limits = None
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *notes = get_args(annotation)
            for note in notes:
                if isinstance(note, Limits):
                    limits = note
        elif origin in (Union, UnionType) and NoneType in get_args(annotation):
            nullable = True
            annotation = next(part for part in get_args(annotation) if part is not NoneType)
        else:
            return _AllowedValues(annotation, nullable, limits)


def _description(configuration: type, name: str) -> str:
    for parent in configuration.__mro__:
        annotation = inspect.get_annotations(parent).get(name)
        if get_origin(annotation) is Annotated:
            for note in get_args(annotation)[1:]:
                if isinstance(note, str):
                    return note
    return ""


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a value has the type of an annotation.

    A boolean does not count as a number. An integer counts as a float. A float must be finite.
    """
    if kind is Any:
        return True
    origin = get_origin(kind)
    if origin is list:
        return isinstance(value, list) and all(_has_type(item, get_args(kind)[0]) for item in value)
    if origin is Literal:
        # The types are compared because 1 equals 1.0 and True.
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if kind is float:
        return type(value) in (int, float) and abs(value) < _LARGEST_FLOAT
    return type(value) is kind


def _type_in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is list:
        return f"a list, each item {_type_in_words(get_args(kind)[0])}"
    return _WORDS.get(kind, "any value")


def _type_schema(kind: Any) -> JsonSchema:
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is list:
        return {"type": "array", "items": _type_schema(get_args(kind)[0])}
    return {"type": _JSON_TYPES[kind]} if kind in _JSON_TYPES else {}
