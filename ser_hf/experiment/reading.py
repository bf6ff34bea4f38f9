"""Reads a recipe: gets its values, validates its sections, and checks keys against each other."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from ..utils.source_code import Kinds
from ..utils.validation import described, unknown_key, validated
from .completion import complete
from .model_settings import ENCODER, EncoderSettings, known_keys
from .recipe import Recipe
from .recipe_checks import check
from .recipe_source import recipe_values
from .warm_start import with_parent


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
    values = with_parent(recipe_values(source, overrides))
    _check_cheaply(values)
    recipe = complete(validated(Recipe, values))
    check(recipe)
    return recipe


def _check_cheaply(values: Mapping[str, Any]) -> None:
    """Check everything that does not need the network, whose import takes seconds."""
    model = values.get("model")
    if isinstance(model, Mapping):
        if model.get("architecture") == ENCODER:
            validated(EncoderSettings, model, "model")
        else:
            _check_network_keys(model)
        # Replace the network by an encoder, whose settings need no import.
        validated(Recipe, {**values, "model": EncoderSettings()})


def _check_network_keys(model: Mapping[str, Any]) -> None:
    """Refuse unknown keys of a network of ser_hf, and values of a wrong type."""
    architecture = model.get("architecture")
    network_keys = known_keys(architecture) if isinstance(architecture, str) else None
    if network_keys is None:
        return
    for key, value in model.items():
        if key in network_keys:
            _check_type(f"model.{key}", value, network_keys[key])
        # For keys of encoders, the class of the section has another message.
        elif key not in EncoderSettings.model_fields:
            raise unknown_key(f"model.{key}", sorted(network_keys))


def _check_type(path: str, value: Any, kinds: Kinds | None) -> None:
    """Refuse a value of another type; ranges and choices are checked with the network."""
    if kinds is None or value is None:
        return
    accepted = set(kinds)
    if float in kinds:
        accepted.add(int)
    if int in kinds:
        accepted.add(float)  # whole numbers may be written as 1e3
    if bool in kinds:
        accepted.add(str)  # the words yes and no
    if isinstance(value, tuple):
        value = list(value)
    if type(value) not in accepted:
        words = " or ".join(_WORDS[kind] for kind in _WORDS if kind in kinds)
        raise UserError(f"{path}: expected {words}, got {described(value)}")


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    list: "a list",
    dict: "a mapping",
}
