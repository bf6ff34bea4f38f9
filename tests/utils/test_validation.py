"""Errors of settings: one line with the full key, what is expected, and the value."""

from enum import Enum
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, field_validator, model_validator

from ser_hf.utils.errors import UserError
from ser_hf.utils.settings import OneOf, Settings, Share
from ser_hf.utils.validation import Options, expected, unknown_key, validated


class Inner(Settings):
    rate: Annotated[float, Field(gt=0, le=100, description="a rate")] = 0.5
    names: Annotated[list[Literal["a", "b"]], Field(description="some names")] = []
    part: Annotated[Share | list[int | str], Field(description="a share, or a list")] = 0.1

    @field_validator("names")
    @classmethod
    def _check_names(cls, names: list[str]) -> list[str]:
        if len(names) > 2:
            raise ValueError("too many")
        return names

    @model_validator(mode="after")
    def _check_rate(self) -> Self:
        if self.rate == 13:
            raise ValueError("rate: not this one")
        return self


class First(Settings):
    kind: Literal["first"] = "first"
    size: Annotated[int, Field(ge=1, description="a size")] = 1


class Second(Settings):
    kind: Literal["second"] = "second"


class Outer(Settings):
    inner: Annotated[Inner, Field(description="a section")] = Inner()
    by_name: Annotated[dict[str, Inner], Field(description="sections")] = {}
    needed: Annotated[int, Field(description="without a default")] = Field()
    chosen: Annotated[
        First | Second,
        OneOf("kind", lambda: ["first", "second"], {"first": First, "second": Second}.get),
    ] = First()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"rate": "x"}}, "s.inner.rate: "),
        ({"inner": {"rate": 0}}, "s.inner.rate: expected a number of more than 0 and at most 100"),
        ({"inner": {"rate": True}}, "s.inner.rate: "),
        ({"inner": {"rate": float("nan")}}, "s.inner.rate: "),
        ({"inner": {"rate": None}}, "s.inner.rate: "),
        ({"inner": {"rate": 13}}, "s.inner.rate: not this one"),
        ({"inner": {"rat": 1}}, "s.inner.rat: unknown key; the nearest known key is s.inner.rate"),
        ({"inner": {"names": ["a", "c"]}}, "s.inner.names[1]: expected one of a, b, got the word"),
        ({"inner": {"names": ["a", "a", "a"]}}, "s.inner.names: too many"),
        ({"inner": {"names": "a"}}, "s.inner.names: expected a list"),
        ({"inner": {"part": [1, {}]}}, "s.inner.part[1]: "),
        ({"inner": {"part": 2}}, "s.inner.part: expected a number of at least 0 and less than 1"),
        ({"inner": 7}, "s.inner: expected a mapping"),
        ({"needed": None}, "s.needed: expected a whole number, got nothing (null)"),
        ({"by_name": {"x": {"rate": -1}}}, "s.by_name.x.rate: "),
        ({"inne": {}}, "s.inne: unknown key"),
        ({}, "s.needed: missing"),
        ({"needed": 2.5}, "s.needed: "),
        ({"needed": 2**80}, "s.needed: expected a number of at most 63 bits"),
        ({"needed": "\0"}, "s.needed: control characters"),
        ({"needed": 1, "chosen": {"kind": "third"}}, "s.chosen.kind: unknown kind 'third'; choose"),
        ({"needed": 1, "chosen": {"kind": "first", "size": 0}}, "s.chosen.size: expected "),
        ({"needed": 1, "chosen": {"kind": "second", "size": 1}}, "s.chosen.size: unknown key"),
        ({"needed": 1, 5: 1}, "s.5: unknown key"),
        ([1], "s: expected a mapping"),
    ],
)
def test_a_wrong_value_is_named_by_its_full_key(values, message):
    with pytest.raises(UserError) as error:
        validated(Outer, values, "s")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_right_values_become_settings():
    settings = validated(Outer, {"needed": 2, "inner": {"rate": 1}, "chosen": {"kind": "second"}})
    assert settings == Outer(needed=2, inner=Inner(rate=1), chosen=Second())


class Word(Enum):
    LINEAR = "linear"
    COSINE = "cosine"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (float | None, "a number or null"),
        (Annotated[int, Field(ge=1, le=5)], "a whole number from 1 to 5"),
        (Annotated[int, Field(ge=1, le=5)] | None, "a whole number from 1 to 5 or null"),
        (Annotated[float, Field(gt=0, lt=1)], "a number of more than 0 and less than 1"),
        (
            Annotated[list[int], Field(min_length=1)],
            "a list of at least 1 items, each a whole number",
        ),
        (Annotated[str, Field(min_length=1, max_length=9)], "a text of 1 to 9 characters"),
        (Literal["a", "b"] | bool, "one of a, b, or true or false"),
        (dict[str, int], "a mapping"),
        (Word, "one of linear, cosine"),
        (Inner, "a mapping"),
    ],
)
def test_a_type_in_words(annotation, words):
    assert expected(annotation) == words


def test_an_unknown_key_names_the_nearest_known_one():
    assert str(unknown_key("a.b.lerning_rate", ["seed", "learning_rate"])) == (
        "a.b.lerning_rate: unknown key; the nearest known key is a.b.learning_rate"
    )
    assert str(unknown_key("a.b", [])) == "a.b: unknown key"


class Example(Options):
    batch_size: Annotated[int, Field(ge=1, description="clips at a time")] = 16


def test_options_are_named_as_on_the_command_line():
    assert Example(batch_size=2).batch_size == 2
    with pytest.raises(UserError, match="^--batch-size: .*at least 1"):
        Example(batch_size=0)
    with pytest.raises(UserError, match="^--batch-sise: "):
        Example(batch_sise=2)


def test_null_is_the_default_of_settings_whose_default_is_off():
    settings = validated(Outer, {"inner": None, "by_name": None, "chosen": None, "needed": 1})
    assert settings == Outer(needed=1)
    assert validated(Inner, {"names": None}).names == []
    schema = Outer.model_json_schema()["properties"]
    assert {"type": "null"} in schema["inner"]["anyOf"]
    assert schema["inner"]["description"] == "a section"
    assert "anyOf" not in schema["needed"]


def test_a_key_without_a_near_one_is_answered_with_all_keys():
    message = str(unknown_key("protocol.n", ["name", "folds", "k", "seed"]))
    assert message == "protocol.n: unknown key; the keys are name, folds, k, seed"
    assert str(unknown_key("protocol.seeds", ["name", "k", "seed"])).endswith(
        "key is protocol.seed"
    )
