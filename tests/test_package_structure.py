"""The structure of the package: layers, length of modules, parameters, and libraries it uses."""

import ast
import importlib.util
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
    {"sweeps", "doctor"},
    {"cli", "train", "__init__"},
]
# The libraries that the package is built on, and modules that use them for what they are best at.
LIBRARIES = {
    "torch": ["models/front_end.py", "training/loss.py"],
    "torchaudio": ["audio/transforms.py"],
    "transformers": ["models/modeling_base.py", "training/trainer.py"],
    "datasets": ["corpora/read.py", "protocols/split.py"],
    "accelerate": ["training/trainer.py"],
    "peft": ["training/lora.py"],
    "evaluate": ["evaluation/metric_objects.py"],
    "sklearn": ["training/sklearn_solver.py"],
    "librosa": ["report/clip_plots.py", "inspection/voice.py"],
}
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}


SCRIPTS = sorted(
    path for folder in ("benchmarks", "examples") for path in (PACKAGE.parent / folder).glob("*.py")
)


def layer_of(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


def imported_names(path: Path) -> set[tuple[str, ...]]:
    """The full names that a module imports at any depth, in functions and for types too."""
    folder = path.relative_to(PACKAGE.parent).parent.parts
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                module = folder[: len(folder) - node.level + 1] + module
            names |= {(*module, alias.name) for alias in node.names}
    return names


def imported_packages(path: Path) -> set[str]:
    """The packages of ser_hf from which a module imports."""
    packages = set().union(*LAYERS)
    imported = set()
    for name in imported_names(path):
        if name[0] == PACKAGE.name and len(name) > 1:
            imported.add(name[1] if name[1] in packages else "__init__")
    return imported


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_lower_layers_only(path):
    package = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if layer_of(package) == len(LAYERS) - 1:
        return
    upward = {
        name for name in imported_packages(path) - {package} if layer_of(name) >= layer_of(package)
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


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_used_by_the_modules_that_need_it(library):
    for module in LIBRARIES[library]:
        imported = {name[0] for name in imported_names(PACKAGE / module)}
        assert library in imported, f"ser_hf/{module} does not use {library}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_names_that_exist(path):
    missing = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module.partition(".")[0] != PACKAGE.name:
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            # A module of a package becomes its attribute when it is imported.
            in_package = hasattr(module, "__path__") and importlib.util.find_spec(
                f"{node.module}.{alias.name}"
            )
            if not in_package and not hasattr(module, alias.name):
                missing.append(f"{node.module}.{alias.name}")
    assert missing == []


def test_few_functions_have_many_parameters():
    functions_with_many = []
    for path, tree in TREES.items():
        if path.parent.name == "cli":  # whose parameters are options
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and count_parameters(node) > 8:
                functions_with_many.append(node.name)
    assert len(functions_with_many) <= 12, functions_with_many


def count_parameters(function: ast.FunctionDef) -> int:
    """The number of named parameters, without `self` and `cls`."""
    arguments = function.args
    parameters = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return len([parameter for parameter in parameters if parameter.arg not in ("self", "cls")])
