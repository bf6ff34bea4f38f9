"""Reads the recipe in the folder of a run, which another person may have made or changed."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat

from ..corpora import settings_class
from ..utils.errors import UserError
from ..utils.validation import validated
from ..utils.yaml import read_yaml


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Corpus(_Section):
    name: str


class _Model(_Section):
    architecture: str
    checkpoint: str | None = None


class _Audio(_Section):
    sampling_rate: int


class _Evaluation(_Section):
    window: FiniteFloat | None = None


class _SavedRecipe(_Section):
    """The keys of a recipe that cards, reports and Spaces read."""

    corpus: _Corpus
    model: _Model
    audio: _Audio
    evaluation: _Evaluation


def read_saved_recipe(path: Path) -> dict[str, Any]:
    """Read the recipe of a run, whose keys have the types that cards, reports and Spaces expect.

    Raises:
        UserError: naming the file and the key, for a missing key, a value of another type, or a
            corpus that this installation does not have.
    """
    recipe = read_yaml(path)
    try:
        checked = validated(_SavedRecipe, recipe, "")
        settings_class(checked.corpus.name)
    except UserError as error:
        raise UserError(f"{path}: not the recipe of a finished run here: {error}") from None
    return recipe
