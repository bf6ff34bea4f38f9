"""Reads a recipe: gets its values, validates its sections, and checks keys against each other."""

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
        overrides: changes of keys, such as ``corpus.root=data``.

    Returns:
        The recipe with all defaults.

    Raises:
        UserError: naming the wrong key (with its sections) or the wrong file.
    """
    values = recipe_values(source, overrides)
    _check_cheaply(values)
    recipe = complete(validated(Recipe, values))
    check(recipe)
    return recipe


def _check_cheaply(values: Mapping[str, Any]) -> None:
    """Check everything that does not need the network, whose import takes seconds."""
    model = values.get("model")
    if isinstance(model, Mapping):
        _check_model_keys(model)
        # Replace the network by an encoder, whose settings need no import.
        validated(Recipe, {**values, "model": EncoderSettings()})


def _check_model_keys(model: Mapping[str, Any]) -> None:
    """Refuse unknown keys of a network of ser_hf."""
    architecture = model.get("architecture")
    if not isinstance(architecture, str) or architecture == ENCODER:
        return
    network_keys = known_keys(architecture)
    if network_keys is None:
        return
    for key in model:
        # For keys of encoders, the class of the section has another message.
        if key not in network_keys and key not in EncoderSettings.model_fields:
            raise unknown_key(f"model.{key}", sorted(network_keys))
