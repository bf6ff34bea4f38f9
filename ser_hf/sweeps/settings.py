"""How a sweep runs, and a validated sweep."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..experiment.reading import read_recipe
from ..experiment.recipe import Recipe
from .space import Search, Values, overrides


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """How a sweep runs; `ser-hf sweep --help` describes the options."""

    output: str | Path | None = None
    trials: int | None = None
    storage: str | None = None
    test: bool = True
    keep_models: bool = False
    retry_failed: bool = False


DEFAULTS = SweepOptions()


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """A validated sweep as plain values, which can be sent to workers.

    Attributes:
        recipe: the keys of the recipe as read, without overrides.
        overrides: of the recipe for every trial.
        folder: of the sweep, an absolute path.
    """

    recipe: Mapping[str, Any]
    overrides: tuple[str, ...]
    search: Search
    folder: Path
    options: SweepOptions

    def recipe_at(
        self, values: Values, name: str, folder: Path, extra: Iterable[str] = ()
    ) -> Recipe:
        """The recipe with a trial's values, written to `folder`; `extra` are more overrides."""
        identity = {"name": f"{self.recipe['name']}-{name}", "output_dir": str(folder)}
        return read_recipe(self.recipe, [*self.overrides, *overrides(values | identity), *extra])
