"""Completes a recipe whose training starts from another model of ser_hf (`model.checkpoint`).

Keys that the recipe leaves out come from that model, so the resolved recipe has all of them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..loading.published import is_model
from ..utils.errors import UserError
from .model_settings import ENCODER

if TYPE_CHECKING:
    from ..loading.parent import Parent

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def with_parent(values: dict[str, Any]) -> dict[str, Any]:
    """The keys of a recipe, with those that its parent model decides and the recipe leaves out.

    Raises:
        UserError: if the model cannot be read, if it has another architecture, or if the recipe
            has neither a model that exists nor an architecture.
    """
    model = values.get("model")
    if not isinstance(model, Mapping):
        return values
    source = model.get("checkpoint")
    if not isinstance(source, str) or model.get("random_init"):
        return values
    if not _is_readable(source, model):
        return values

    # The import loads torch. Recipes without a parent should not wait for it here.
    from ..loading.parent import read_parent

    parent = read_parent(source, model.get("revision"))
    architecture = model.get("architecture")
    if architecture not in (None, parent.architecture):
        raise UserError(
            f"model.architecture: {architecture}, but {source} is a model of architecture "
            f"{parent.architecture}; leave it out"
        )
    completed = {**values, "model": {**parent.model, **model, "architecture": parent.architecture}}
    audio = values.get("audio") or {}
    if parent.audio and isinstance(audio, Mapping):
        completed["audio"] = _audio(parent, audio)
    return completed


def _is_readable(source: str, model: Mapping[str, Any]) -> bool:
    """Whether the parent can be read now; a missing one is an error later, when the run starts.

    Raises:
        UserError: if the recipe has no architecture, and the model does not exist.
    """
    folder = Path(source)
    if folder.is_dir():
        return True
    architecture = model.get("architecture")
    if folder.is_file() or architecture == ENCODER:
        return False
    # A missing file of weights is no name on the Hub, which waits long where there is no network.
    is_named = bool(_HUB_ID.fullmatch(source)) and is_model(source)
    if is_named and _is_on_hub(source, model.get("revision")):
        return True
    if architecture is None:
        raise _missing_parent_error(source, is_named)
    return False


def _missing_parent_error(source: str, is_named: bool) -> UserError:
    """That there is no parent; `is_named` if it was also searched on the Hub."""
    from ..loading.hub_connection import unreachable_message

    unreachable = unreachable_message() if is_named else None
    if unreachable is not None:
        return UserError(
            f"model.checkpoint: {source}: no such run or folder here, not among the downloaded "
            f"models, and {unreachable}, name a folder, or set model.architecture"
        )
    return UserError(
        f"model.checkpoint: no run and no model called {source}, here or on the Hub; train it "
        "first, or set model.architecture"
    )


def _is_on_hub(source: str, revision: str | None) -> bool:
    """Whether the Hub has a model of this name; False if the Hub cannot be reached."""
    from ..loading.files import find_file

    try:
        return find_file(source, "config.json", revision, required=False) is not None
    except OSError:
        return False


def _audio(parent: "Parent", audio: Mapping[str, Any]) -> dict[str, Any]:
    """The section `audio` with the parent's values for missing keys and for `level: auto`."""
    completed = {**parent.audio, **audio}
    if audio.get("level") == "auto":
        completed["level"] = parent.audio["level"]
    return completed
