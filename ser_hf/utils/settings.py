"""The base of every section of a recipe, and the types that several sections use."""

import re
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

# Transformers' options use these words for booleans.
_BOOLEAN_WORDS = {"yes": True, "on": True, "no": False, "off": False}
# Characters that are in no path and in no word of a recipe.
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_LARGEST_INTEGER = 2**63 - 1


class Settings(BaseModel):
    """A section of a recipe: immutable, typed, and without unknown keys.

    A field has its type, range, default and description in one place, as in
    `rate: Annotated[float, Field(gt=0, le=100, description="...")] = 1e-3`. Reading, checks, the
    reference page and the JSON schema follow from it. `ser_hf.utils.validation.validated` makes
    an instance from a mapping, with errors that name the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _convert(cls, value: Any, info: Any) -> Any:
        """A value in the type of the field, where YAML or Python write it in another way."""
        field = cls.model_fields[info.field_name]
        if value is None and null_means_off(field):
            return field.get_default(call_default_factory=True)
        return converted(value, annotation_of(field))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            if name in properties and null_means_off(field):
                properties[name] = _or_null(properties[name])
        return schema

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values for some fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(values | (self.model_extra or {}) | changes)

    def changed_keys(self) -> list[str]:
        """The keys whose values differ from their defaults; keys without a default are left out."""
        changed = []
        for name, field in type(self).model_fields.items():
            if field.is_required():
                continue
            if getattr(self, name) != field.get_default(call_default_factory=True):
                changed.append(name)
        return changed


class OneOf:
    """Annotation of a field whose value has one of several classes, chosen by one of its keys.

    `Annotated[CorpusSettings, OneOf("name", choices, class_of)]` reads a mapping as the class that
    `class_of` gives for the value of its key ``name``.

    Args:
        key: the key that chooses the class.
        choices: returns the values that the key may have; plug-ins may add some.
        class_of: the class for one of these values.
        default: the value of a missing key; None if the key is required.
        noun: what the key names, for messages; the key by default.
    """

    def __init__(
        self,
        key: str,
        choices: Callable[[], list[str]],
        class_of: Callable[[str], type[Settings]],
        default: str | None = None,
        noun: str | None = None,
    ):
        self.key = key
        self.choices = choices
        self.class_of = class_of
        self.default = default
        self.noun = noun or key

    def class_for(self, value: Any) -> type[Settings] | None:
        """The class for a mapping, or None if its key has none of the choices."""
        if isinstance(value, Settings):
            return type(value)
        if not isinstance(value, Mapping):
            return None
        choice = value.get(self.key, self.default)
        if not isinstance(choice, str) or choice not in self.choices():
            return None
        return self.class_of(choice)

    def read(self, value: Any) -> Any:
        """The settings of the chosen class; anything but a mapping is left to the field's type."""
        if not isinstance(value, Mapping):
            return value
        settings = self.class_for(value)
        if settings is not None:
            return settings.model_validate({self.key: self.default, **value})
        choice = value.get(self.key, self.default)
        problem = "missing" if choice is None else f"unknown {self.noun} {choice!r:.100}"
        raise ValueError(f"{self.key}: {problem}; choose one of {', '.join(self.choices())}")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        members = [self.class_of(choice) for choice in self.choices()]
        distinct = list(dict.fromkeys(members))
        return {"oneOf": [handler(member.__pydantic_core_schema__) for member in distinct]}


