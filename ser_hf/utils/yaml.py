"""Strict YAML 1.2: values checked against type annotations and ranges, with errors that name the
key's full path.

PyYAML follows YAML 1.1, which reads ``3e-5`` as a string and ``no`` as false. Size and depth are
bounded, and aliases and tags are refused, before any value is built, so that a file from anywhere
is read in bounded time.
"""

import contextlib
import dataclasses
import difflib
import math
import numbers
import os
import re
import stat
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from .errors import UserError

# Bounds of a YAML text: characters, values, nested collections, and digits of a whole number.
LARGEST = 1_000_000
MOST_VALUES = 30_000
DEEPEST = 32
MOST_DIGITS = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """`yaml.SafeLoader` with YAML 1.2 booleans and numbers, which refuses a key written twice."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            problem = None
            if not isinstance(key_node, yaml.ScalarNode):
                problem = "a key must be one word"
            elif key_node.tag.endswith(":merge"):
                problem = "merge keys (<<) are not supported"
            elif (key := self.construct_object(key_node, deep=True)) in seen:
                problem = f"the key '{key}' is there twice"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node):
        text = self.construct_scalar(node)
        if len(text) > MOST_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, "a number of too many digits", node.start_mark
            )
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Quotes exactly the words that `_Loader` would read as something else. libyaml is four times
    as fast.
    """

    yaml_implicit_resolvers = dict(_Loader.yaml_implicit_resolvers)

    def ignore_aliases(self, data):
        return True


_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
# in no path, and in no word of a recipe
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# words that Transformers' options use
_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}
_FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), "tTfF"
    )
    _side.add_implicit_resolver("tag:yaml.org,2002:int", _INT, "-+0123456789")
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, "-+0123456789.")


def dump_yaml(value: Any) -> str:
    """The text that `parse_yaml` reads back as `value`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=119)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; `source` (a file or a command-line override) is named when it is
    malformed.
    """
    try:
        _check_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml counts a line after the last one
        line = min(mark.line, text.count("\n")) + 1 if mark else None
        where = f"{source}, line {line}" if mark else source
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{where}: not valid YAML: {problem}") from None


def _check_bounds(text: str) -> None:
    """Refuse a text that takes long to build, or builds more than it says: aliases multiply, tags
    make objects.
    """
    if len(text) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} characters")
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        problem = (
            (count > MOST_VALUES and f"more than {MOST_VALUES:,} values")
            or (depth > DEEPEST and f"nested more than {DEEPEST} deep")
            or (
                isinstance(event, yaml.AliasEvent)
                and "aliases (*name) are not supported; write the value out"
            )
            or (getattr(event, "tag", None) not in (None, "!") and "tags (!name) are not supported")
        )
        if problem:
            raise yaml.parser.ParserError(None, None, problem, event.start_mark)


def read_text(path: str | Path, most: int | None = None) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; `most` bounds its bytes."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe may never end
            raise ValueError("not a file")
        if most is not None and status.st_size > most:
            raise ValueError(f"{status.st_size:,} bytes, expected at most {most:,}")
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as UTF-8 text: {getattr(error, 'strerror', error)}"
        ) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: for a file that cannot be read, is not valid YAML, or holds no mapping.
    """
    value = parse_yaml(read_text(path, LARGEST), str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected sections with keys, found {_describe(value)}")
    return value


def unknown_key(path: str, known: Iterable[str]) -> UserError:
    """The error for an unknown key at `path`, naming the nearest of the `known` keys beside it."""
    section, _, key = path.rpartition(".")
    nearest = difflib.get_close_matches(key[:100], list(known), n=1, cutoff=0.0)
    prefix = f"{section}." if section else ""
    hint = f"; the nearest known key is {prefix}{nearest[0]}" if nearest else ""
    return UserError(f"{path}: unknown key{hint}")


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite values that a number may have, as in ``Annotated[float, Range(above=0,
    below=1)]``.

    `min` and `max` are allowed themselves, `above` and `below` are not; `unit` is for the message.
    """

    min: float = -math.inf
    max: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    unit: str | None = None

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Callable) -> dict[str, Any]:
        """The bounds in a JSON schema (`ser-hf schema`)."""
        bounds = {"minimum": self.min, "maximum": self.max}
        bounds |= {"exclusiveMinimum": self.above, "exclusiveMaximum": self.below}
        return handler(core_schema) | {
            key: bound for key, bound in bounds.items() if math.isfinite(bound)
        }

    def holds(self, value: float) -> bool:
        return self.min <= value <= self.max and self.above < value < self.below

    def __str__(self) -> str:
        low = max(self.min, self.above)
        high = min(self.max, self.below)
        unit = f"{self.unit}, " if self.unit else ""
        if high < math.inf and low > -math.inf:
            words = (
                "more than {} and at most"
                if self.above == low and self.max == high
                else "between {} and"
            )
            return f"{unit}{words.format(f'{low:,.12g}')} {high:,.12g}"
        if high < math.inf:
            return f"{unit}less than {high:,.12g}"
        word = {0: "zero", 1: "one"}.get(low, f"{low:,.12g}")
        return f"{unit}more than {word}" if self.above > -math.inf else f"{unit}{word} or more"


