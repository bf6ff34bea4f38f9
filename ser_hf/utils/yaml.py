"""Strict YAML: values checked against type annotations and ranges, with errors that name the key's full path.

YAML 1.1, as PyYAML speaks it, reads ``3e-5`` as a string and ``no`` as false: both have ruined training recipes.
`read_yaml` follows YAML 1.2 instead, where only ``true`` and ``false`` are booleans and ``3e-5`` is a number.
"""

import contextlib
import dataclasses
import difflib
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from .errors import UserError


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` with YAML 1.2 booleans and numbers, refusing a key written twice."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one word", key_node.start_mark)
            if key_node.tag.endswith(":merge"):
                raise yaml.constructor.ConstructorError(None, None, "no merge keys (<<)", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                twice = f"the key '{key}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, twice, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        text = self.construct_scalar(node)
        try:
            return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
        except ValueError:
            problem = f"{text!r} is no whole number"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Quotes exactly the words that `_Loader` would take for something else. libyaml's where there is one: the same
    text, four times as fast. (Its loader names the wrong line for what is not closed.)"""

    yaml_implicit_resolvers = dict(_Loader.yaml_implicit_resolvers)


_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF")
    _side.add_implicit_resolver("tag:yaml.org,2002:int", _INT, "-+0123456789")
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, "-+0123456789.")


def dump_yaml(value: Any) -> str:
    """The text that `parse_yaml` reads back as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=119)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` (a file or a command-line override) is named when it is malformed."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise UserError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds."""
    value = parse_yaml(read_text(path), str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected sections with keys, found {_describe(value)}")
    return value


def unknown_key(path: str, known: Iterable[str]) -> UserError:
    """The error for an unknown key at `path`, naming the nearest of the `known` keys beside it."""
    section, _, key = path.rpartition(".")
    nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
    prefix = f"{section}." if section else ""
    hint = f"; the nearest known key is {prefix}{nearest[0]}" if nearest else ""
    return UserError(f"{path}: unknown key{hint}")


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite values that a number may have, as in ``Annotated[float, Range(above=0, below=1)]``.

    Args:
        min, max: bounds that are allowed themselves.
        above, below: bounds that are not.
        unit: for the message.
    """

    min: float = -math.inf
    max: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    unit: str | None = None

    def holds(self, value: float) -> bool:
        return self.min <= value <= self.max and self.above < value < self.below

    def __str__(self) -> str:
        low, high = max(self.min, self.above), min(self.max, self.below)
        unit = f"{self.unit}, " if self.unit else ""
        if high < math.inf:
            return (
                f"{unit}between {low:,.12g} and {high:,.12g}" if low > -math.inf else f"{unit}less than {high:,.12g}"
            )
        words = {0: "zero", 1: "one"}
        word = words.get(low, f"{low:,.12g}")
        return f"{unit}more than {word}" if self.above > -math.inf else f"{unit}{word} or more"


def coerce_fields(settings: Any, key: Callable[[str], str]) -> None:
    """Coerces and checks the fields of a dataclass that is made in Python, for its `__post_init__`.

    Args:
        key: the name that the user knows a field by, such as a flag.

    Raises:
        UserError: naming the first field with a wrong value.
    """
    for name, hint in typing.get_type_hints(type(settings), include_extras=True).items():
        object.__setattr__(settings, name, coerce(getattr(settings, name), hint, key(name)))


def from_mapping(kind: type, values: Mapping[str, Any], path: str = "") -> Any:
    """A dataclass of type `kind` from a mapping, each value coerced to its field's annotation.

    Raises:
        UserError: for an unknown key, a missing one, a wrong type, or a value that the dataclass itself refuses with a
            `ValueError` beginning with the field's name; with the key's full path.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    coerced = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown_key(_join(path, key), fields)
        coerced[key] = coerce(value, hints[key], _join(path, key))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in coerced:
            raise UserError(f"{_join(path, name)}: missing; this key has no default")
    try:
        return kind(**coerced)
    except ValueError as error:  # what a type cannot say: the message begins with the field's name
        raise UserError(_join(path, error)) from None


def coerce(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type that the annotation `hint` asks for, or a `UserError` naming `path`."""
    try:
        return _coerce(value, hint, path)
    except _Mismatch:
        raise UserError(f"{path}: expected {_spell(hint)}, got {_describe(value)}") from None


class _Mismatch(Exception):
    """The value does not fit this annotation; another member of a union may still take it."""


def _coerce(value: Any, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        value = _coerce(value, arguments[0], path)
        for bounds in arguments[1:]:  # annotations of other kinds are checked by the dataclass itself
            if isinstance(bounds, Range) and not bounds.holds(value):
                raise UserError(f"{path}: expected {bounds}, got {value}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, arguments, path)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise _Mismatch
    if origin in (list, tuple) or hint in (list, tuple):
        if not isinstance(value, list | tuple):
            raise _Mismatch
        item = arguments[0] if arguments else Any
        return (origin or hint)(coerce(part, item, f"{path}[{i}]") for i, part in enumerate(value))
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise _Mismatch
        key_hint, value_hint = arguments or (Any, Any)
        taken = {}
        for key, content in value.items():
            here = _join(path, _key_text(key))
            taken_key = coerce(_key_text(key) if key_hint is str else key, key_hint, f"{here} (the key)")
            if taken_key in taken:
                raise UserError(f"{here}: stands twice, once as a number or a truth value and once in quotes")
            taken[taken_key] = coerce(content, value_hint, here)
        return taken
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _Mismatch
        return from_mapping(hint, value, path)
    if isinstance(hint, type) and issubclass(hint, Enum):
        if value in [member.value for member in hint]:
            return value
        raise _Mismatch
    return _coerce_scalar(value, hint)


def _coerce_union(value: Any, choices: tuple, path: str) -> Any:
    if value is None and type(None) in choices:
        return None
    choices = [choice for choice in choices if choice is not type(None)]
    # `SchedulerType | str`, as transformers annotates its words, means one of the enumeration's words.
    if any(isinstance(choice, type) and issubclass(choice, Enum) for choice in choices):
        choices = [choice for choice in choices if choice is not str]
    for choice in choices:
        # A mapping or list belongs to the one member that can hold it, so that its own complaint reaches the user.
        try:
            return _coerce(value, choice, path)
        except _Mismatch:
            continue
    raise _Mismatch


def _coerce_scalar(value: Any, hint: Any) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        words = {"yes": True, "on": True, "no": False, "off": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
    elif hint is int:
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif hint is float:
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                return float(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise _Mismatch


def _key_text(key: Any) -> Any:
    """A number or truth value as the word that a mapping of words has for it, in YAML's spelling: the keys of
    ``{0: train, true: test}`` name cells of tables, which are words."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    return str(key) if isinstance(key, int | float) else key


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _describe(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    names = {bool: "the boolean", int: "the number", float: "the number", str: "the word"}
    kind = next((name for t, name in names.items() if type(value) is t), None)
    if kind is None:
        return "a mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    return f"{kind} {str(value).lower() if isinstance(value, bool) else repr(value)}"


def _spell(hint: Any) -> str:
    """An annotation in words: ``float | None`` is 'a number or null'."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _spell(arguments[0])
    if origin in (typing.Union, types.UnionType):
        if any(isinstance(choice, type) and issubclass(choice, Enum) for choice in arguments):
            arguments = tuple(choice for choice in arguments if choice is not str)
        return " or ".join(_spell(choice) for choice in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(str(member.value) for member in hint)
    if origin in (list, tuple) or hint in (list, tuple):
        item = arguments[0] if arguments else Any
        return f"a list, each item {_spell(item)}" if item is not Any else "a list"
    if origin is dict or hint is dict or dataclasses.is_dataclass(hint):
        return "a mapping"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