def null_means_off(field: FieldInfo) -> bool:
    """Whether null stands for the default of a field, because this default is off or empty.

    So it is for false, 0, an empty list, text or mapping, and a section, whose keys have their
    defaults then. Where null has a meaning of its own, it keeps it.
    """
    members = members_of(annotation_of(field))
    if field.is_required() or NoneType in members or Any in members:
        return False
    default = field.get_default(call_default_factory=True)
    return not default or isinstance(default, Settings)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a key that may also be null; its description and default stay outside."""
    outside = {key: schema[key] for key in ("description", "default", "title") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside}


def annotation_of(field: FieldInfo) -> Any:
    """The annotation of a field with its metadata, such as ranges."""
    if not field.metadata:
        return field.annotation
    return Annotated[(field.annotation, *field.metadata)]


def members_of(annotation: Any) -> list[Any]:
    """The alternatives of a union, or the annotation itself, without `Annotated`."""
    if get_origin(annotation) is Annotated:
        return members_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in members_of(part)]
    return [annotation]


def converted(value: Any, annotation: Any) -> Any:
    """A value as the type of an annotation, where YAML or Python write that type in another way.

    The words yes, on, no and off are booleans, whole floats are integers, tuples are lists, and
    the numbers and booleans that are keys of mappings with text keys are text as YAML spells it.
    Anything else is unchanged.

    Raises:
        ValueError: for control characters and for integers of more than 63 bits.
    """
    members = members_of(annotation)
    if isinstance(value, str):
        return _word(value, members)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, members)
    if isinstance(value, list | tuple):
        item = next((get_args(part)[0] for part in members if _is_list(part)), Any)
        return [converted(part, item) for part in value]
    if isinstance(value, Mapping):
        return _mapping(value, members)
    return value


def _word(value: str, members: list[Any]) -> str | bool:
    """Convert a word such as yes to a boolean where one is expected; keep other text."""
    if _CONTROL.search(value):
        raise ValueError(f"control characters are not allowed, got {value!r:.200}")
    is_text = str in members or any(value in _choices(member) for member in members)
    if bool in members and not is_text:
        return _BOOLEAN_WORDS.get(value.lower(), value)
    return value


def _number(value: float, members: list[Any]) -> float:
    """A number, as an integer where one is expected and it is whole."""
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ValueError("expected a number of at most 63 bits")
        return value
    if int in members and float not in members and value.is_integer():
        return int(value)
    return value


def _mapping(value: Mapping, members: list[Any]) -> Any:
    """A plain mapping with converted keys and values; the values of a section are unchanged."""
    mapping = next((part for part in members if _is_mapping(part)), None)
    if mapping is None:
        return value
    key_type, item = _item_types(mapping)
    converted_values = {}
    for key, part in value.items():
        text_key = key_as_text(key) if str in members_of(key_type) else key
        converted_values[text_key] = converted(part, item)
    return converted_values


def _choices(annotation: Any) -> tuple:
    """The values of a Literal."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def _is_mapping(annotation: Any) -> bool:
    """Whether a mapping is a plain value here. Settings convert their keys themselves."""
    return annotation is Any or dict in (annotation, get_origin(annotation))


def _item_types(mapping: Any) -> tuple[Any, Any]:
    """Types of the keys and of the values of a mapping."""
    return get_args(mapping) or (Any, Any)


def key_as_text(key: Any) -> Any:
    """A number or boolean as YAML spells it: the keys of ``{0: train, true: test}`` name cells."""
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    return str(key) if isinstance(key, int | float) else key


def _short_enough(text: str, expected: str) -> str:
    longest = max(map(len, text.encode().split(b"/")))
    if longest > 200 or len(text) > 1000 or re.search(r"[\n\r]", text):
        limits = "on one line, of at most 200 bytes (a path 1000)"
        raise ValueError(f"expected {expected} {limits}, got {text!r:.200}")
    return text


def _path(text: str) -> str:
    if not text:
        raise ValueError("expected a path, got an empty text")
    return _short_enough(text, "a path")


def _file_name(text: str) -> str:
    # Marks of the direction of writing and line separators make a name look like another one.
    if re.fullmatch(r"(?!\.+$)[^/\\\n\r\t\u2028-\u202e\u2066-\u2069]+", text) is None:
        raise ValueError(f"expected a name without slashes, got {text!r:.200}")
    return _short_enough(text, "a name")


def _each_once(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError(f"expected each value once, got {values!s:.200}")
    return values


PathName = Annotated[str, AfterValidator(_path)]
FileName = Annotated[str, AfterValidator(_file_name)]

# The largest values are far beyond any use, and far below what fails in the middle of a run.
Positive = Annotated[float, Field(gt=0, le=1e6)]
PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
NotNegativeInt = Annotated[int, Field(ge=0, le=1_000_000)]
# 1 is not included.
Share = Annotated[float, Field(ge=0, lt=1)]
# Neither 0 nor 1 is included.
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=1000), AfterValidator(_each_once)]