@dataclasses.dataclass(frozen=True)
class Text:
    """The words that match a regular expression and that a file system takes; an annotation as
    `Range` is.
    """

    pattern: str
    expected: str

    def holds(self, value: str) -> bool:
        longest = max(map(len, value.encode().split(b"/")))
        return (
            longest <= 200 and len(value) <= 1000 and re.fullmatch(self.pattern, value) is not None
        )

    def __str__(self) -> str:
        return f"{self.expected} on one line, of at most 200 bytes (a path 1000)"


FileName = Annotated[
    str, Text(r"(?!\.+$)[^/\\\n\r\t\u2028-\u202e\u2066-\u2069]+", "a name without slashes")
]
PathName = Annotated[str, Text(r"[^\n\r]+", "a path")]


def coerce_fields(settings: Any, key: Callable[[str], str]) -> None:
    """Coerce and check the fields of a dataclass, in its `__post_init__`; `key` names a field in
    messages.
    """
    for name, hint in typing.get_type_hints(type(settings), include_extras=True).items():
        object.__setattr__(settings, name, coerce(getattr(settings, name), hint, key(name)))


def from_mapping(kind: type, values: Mapping[str, Any], path: str = "") -> Any:
    """A dataclass of type `kind` from a mapping, each value coerced to its field's annotation.

    A `ValueError` of the dataclass begins with the field's name; the message has the key's full
    path.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    coerced = {}
    for key, value in values.items():
        if key not in fields:
            raise unknown_key(_join(path, key), fields)
        coerced[key] = coerce(value, hints[key], _join(path, key))
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in coerced:
            raise UserError(f"{_join(path, name)}: missing; this key has no default")
    try:
        return kind(**coerced)
    except ValueError as error:
        raise UserError(_join(path, error)) from None


def coerce(value: Any, hint: Any, path: str) -> Any:
    """`value` as the type of the annotation `hint`, or a `UserError` that names `path`."""
    try:
        return _coerce(value, hint, path)
    except _Mismatch:
        raise UserError(f"{path}: expected {_spell(hint)}, got {_describe(value)}") from None


class _Mismatch(Exception):
    """The value does not fit this annotation; another member of a union may still take it."""


def _coerce(value: Any, hint: Any, path: str) -> Any:
    origin = typing.get_origin(hint) or hint
    arguments = typing.get_args(hint)
    if hint is Any:
        hint = next((kind for kind in (str, dict, list, tuple) if isinstance(value, kind)), None)
        return value if hint is None else coerce(value, hint, path)
    if origin is Annotated:
        value = _coerce(value, arguments[0], path)
        # annotations of other kinds are checked by the dataclass itself
        for bounds in arguments[1:]:
            if isinstance(bounds, Range | Text) and not bounds.holds(value):
                raise UserError(f"{path}: expected {bounds}, got {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for choice in _distinct(arguments):
            # A mapping or list matches one member only, whose own message reaches the user.
            with contextlib.suppress(_Mismatch):
                return _coerce(value, choice, path)
    elif origin in (list, tuple) and isinstance(value, list | tuple):
        item = arguments[0] if arguments else Any
        return origin(coerce(part, item, f"{path}[{i}]") for i, part in enumerate(value))
    elif origin is dict and isinstance(value, Mapping):
        return _coerce_mapping(value, *(arguments or (Any, Any)), path)
    elif dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(hint, value, path)
    elif hasattr(hint, "model_validate") and isinstance(value, Mapping):
        return _validated(hint, value, path)
    elif choices := _choices(hint):
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
    elif isinstance(hint, type):
        return _coerce_scalar(value, hint)
    raise _Mismatch


def _validated(kind: Any, values: Mapping[str, Any], path: str) -> Any:
    """A section that is a class of pydantic."""
    from pydantic import ValidationError

    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise _refusal(kind, error.errors()[0], path) from None


def _refusal(kind: Any, problem: Mapping[str, Any], path: str) -> UserError:
    """What a class of pydantic found wrong, as the error for the key's full path."""
    section = parent = kind
    for key in problem["loc"]:
        parent = section
        fields = getattr(section, "model_fields", {})
        section = fields[key].annotation if key in fields else None
        path = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
    if problem["type"] == "extra_forbidden":
        return unknown_key(path, parent.model_fields)
    if problem["type"] != "value_error":
        return UserError(f"{path}: {problem['msg']}, got {problem['input']!r}")
    message = problem["msg"].removeprefix("Value error, ")
    # The message of a class begins with the name of its field.
    return UserError(
        _join(path, message) if hasattr(section, "model_fields") else f"{path}: {message}"
    )


