"""The structure of the package: layers, the longest module, and the number of parameters."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ser_hf"
# Lowest first. A package imports from lower layers only; packages on one line do not import each
# other.
LAYERS = [
    {"utils"},
    {"models"},
    {"corpora", "audio"},
    {"protocols", "evaluation"},
    {"loading"},
    {"training"},
    {"inference", "report"},
    {"experiment", "hub", "export", "inspection"},
    {"sweeps"},
    {"cli", "train", "__init__"},
]
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}


def layer_of(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


def imported_packages(path: Path, tree: ast.Module) -> set[str]:
    """The packages of ser_hf that a module imports at any depth, functions and type checking
    included.
    """
    folder = path.relative_to(PACKAGE.parent).parent.parts
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            name = (*base, *(node.module or "").split(".")) if node.module else base
            found |= {(*name, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
    own = {name[1] for name in found if name[0] == PACKAGE.name and len(name) > 1}
    known = set().union(*LAYERS)
    return {name if name in known else "__init__" for name in own}


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_lower_layers_only(path):
    package = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if layer_of(package) == len(LAYERS) - 1:
        return
    upward = {
        name
        for name in imported_packages(path, TREES[path]) - {package}
        if layer_of(name) >= layer_of(package)
    }
    assert not upward, f"{package} must not import {', '.join(sorted(upward))}"


def test_modules_are_of_a_length_that_one_can_read():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert {path: number for path, number in lines.items() if number > 600} == {}
    assert {path.name for path in PACKAGE.glob("*.py")} <= {
        "__init__.py",
        "__main__.py",
        "train.py",
    }


def test_few_functions_have_many_parameters():
    # whose parameters are options
    trees = [tree for path, tree in TREES.items() if path.parent.name != "cli"]
    functions = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    many = []
    for function in functions:
        names = [
            item.arg
            for item in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        ]
        if len([name for name in names if name not in ("self", "cls")]) > 8:
            many.append(function.name)
    assert len(many) <= 12, many
