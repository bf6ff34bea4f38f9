"""Strict YAML: how values are read, and the messages about wrong ones."""

import dataclasses
import math
from typing import Literal

import pytest
from transformers import SchedulerType

from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import coerce, dump_yaml, from_mapping, parse_yaml, read_yaml


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float
    seeds: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    name: str = "x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3e-5", 3e-5), ("-2.5E+3", -2500.0), (".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf)),
        *(("-3", -3), ("0x1F", 31)),
        *(("012", 12), ("08", 8), ("0o17", 15)),  # YAML 1.1 reads 012 as ten, 12:30:00 as 45,000
        *(("12:30:00", "12:30:00"), ("1_000", "1_000")),
        *(("true", True), ("False", False), ("null", None)),
        *((word, word) for word in ("no", "No", "on", "yes", "off", "y", "n")),
        *(
            (word, word)
            for word in ("2024-01-31", "2024-01-31 10:00:00", "1-16", "1.2.3", "1e", "e5", "+")
        ),
        *(('"3e-5"', "3e-5"), ("'true'", "true")),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    parsed = parse_yaml(text, "here")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text", ["a: 1\nb:\n  c: 2\n  c: 3\n", "a: 1\nb: 2\na: 3\n", "x: 1\n\nx: 1\n"]
)
def test_a_key_written_twice_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    last = len(text.rstrip("\n").split("\n"))
    with pytest.raises(
        UserError, match=rf"twice\.yaml, line {last}: .*the key '\w' is there twice"
    ):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: !!python/name:id x\n", 1),
    ],
)
def test_malformed_yaml_names_file_and_line(tmp_path, text, line):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"bad\.yaml, line {line}: not valid YAML"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "expected sections with keys, found nothing"),
        (b"- 1\n", "expected sections with keys, found a list"),
        (b"words\n", "found the word 'words'"),
        (b"a: \xff\xfe\n", "UTF-8"),
    ],
)
def test_a_file_without_a_mapping_is_named(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.yaml: .*{message}"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, bool, True),
        *((word, bool, True) for word in ("yes", "On")),
        *((word, bool, False) for word in ("no", "OFF")),
        (2.0, int, 2),
        ("error", Literal["error", "skip"], "error"),
        ([1, 2.0], list[int], [1, 2]),
        ((1, 2), list[int], [1, 2]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        (None, float | None, None),
        ([1, "2-4"], float | list[int | str], [1, "2-4"]),
        ("cosine", SchedulerType | str, "cosine"),
        ({"rate": 1}, Inner | None, Inner(1.0)),
        ({"b": {"rate": 1}}, dict[str, Inner], {"b": Inner(1.0)}),
    ],
)
def test_a_fitting_value_is_coerced(value, hint, expected):
    taken = coerce(value, hint, "a.b")
    assert taken == expected
    assert type(taken) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("maybe", bool, "a.b: expected true or false, got the word 'maybe'"),
        (2.5, int, "a.b: expected a whole number, got the number 2.5"),
        (True, int, "a.b: expected a whole number, got the boolean true"),
        (math.inf, int, "a.b: expected a whole number, got the number inf"),
        (3, str, "a.b: expected a word, got the number 3"),
        ("stop", Literal["error", "skip"], "a.b: expected one of error, skip, got the word 'stop'"),
        (
            [[1], [2, 0.5]],
            list[list[int]],
            "a.b[1][1]: expected a whole number, got the number 0.5",
        ),
        ([1], dict[str, int], "a.b: expected a mapping, got a list"),
        ({"c": "x"}, dict[str, int], "a.b.c: expected a whole number, got the word 'x'"),
        ("x", float | None, "a.b: expected a number or null, got the word 'x'"),
        (
            True,
            float | list[int],
            "a.b: expected a number or a list, each item a whole number, got the boolean true",
        ),
        (7, Inner, "a.b: expected a mapping, got the number 7"),
        (
            {"rate": 1, "seeds": ["x"]},
            Inner | None,
            "a.b.seeds[0]: expected a whole number, got the word 'x'",
        ),
    ],
)
def test_a_wrong_value_is_an_error_with_its_path(value, hint, message):
    with pytest.raises(UserError) as error:
        coerce(value, hint, "a.b")
    assert str(error.value) == message


def test_a_wrong_value_of_an_enumeration_lists_the_valid_ones():
    with pytest.raises(
        UserError, match="^a.b: expected one of linear, cosine, .* got the word 'cosin'$"
    ):
        coerce("cosin", SchedulerType | str, "a.b")


def test_a_wrong_key_of_a_mapping_is_called_a_key():
    with pytest.raises(
        UserError, match=r"^a\.b\.None \(the key\): expected a word, got nothing \(null\)$"
    ):
        coerce({None: "x"}, dict[str, str], "a.b")
    with pytest.raises(
        UserError, match=r"^a\.b\.x \(the key\): expected a whole number, got the word 'x'$"
    ):
        coerce({"x": 1}, dict[int, int], "a.b")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("{0: x, -1: y}", ["0", "-1"]),
        ("{true: x, False: y}", ["true", "false"]),
        ("{1.5: x, 2.0: y, 1e20: z}", ["1.5", "2", "100000000000000000000"]),
        ("{'007': x, 'True': y}", ["007", "True"]),
    ],
)
def test_numbers_and_booleans_are_keys_as_text(text, keys):
    taken = coerce(parse_yaml(text, "here"), dict[str, str], "a.b")
    assert list(taken) == keys
    assert coerce(parse_yaml(dump_yaml(taken), "here"), dict[str, str], "a.b") == taken


def test_values_are_not_changed():
    with pytest.raises(UserError, match=r"^a\.b\.0: expected a word, got the number 1$"):
        coerce({0: 1}, dict[str, str], "a.b")
    assert coerce({0: 1}, dict[int, int], "a.b") == {0: 1}
    assert coerce({0: 1}, dict, "a.b") == {0: 1}


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(UserError, match=r"^a\.b: "):
        coerce(10**400, float, "a.b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"rat": 1}}, "inner.rat: unknown key; the nearest known key is inner.rate"),
        ({"iner": {}}, "iner: unknown key; the nearest known key is inner"),
        ({}, "inner: missing; this key has no default"),
        ({"inner": {}}, "inner.rate: missing; this key has no default"),
    ],
)
def test_a_dataclass_needs_its_required_keys_and_no_unknown_ones(values, message):
    with pytest.raises(UserError) as error:
        from_mapping(Outer, values)
    assert str(error.value) == message