def _coerce_mapping(value: Mapping, key_hint: Any, value_hint: Any, path: str) -> dict:
    coerced = {}
    for key, content in value.items():
        here = _join(path, _key_text(key))
        key = coerce(_key_text(key) if key_hint is str else key, key_hint, f"{here} (the key)")
        coerced[key] = coerce(content, value_hint, here)
    return coerced


def _coerce_scalar(value: Any, hint: type) -> Any:
    if hint is bool and isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if hint in (int, float):
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        most = sys.float_info.max if hint is float else 2**63 - 1
        if number and abs(value) <= most and (hint is float or int(value) == value):
            return hint(value)
    elif isinstance(value, hint) and not (hint is str and _CONTROL.search(value)):
        return value
    raise _Mismatch


def _distinct(choices: tuple) -> list:
    """The members of a union. Transformers' ``SchedulerType | str`` means one of the enumeration's
    words.
    """
    words = any(isinstance(choice, type) and issubclass(choice, Enum) for choice in choices)
    return [choice for choice in choices if not (words and choice is str)]


def _choices(hint: Any) -> list | None:
    """The values of a Literal or an enumeration."""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    return (
        [member.value for member in hint]
        if isinstance(hint, type) and issubclass(hint, Enum)
        else None
    )


def _key_text(key: Any) -> Any:
    """A number or boolean as YAML spells it: the keys of ``{0: train, true: test}`` name cells of
    tables.
    """
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
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int) and value.bit_length() > 63:
        return "a number of more than 63 bits"
    if isinstance(value, str) and _CONTROL.search(value):
        return f"control characters, {value!r}"
    if isinstance(value, int | float | str):
        return f"the {'word' if isinstance(value, str) else 'number'} {value!r}"
    return "a mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def _spell(hint: Any) -> str:
    """Describe an annotation: ``float | None`` is 'a number or null'."""
    origin = typing.get_origin(hint) or hint
    arguments = typing.get_args(hint)
    if origin is Annotated:
        return _spell(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spell(choice) for choice in _distinct(arguments))
    if choices := _choices(hint):
        return "one of " + ", ".join(map(str, choices))
    if origin in (list, tuple):
        return (
            f"a list, each item {_spell(arguments[0])}"
            if arguments and arguments[0] is not Any
            else "a list"
        )
    if origin is dict or dataclasses.is_dataclass(hint):
        return "a mapping"
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a word",
        type(None): "null",
    }
    return words.get(hint, getattr(hint, "__name__", str(hint)))
