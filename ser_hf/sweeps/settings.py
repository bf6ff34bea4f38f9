"""The options of a sweep, and a validated sweep."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..experiment.reading import read_recipe
from ..experiment.recipe import Recipe
from ..utils.executor import Jobs
from .space import Search, Values, overrides


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep; `ser-hf sweep --help` describes them."""

    output: str | Path | None = None
    trials: int | None = None
    storage: str | None = None
    test: bool = True
    keep_models: bool = False
    retry_failed: bool = False
    jobs: Jobs | int | str | None = None


DEFAULTS = SweepOptions()


@dataclasses.dataclass(frozen=True)
class SweepSettings:
    """A validated sweep as plain values, which can be sent to workers.

    Attributes:
        recipe: the keys of the recipe file, without overrides.
        overrides: the overrides of recipe keys for every trial.
        folder: the absolute path of the sweep's folder.
    """

    recipe: Mapping[str, Any]
    overrides: tuple[str, ...]
    search: Search
    folder: Path
    options: SweepOptions

    def recipe_at(
        self, values: Values, name: str, folder: Path, extra: Iterable[str] = ()
    ) -> Recipe:
        """Return the recipe with the values of a trial; its run is written to `folder`.

        `extra` are more overrides.
        """
        identity = {"name": f"{self.recipe['name']}-{name}", "output_dir": str(folder)}
        return read_recipe(self.recipe, [*self.overrides, *overrides(values | identity), *extra])
