"""Reads the fields of classes from source code, for modules whose import takes seconds."""

import ast
from collections.abc import Mapping
from pathlib import Path

# Types of a value in YAML, by their names in annotations.
_KINDS: dict[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "tuple": list,
    "dict": dict,
}

Kinds = frozenset[type]


def class_fields(*files: Path) -> dict[str, dict[str, Kinds | None]]:
    """The annotated fields of each class in Python files, without importing them.

    The fields of a class begin with those of its bases in the same files.

    Returns:
        {class: {field: the types that its value may have beside None; None if they are unknown}}
    """
    classes: dict[str, ast.ClassDef] = {}
    aliases: dict[str, ast.expr] = {}
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id] = node.value

    def fields(name: str) -> dict[str, Kinds | None]:
        if name not in classes:
            return {}
        kinds_of_field: dict[str, Kinds | None] = {}
        for base in classes[name].bases:
            kinds_of_field |= fields(ast.unparse(base))
        for statement in classes[name].body:
            if isinstance(statement, ast.AnnAssign):
                if not ast.unparse(statement.annotation).startswith("ClassVar"):
                    kinds = _kinds(statement.annotation, aliases)
                    kinds_of_field[statement.target.id] = kinds
        return kinds_of_field

    return {name: fields(name) for name in classes}


def _kinds(annotation: ast.expr, aliases: Mapping[str, ast.expr]) -> Kinds | None:
    """The types that an annotation allows beside None; None if they are unknown."""
    if isinstance(annotation, ast.Name):
        if annotation.id in _KINDS:
            return frozenset({_KINDS[annotation.id]})
        if annotation.id in aliases:
            return _kinds(aliases[annotation.id], aliases)
        return None
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return frozenset()
    if isinstance(annotation, ast.BinOp):  # a union such as int | None
        left = _kinds(annotation.left, aliases)
        right = _kinds(annotation.right, aliases)
        return None if left is None or right is None else left | right
    if isinstance(annotation, ast.Subscript):
        return _kinds_of_subscript(annotation, aliases)
    return None


def _kinds_of_subscript(annotation: ast.Subscript, aliases: Mapping[str, ast.expr]) -> Kinds | None:
    """The types of `Annotated[...]`, `Literal[...]`, `list[...]` and the like."""
    name = ast.unparse(annotation.value)
    content = annotation.slice
    items = content.elts if isinstance(content, ast.Tuple) else [content]
    if name == "Annotated":
        return _kinds(items[0], aliases)
    if name == "Literal" and all(isinstance(item, ast.Constant) for item in items):
        return frozenset(type(item.value) for item in items) - {type(None)}
    if name in _KINDS:
        return frozenset({_KINDS[name]})
    return None
