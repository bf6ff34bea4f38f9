"""What a sweep is to do, read and checked before anything runs."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..recipe import read_recipe
from ..sections import Recipe
from ..strict import read_yaml
from .folder import SweepFolder
from .parameters import Settings, described, overrides
from .points import at, corners, grid
from .space import Search, read_space
from .space_checks import keys_of
from .study import Study
from .trial import Source

# Of a resolved recipe, what says where something lies on this machine.
_PLACES = ("root", "audio_root", "tables", "cache_dir", "folder")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked sweep, as any of its processes needs it: plain values, so that it travels."""

    source: Source
    search: Search
    folder: Path
    home: str
    study: str
    storage: str | None
    epochs: int
    judged_on: str
    keep_models: bool
    again: tuple[int, ...] = ()
    pass_failed: bool = False

    def open(self) -> Study:
        folder = SweepFolder(self.folder)
        return Study(self.search, folder, self.home, self.study, self.storage, self.epochs, self.again)

    def best(self, settings: Settings) -> Recipe:
        """The recipe at a point, as the winner is run."""
        folder = SweepFolder(self.folder)
        return read_recipe(self.source.recipe, self.source.at(settings, "best", folder.best))


def make_plan(
    source: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: list[str],
    output: str | Path | None,
    trials: int | None,
    storage: str | None,
    keep_models: bool,
) -> Plan:
    """Reads recipe and space, checks them at the space's points, and opens the folder.

    Raises:
        UserError: as `ser_hf.sweeps.sweep` does.
    """
    search = read_space(space, trials)
    raw = json.loads(json.dumps(source)) if isinstance(source, Mapping) else read_yaml(source)
    raw.setdefault("name", "run" if isinstance(source, Mapping) else Path(source).stem)
    base = read_recipe(raw, changes)
    refuse_ignored(changes, search)
    check_points(raw, changes, search)
    label = "sweep" if isinstance(space, Mapping) else Path(space).stem
    folder = SweepFolder(output or f"{base.output_dir}-{label}")
    resolved = {key: value for key, value in base.to_dict().items() if key not in ("output_dir", "provenance")}
    home = folder.open(resolved, search.to_dict())
    content = json.dumps([without_places(resolved), search.to_dict()], sort_keys=True)
    return Plan(
        Source(base.name, raw, tuple(changes)),
        search,
        folder.path.absolute(),
        home,
        f"{base.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
        storage,
        round(base.training.arguments.get("num_train_epochs") or 1),
        base.evaluation.part,
        keep_models,
    )


def refuse_ignored(changes: list[str], search: Search) -> None:
    """An override of a key that the space sets would say nothing."""
    for change in changes:
        key = change.partition("=")[0]
        for varied, where in keys_of(search.parameters, "space"):
            if key == varied or key.startswith(f"{varied}."):
                raise UserError(
                    f"{change}: {where} sets this key; leave the override out, or the key out of the space"
                )


def check_points(recipe: Mapping[str, Any], changes: list[str], search: Search) -> None:
    """Reads the recipe at every point of a grid; otherwise at each bound, a value between, and each choice and bundle,
    beside the others' first.

    Raises:
        UserError: naming the key, and the point where it is wrong.
    """
    space = search.parameters
    # The corners of a grid too, and first: a key that no recipe has is told at once, however many points there are.
    for answers in [*corners(space), *(grid(space) if search.search == "grid" else ())]:
        settings, shown = at(space, answers)
        try:
            read_recipe(recipe, [*changes, *overrides(settings)])
        except UserError as error:
            raise UserError(f"{error} (at {described(shown)})") from None


def without_places(value: Any) -> Any:
    """A resolved recipe as it is on every machine: without folders, and of files and checkpoints the name alone."""
    if isinstance(value, Mapping):
        return {key: without_places(own) for key, own in value.items() if key not in _PLACES}
    if isinstance(value, list):
        return [without_places(own) for own in value]
    if isinstance(value, str) and (Path(value).is_absolute() or (len(value) < 256 and Path(value).exists())):
        return Path(value).name
    return value
