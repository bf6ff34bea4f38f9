"""Reads a recipe: its values, the classes of its sections, and the checks between keys."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils.validation import unknown_key, validated
from .completion import complete
from .model_settings import ENCODER, EncoderSettings, known_keys
from .recipe import Recipe
from .recipe_checks import check
from .recipe_source import recipe_values


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, and check it before any audio is read.

    Example: `ser_hf.read_recipe("quickstart", ["training.num_train_epochs=2"])`

    Args:
        source: a YAML file, the name of a built-in recipe, or a mapping.
        overrides: such as ``corpus.root=data``.

    Returns:
        The recipe with all defaults.

    Raises:
        UserError: naming the key (full path) or file.
    """
    values = recipe_values(source, overrides)
    _check_cheaply(values)
    recipe = complete(validated(Recipe, values))
    check(recipe)
    return recipe


def _check_cheaply(values: Mapping[str, Any]) -> None:
    """Check everything that needs no network: the import of one takes seconds."""
    model = values.get("model")
    if isinstance(model, Mapping):
        _check_model_keys(model)
        # With a network that can be described without an import.
        validated(Recipe, {**values, "model": EncoderSettings()})


def _check_model_keys(model: Mapping[str, Any]) -> None:
    """Refuse unknown keys of a network of this package."""
    architecture = model.get("architecture")
    if not isinstance(architecture, str) or architecture == ENCODER:
        return
    known = known_keys(architecture)
    if known is None:
        return
    for key in model:
        # Keys of other kinds of network have a message of their own.
        if key not in known and key not in EncoderSettings.model_fields:
            raise unknown_key(f"model.{key}", sorted(known))
