"""Gets a recipe from a file, a built-in recipe or a mapping, and applies overrides to its keys."""

import copy
import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from ..utils.files import packaged
from ..utils.yaml import DEEPEST, parse_yaml, read_yaml

# A name that is less similar than this is another recipe, not a misspelt one.
_SIMILAR = 0.8


def built_in_recipes() -> dict[str, Path]:
    """The files of the built-in recipes, by the recipes' names."""
    folder = packaged("recipes")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): folder / name for name in names}


def recipe_file(source: str | Path) -> Path:
    """The path of a recipe: `source` if it is a path, else the built-in recipe of this name.

    Raises:
        UserError: if `source` is neither a path nor the name of a built-in recipe.
    """
    name = str(source)
    if os.path.exists(name) or Path(name).suffix or os.sep in name:
        return Path(name)
    recipes = built_in_recipes()
    if name not in recipes:
        problem = f"{name}: no such file, and no built-in recipe"
        similar = difflib.get_close_matches(name, recipes, n=1, cutoff=_SIMILAR)
        if similar:
            raise UserError(f"{problem}; the nearest is {similar[0]}")
        raise UserError(f"{problem}; ser-hf recipes lists them")
    return recipes[name]


def recipe_values(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """Read the keys of a recipe and apply overrides, without checks of the keys.

    Args:
        source: a file, the name of a built-in recipe, or a mapping.
        overrides: changes of keys, such as ``corpus.root=data``.

    Raises:
        UserError: for a file that cannot be read, and for a malformed override.
    """
    if isinstance(source, Mapping):
        values = copy.deepcopy(dict(source))
        default_name = "run"
    else:
        values = read_yaml(recipe_file(source))
        default_name = Path(source).stem
    values.setdefault("name", default_name)
    for override in overrides:
        _apply_override(values, override)
    values.setdefault("output_dir", f"runs/{values.get('name', default_name)}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Set the key that an override names; missing sections are created."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override}: expected an override of the form section.key=value")
    if path.count(".") >= DEEPEST:
        raise UserError(f"{override}: no key is nested so deep")
    *sections, key = path.split(".")
    target = values
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise UserError(f"{path}: {section} holds a value, not keys")
    target[key] = parse_yaml(text, f"the override {override}")
