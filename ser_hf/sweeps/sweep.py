"""Starts a sweep or continues it: reads recipe and space, checks them and the folder, and runs the
trials.

Processes and machines that share a sweep reach its folder, the corpus and the storage under the
same paths.
"""

import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from filelock import FileLock, Timeout

from ..experiment.recipe import Recipe, recipe_file
from ..experiment.recipe_checks import read_recipe
from ..experiment.run import run as run_experiment
from ..loading.files import first_line
from ..utils.errors import UserError
from ..utils.files import replace_text
from ..utils.yaml import read_yaml
from .space import described, overrides, read_space, resolve
from .study import DEFAULTS, Runner, SweepOptions, SweepSettings, SweepStudy


def sweep(
    recipe: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: Iterable[str] = (),
    options: SweepOptions = DEFAULTS,
    *,
    run: Runner = run_experiment,
    echo: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the trials that remain, then the best recipe, which alone is scored on the test split.

    A second call continues an interrupted sweep, its trials from their last checkpoints.

    Args:
        recipe, space: YAML files or mappings.
        changes: overrides of the recipe for every trial.
        options: how the sweep runs.
        run: runs one recipe.
        echo: receives lines about the progress.

    Returns:
        The sweep's folder, its best trial, and the test result of that trial or None.

    Raises:
        UserError: naming the key, folder or option that is wrong.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "sweep: cannot run under a launcher; start one process per GPU with --storage"
        )
    settings, base = read_sweep(recipe, space, list(changes), options)
    if base.hub.repo is not None:
        from ..hub.push import resolve_repo_id

        resolve_repo_id(base.hub.repo, key="hub.repo")
    open_folder(settings, base)
    lock = FileLock(settings.folder / "study.lock")
    # one process runs the sweep, so that a trial that is stored as running was killed
    if options.storage is None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"--output: another process runs the sweep in {settings.folder}; share a sweep by --storage URL"
            ) from None
    try:
        study = SweepStudy(settings, run, echo)
        study.requeue()
        study.publish()
        states = [row.state for row in study.rows()]
        counts = (
            ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            or "none started"
        )
        echo(
            f"{settings.folder}: {settings.search.total} trials by {settings.search.search}, {counts}"
        )
        while study.remaining() > 0:
            study.run_trial()
        return study.close(options.test)
    except (
        optuna.exceptions.StorageInternalError,
        optuna.exceptions.UpdateFinishedTrialError,
    ) as error:
        raise UserError(
            f"--storage: {first_line(error)}; the same command continues the sweep"
        ) from error
    finally:
        lock.release()


def read_sweep(
    source: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: list[str],
    options: SweepOptions = DEFAULTS,
) -> tuple[SweepSettings, Recipe]:
    """Read the recipe and the space, and check the recipe at the points of the space."""
    search = read_space(space, options.trials)
    raw = (
        json.loads(json.dumps(source))
        if isinstance(source, Mapping)
        else read_yaml(recipe_file(source))
    )
    raw.setdefault("name", "run" if isinstance(source, Mapping) else Path(source).stem)
    base = read_recipe(raw, changes)
    points = [resolve(search.parameters, point) for point in search.points]
    for change in changes:
        if any(
            f"{change.partition('=')[0]}.".startswith(f"{key}.")
            for values in points
            for key in values
        ):
            raise UserError(
                f"{change}: the space sets this key; remove the override, or the key from the space"
            )
    for values in points:
        try:
            read_recipe(raw, [*changes, *overrides(values)])
        except UserError as error:
            raise UserError(f"{error} (at {described(values)})") from None
    label = "sweep" if isinstance(space, Mapping) else Path(space).stem
    folder = Path(options.output or f"{base.output_dir}-{label}").absolute()
    return SweepSettings(raw, tuple(changes), search, folder, options), base


def open_folder(settings: SweepSettings, base: Recipe) -> None:
    """Create the sweep's folder, or refuse one of another sweep by the first key that differs."""
    folder, identity = settings.folder, settings.folder / "sweep.json"
    recipe = {
        key: value
        for key, value in base.to_dict().items()
        if key not in ("output_dir", "provenance")
    }
    # The number of trials may grow.
    search = {
        key: value for key, value in dataclasses.asdict(settings.search).items() if key != "trials"
    }
    wanted = json.loads(json.dumps({"recipe": recipe, "space": search}))
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("sweep."))
    if others and not identity.is_file():
        raise UserError(
            f"--output: {folder} contains {others[0]} and no sweep; choose another folder"
        )
    with FileLock(folder / "sweep.lock"):
        if not identity.is_file():
            replace_text(
                identity, json.dumps({"id": uuid.uuid4().hex[:12], **wanted}, indent=1) + "\n"
            )
    saved = json.loads(identity.read_text(encoding="utf-8"))
    saved = {key: saved.get(key, {}) for key in wanted}
    before, now = (pd.json_normalize(one).to_dict("records")[0] for one in (saved, wanted))
    if key := next(
        (key for key in sorted({*before, *now}) if before.get(key) != now.get(key)), None
    ):
        raise UserError(
            f"{key.partition('.')[2]}: {now.get(key)!r} here, {before.get(key)!r} in the sweep at {folder}, "
            "whose trials could not be compared; choose another --output"
        )
