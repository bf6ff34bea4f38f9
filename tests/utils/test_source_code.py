"""Fields of classes and their types, read from source code."""

import pytest

from ser_hf.utils.source_code import class_fields


def test_fields_of_classes_are_read_without_an_import(tmp_path):
    (tmp_path / "base.py").write_text("class Base:\n    a: int\n    b: ClassVar[int] = 1\n")
    (tmp_path / "other.py").write_text(
        "raise SystemExit\nclass Other(Base, Missing):\n    c: str = ''\n    d = 2\n"
    )
    fields = class_fields(tmp_path / "base.py", tmp_path / "other.py")
    assert fields == {"Base": {"a": {int}}, "Other": {"a": {int}, "c": {str}}}


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [
        ("bool", {bool}),
        ("float | None", {float}),
        ("Annotated[int | None, Range(1, 2), 'text']", {int}),
        ("Annotated[Share, 'text']", {float}),
        ("list[int]", {list}),
        ("tuple[int, ...]", {list}),
        ("Literal['mean', 'max']", {str}),
        ("Literal[0, 1]", {int}),
        ("Literal[*NAMES]", None),
        ("Unknown", None),
        ("int | Unknown", None),
    ],
)
def test_types_of_a_field(tmp_path, annotation, kinds):
    file = tmp_path / "module.py"
    file.write_text(f"Share = Annotated[float, Range(0, 1)]\nclass A:\n    a: {annotation}\n")
    assert class_fields(file) == {"A": {"a": kinds}}
