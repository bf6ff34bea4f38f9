"""Sections of a recipe: conversions of YAML's values, copies, and classes chosen by a key."""

import math
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from ser_hf.utils.settings import FileName, OneOf, PathName, Seeds, Settings, converted
from ser_hf.utils.yaml import dump_yaml, parse_yaml


class Inner(Settings):
    rate: Annotated[float, Field(gt=0, description="a rate")] = 0.5
    words: Annotated[dict[str, int], Field(description="counts of words")] = {}


class Outer(Settings):
    inner: Annotated[Inner, Field(description="a section")] = Inner()
    switch: Annotated[bool, Field(description="on or off")] = False
    count: Annotated[int, Field(description="a count")] = 1
    needed: Annotated[str, Field(description="without a default")]


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("yes", bool, True),
        ("On", bool, True),
        ("no", bool | None, False),
        ("OFF", bool, False),
        ("no", str | bool, "no"),
        ("no", Literal["all", "no"] | bool, "no"),
        (2.0, int, 2),
        (2.0, int | None, 2),
        (2.0, float | int, 2.0),
        (2.5, int, 2.5),
        ((1, 2.0), list[int], [1, 2]),
        ({0: 1.0, True: 2, 1.5: 3}, dict[str, int], {"0": 1, "true": 2, "1.5": 3}),
        ({0: 1}, dict[int, int], {0: 1}),
        ({0: 1}, dict, {0: 1}),
        ({0: "a"}, Inner, {0: "a"}),
        (["yes"], list[bool], [True]),
    ],
)
def test_a_value_becomes_the_type_that_it_is_written_for(value, annotation, expected):
    result = converted(value, annotation)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", 2**70, {"deep": ["\x1b"]}])
def test_what_no_recipe_needs_is_refused_wherever_it_stands(value):
    with pytest.raises(ValueError, match="control characters|63 bits"):
        converted(value, Any)


@pytest.mark.parametrize("text", ["{0: x, -1: y}", "{true: x}", "{1.5: x, 1e20: z}", "{'007': x}"])
def test_keys_of_mappings_are_read_back_as_written(text):
    read = converted(parse_yaml(text, "here"), dict[str, str])
    assert converted(parse_yaml(dump_yaml(read), "here"), dict[str, str]) == read


def test_a_section_cannot_be_changed_but_replaced():
    settings = Outer(needed="x")
    with pytest.raises(ValidationError):
        settings.count = 2
    changed = settings.replace(count=2, inner=settings.inner.replace(rate=1))
    assert (changed.count, changed.inner.rate, changed.needed) == (2, 1.0, "x")
    assert settings.count == 1
    with pytest.raises(ValidationError):
        settings.replace(inner={"rate": -1})


def test_changed_keys_are_those_that_differ_from_their_defaults():
    assert Outer(needed="x").changed_keys() == []
    assert Outer(needed="x", inner={"rate": 2}, count=3).changed_keys() == ["inner", "count"]


class Circle(Settings):
    kind: Literal["circle"] = "circle"
    radius: Annotated[float, Field(gt=0, description="of the circle")] = 1.0


class Square(Settings):
    kind: Literal["square"] = "square"
    side: Annotated[float, Field(gt=0, description="of the square")] = 1.0


class Figure(Settings):
    form: Annotated[
        Settings,
        OneOf("kind", lambda: ["circle", "square"], {"circle": Circle, "square": Square}.get),
    ]


def test_a_key_chooses_the_class():
    assert Figure(form={"kind": "square", "side": 2}).form == Square(side=2)
    assert Figure(form=Circle()).form == Circle()
    for form in ({"kind": "triangle"}, {"side": 2}, {"kind": "circle", "side": 2}, 5):
        with pytest.raises(ValidationError):
            Figure(form=form)


def test_the_schema_has_one_member_for_each_class():
    members = Figure.model_json_schema()["properties"]["form"]["oneOf"]
    assert len(members) == 2


@pytest.mark.parametrize(
    ("kind", "value"), [(PathName, "a/b c"), (FileName, "run 1"), (Seeds, [0, 2])]
)
def test_common_types_take_usual_values(kind, value):
    settings = type("One", (Settings,), {"__annotations__": {"value": kind}})
    assert settings(value=value).value == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PathName, ""),
        (PathName, "a\nb"),
        (PathName, "x" * 201),
        (FileName, "a/b"),
        (FileName, ".."),
        (FileName, "a\u202eb"),
        (Seeds, []),
        (Seeds, [1, 1]),
        (Seeds, [-1]),
        (Seeds, [2**32]),
        (Seeds, [math.inf]),
    ],
)
def test_common_types_refuse_what_a_run_cannot_use(kind, value):
    settings = type("One", (Settings,), {"__annotations__": {"value": kind}})
    with pytest.raises(ValidationError):
        settings(value=value)
