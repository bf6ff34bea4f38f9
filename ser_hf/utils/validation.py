"""Settings from mappings: an error is one line with the key, what is expected, and the value."""

import difflib
from collections.abc import Iterable, Mapping
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .errors import UserError
from .settings import OneOf, Settings, annotation_of, members_of

Kind = TypeVar("Kind", bound=Settings)

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "null",
    list: "a list",
    dict: "a mapping",
}
# Problems whose message is written by this package.
_OWN_MESSAGES = ("value_error", "wrong_value")
# A known key with at least this similarity to an unknown one is meant (difflib's ratio).
_NEAR = 0.5
# So many known keys are listed if none of them is near.
_MOST_LISTED = 15


def validated(kind: type[Kind], values: Any, path: str = "") -> Kind:
    """Make settings from a mapping, and check them.

    Args:
        kind: the class.
        values: the mapping; anything else is an error.
        path: the key of the mapping, which messages begin with.

    Raises:
        UserError: for the first wrong key: its full path, what is expected, and its value.
    """
    if isinstance(values, Mapping):
        for key in values:
            if not isinstance(key, str) or not key.isprintable():
                known = ", ".join(kind.model_fields)
                raise UserError(f"{_join(path, key)}: unknown key; the keys are {known:.300}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise user_error(kind, values, error, path) from None


def user_error(kind: type[BaseModel], values: Any, error: ValidationError, path: str) -> UserError:
    """The error of pydantic for a class and its values as one line.

    Of a union there is one problem for each member: the one deepest inside the value names what
    is wrong, because a list or mapping fits one member only.
    """
    problems = [_Problem(kind, values, problem) for problem in error.errors(include_url=False)]
    unknown = [problem for problem in problems if problem.type == "extra_forbidden"]
    # A misspelt key may also be a missing one.
    first = (unknown or problems)[0]
    same_key = [problem for problem in problems if problem.keys[: len(first.keys)] == first.keys]
    deepest = max(same_key, key=lambda problem: len(problem.keys))
    return deepest.user_error(path)


def unknown_key(path: str, known: Iterable[str]) -> UserError:
    """The error for an unknown key at `path`.

    It names the nearest of the `known` keys beside it. If there are few keys and none is near, as
    none is to ``n``, it lists them all.
    """
    section, _, key = path.rpartition(".")
    known_keys = list(known)
    prefix = f"{section}." if section else ""
    near_keys = difflib.get_close_matches(key[:100], known_keys, n=1, cutoff=_NEAR)
    nearest_keys = near_keys or difflib.get_close_matches(key[:100], known_keys, n=1, cutoff=0.0)
    if not near_keys and 1 < len(known_keys) <= _MOST_LISTED:
        return UserError(f"{path}: unknown key; the keys are {', '.join(known_keys)}")
    hint = f"; the nearest known key is {prefix}{nearest_keys[0]}" if nearest_keys else ""
    return UserError(f"{path}: unknown key{hint}")


class Options(Settings):
    """Options of a command and of its function; a wrong value is a `UserError` that names it.

    The error names the field as the command line does: ``--batch-size`` for `batch_size`.
    """

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            message = str(user_error(type(self), values, error, ""))
            name, colon, problem = message.partition(":")
            raise UserError(f"--{name.replace('_', '-')}{colon}{problem}") from None


class _Problem:
    """A problem that pydantic found, with the keys that lead to it.

    The location that pydantic gives also has steps for members of unions and for validators; they
    are left out here.
    """

    def __init__(self, kind: type[BaseModel], values: Any, problem: Mapping[str, Any]):
        self.type = problem["type"]
        self.message = problem["msg"].removeprefix("Value error, ")
        self.input = problem["input"]
        self.keys: list[str | int] = []
        # The annotation of the value at `keys`.
        self.annotation: Any = kind
        # The class that has the unknown key, if one is unknown.
        self.section: type[BaseModel] = kind
        value = values
        for step in problem["loc"]:
            below = _step(self.annotation, value, step)
            if below is not None:
                self.annotation, value = below
                self.keys.append(step)
            elif self.type in ("extra_forbidden", "wrong_value", "missing", "invalid_key"):
                classes = _classes(self.annotation, value)
                if classes and len(classes) < 2:
                    self.section = classes[0]
                if step == problem["loc"][-1] or not _is_tag(step):
                    self.keys.append(step)
                value = value.get(step) if isinstance(value, Mapping) else None
                self.annotation = Any

    def _missing(self) -> str:
        chosen = _one_of(self.annotation)
        if chosen is None:
            return ": missing; this key has no default"
        return f".{chosen.key}: missing; choose one of {', '.join(chosen.choices())}"

    def user_error(self, path: str) -> UserError:
        full = path
        for key in self.keys:
            full = f"{full}[{key}]" if isinstance(key, int) else _join(full, key)
        if self.type == "extra_forbidden":
            return unknown_key(full, self.section.model_fields)
        if self.type == "invalid_key":
            return UserError(f"{full}: unknown key; a key is a text")
        if self.type == "missing":
            return UserError(f"{full}{self._missing()}")
        if self.type in _OWN_MESSAGES:
            # The message of a check of a whole section begins with the name of its key.
            of_section = bool(_classes(self.annotation, self.input)) and self.type == "value_error"
            return UserError(_join(full, self.message) if of_section else f"{full}: {self.message}")
        return UserError(
            f"{full}: expected {expected(self.annotation)}, got {described(self.input)}"
        )


def _one_of(annotation: Any) -> OneOf | None:
    """How the class of a section is chosen, if there are several."""
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((note for note in notes if isinstance(note, OneOf)), None)


def _step(annotation: Any, value: Any, step: str | int) -> tuple[Any, Any] | None:
    """Annotation and value one key further, or None if the step is no key."""
    for kind in _classes(annotation, value):
        if isinstance(step, str) and step in kind.model_fields:
            item = value.get(step) if isinstance(value, Mapping) else None
            return annotation_of(kind.model_fields[step]), item
    for member in members_of(annotation):
        if get_origin(member) is list and isinstance(step, int):
            is_there = isinstance(value, list | tuple) and step < len(value)
            return get_args(member)[0], value[step] if is_there else None
        if get_origin(member) is dict and isinstance(value, Mapping):
            item_key = _key_of(value, step)
            if item_key is not None:
                return get_args(member)[1], value[item_key]
    return None


def _key_of(mapping: Mapping, step: str | int) -> Any:
    """The key of a mapping that a step stands for: as text, where the mapping has a number."""
    if step in mapping:
        return step
    return next((key for key in mapping if str(key) == str(step)), None)


def _classes(annotation: Any, value: Any) -> list[type[BaseModel]]:
    """The classes of settings that a value of this annotation can have."""
    one_of = _one_of(annotation)
    chosen = one_of.class_for(value) if one_of else None
    if chosen is not None:
        return [chosen]
    members = members_of(annotation)
    return [kind for kind in members if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _is_tag(step: str | int) -> bool:
    """Whether a step of a location names a member of a union or a validator."""
    return isinstance(step, str) and (step in _PLAIN_TAGS or "[" in step or "-" in step)


_PLAIN_TAGS = {"int", "float", "str", "bool", "none", "list", "dict"}


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def expected(annotation: Any) -> str:
    """An annotation in words: ``float | None`` with a range is 'a number of 0 or more or null'."""
    if get_origin(annotation) is Annotated:
        return _with_notes(*get_args(annotation))
    members = _alternatives(annotation)
    if len(members) > 1:
        return _either([expected(member) for member in members])
    if isinstance(annotation, type):
        return _type_in_words(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if origin is list and get_args(annotation)[0] is not Any:
        return f"a list, each item {expected(get_args(annotation)[0])}"
    return _WORDS.get(origin, "another value")


def _with_notes(base: Any, *notes: Any) -> str:
    """A type with the ranges among its notes; null has no range."""
    limits = [limit for note in notes for limit in _limits(note)]
    if not limits:
        return expected(base)
    words = []
    for member in members_of(base):
        words.append(expected(member) if member is NoneType else _with_limits(member, limits))
    return _either(words)


def _type_in_words(kind: type) -> str:
    if issubclass(kind, BaseModel):
        return "a mapping"
    if issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return _WORDS.get(kind, "another value")


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union with their own ranges."""
    if len(members_of(annotation)) < 2:
        return [annotation]
    return list(get_args(annotation))


def _either(words: list[str]) -> str:
    """'a, b or c', each word once."""
    *others, last = dict.fromkeys(words)
    if not others:
        return last
    # A comma inside of a word would hide where it ends.
    joint = ", or " if any("," in word for word in others) else " or "
    return f"{', '.join(others)}{joint}{last}"


def _limits(note: Any) -> list[Any]:
    if isinstance(note, FieldInfo):
        return [limit for item in note.metadata for limit in _limits(item)]
    if isinstance(note, Interval):
        return list(note)
    return [note] if isinstance(note, Ge | Gt | Le | Lt | MinLen | MaxLen) else []


def _with_limits(kind: Any, limits: list[Any]) -> str:
    """A type with its range: 'a number of more than 0 and at most 100'."""
    at_least = more_than = at_most = less_than = None
    for limit in limits:
        if isinstance(limit, Ge):
            at_least = limit.ge
        elif isinstance(limit, Gt):
            more_than = limit.gt
        elif isinstance(limit, Le):
            at_most = limit.le
        elif isinstance(limit, Lt):
            less_than = limit.lt
        elif isinstance(limit, MinLen):
            at_least = limit.min_length
        elif isinstance(limit, MaxLen):
            at_most = limit.max_length
    bounds = _bounds(at_least, more_than, at_most, less_than)
    if not bounds:
        return expected(kind)
    if get_origin(kind) is list:
        item = expected(get_args(kind)[0])
        return f"a list of {bounds.removeprefix('from ')} items, each {item}"
    if kind is str:
        return f"a text of {bounds.removeprefix('from ')} characters"
    joint = " " if bounds.startswith("from") else " of "
    return f"{expected(kind)}{joint}{bounds}"


def _bounds(
    at_least: float | None, more_than: float | None, at_most: float | None, less_than: float | None
) -> str:
    """'from 0 to 5', or 'more than 0 and less than 1'; empty without bounds."""
    if at_least is not None and at_most is not None:
        return f"from {at_least:,.12g} to {at_most:,.12g}"
    words = {
        "at least": at_least,
        "more than": more_than,
        "at most": at_most,
        "less than": less_than,
    }
    present = [f"{word} {bound:,.12g}" for word, bound in words.items() if bound is not None]
    return " and ".join(present)


def described(value: Any) -> str:
    """A value in words: the type where it may be surprising, and the value shortened."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int) and value.bit_length() > 63:
        return "a number of more than 63 bits"
    if isinstance(value, str):
        return f"the word {value!r:.200}"
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, Mapping | BaseModel):
        return "a mapping"
    return f"a list, {value!s:.200}" if isinstance(value, list) else f"a {type(value).__name__}"
