"""YAML 1.2: how values are read and written, and the bounds of a text."""

import math

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import parse_yaml, read_yaml


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
    with pytest.raises(UserError, match=rf"twice\.yaml, line {last}: .*'\w' is there twice"):
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
        (b"- 1\n", "found a list"),
        (b"words\n", "'words'"),
        (b"a: \xff\xfe\n", "UTF-8"),
    ],
)
def test_a_file_without_a_mapping_is_named(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.yaml: .*{message}"):
        read_yaml(path)
