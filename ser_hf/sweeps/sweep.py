"""Starts or continues a sweep: checks recipe, space and folder, and runs the trials.

Processes and machines that share a sweep reach its folder, the corpus and the storage under the
same paths.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout

from ..experiment.reading import read_recipe
from ..experiment.recipe import Recipe
from ..experiment.recipe_source import recipe_file
from ..experiment.run import run as run_experiment
from ..loading.files import first_line
from ..utils.errors import UserError
from ..utils.executor import Jobs
from ..utils.files import replace_text
from ..utils.run_folder import flat
from ..utils.yaml import read_yaml
from .settings import DEFAULTS, SweepOptions, SweepSettings
from .side_by_side import run_trials
from .space import Values, described, overrides, read_space, resolve
from .study import Runner, SweepResult, SweepStudy


def sweep(
    recipe: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: Iterable[str] = (),
    options: SweepOptions = DEFAULTS,
    *,
    run: Runner = run_experiment,
    echo: Callable[[str], None] = print,
) -> SweepResult:
    """Run the remaining trials, then the best recipe; only this run is scored on the test split.

    A second call continues an interrupted sweep; trials continue from their last checkpoints.

    Args:
        recipe, space: YAML files or mappings.
        changes: overrides of the recipe for every trial.
        options: the options of the sweep.
        run: a function that runs one recipe.
        echo: a function that receives lines about the progress.

    Raises:
        UserError: naming the key, folder or option that is wrong.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "sweep: cannot run under a launcher; start one process per GPU with --storage"
        )
    settings, base = read_sweep(recipe, space, list(changes), options)
    jobs = Jobs.of(options.jobs)
    if jobs is not None and jobs.where != "local" and options.storage is None:
        raise UserError(
            f"--storage: missing; --jobs {jobs.where} needs a database that all machines reach"
        )
    if base.hub.repo is not None:
        from ..hub.push import resolve_repo_id

        resolve_repo_id(base.hub.repo, key="hub.repo")  # a mistake is reported before the trials
    open_folder(settings, base)

    with _only_process(settings):
        try:
            study = SweepStudy(settings, run, echo)
            study.requeue()
            study.publish()
            echo(_progress(settings, study))
            if jobs is None:
                while study.remaining() > 0:
                    study.run_trial()
            else:
                run_trials(study, jobs)
            return study.close(options.test)
        except (
            optuna.exceptions.StorageInternalError,
            optuna.exceptions.UpdateFinishedTrialError,
        ) as error:
            raise UserError(
                f"--storage: {first_line(error)}; the same command continues the sweep"
            ) from error


@contextlib.contextmanager
def _only_process(settings: SweepSettings) -> Iterator[None]:
    """Refuse a second process in one sweep, unless they share a storage.

    If there is only one process, a trial that is stored as running must have been killed.
    """
    if settings.options.storage is not None:
        yield
        return
    lock = FileLock(settings.folder / "study.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"--output: another process runs the sweep in {settings.folder}; share a sweep by "
            "--storage URL"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _progress(settings: SweepSettings, study: SweepStudy) -> str:
    """Return a line with the sweep's folder and the number of trials so far."""
    states = [row.state for row in study.rows()]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    search = settings.search
    started = ", ".join(counts) or "none started"
    return f"{settings.folder}: {search.total} trials by {search.search}, {started}"


def read_sweep(
    source: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: list[str],
    options: SweepOptions = DEFAULTS,
) -> tuple[SweepSettings, Recipe]:
    """Read the recipe and the space, and check the recipe at the points of the space."""
    search = read_space(space, options.trials)
    if isinstance(source, Mapping):
        values = json.loads(json.dumps(source))
        values.setdefault("name", "run")
    else:
        values = read_yaml(recipe_file(source))
        values.setdefault("name", Path(source).stem)
    base = read_recipe(values, changes)

    points = [resolve(search.parameters, point) for point in search.points]
    for change in changes:
        _check_change(change, points)
    for point in points:
        try:
            read_recipe(values, [*changes, *overrides(point)])
        except UserError as error:
            raise UserError(f"{error} (at {described(point)})") from None

    label = "sweep" if isinstance(space, Mapping) else Path(space).stem
    folder = Path(options.output or f"{base.output_dir}-{label}").absolute()
    settings = SweepSettings(
        recipe=values, overrides=tuple(changes), search=search, folder=folder, options=options
    )
    return settings, base


def _check_change(change: str, points: Sequence[Values]) -> None:
    """Refuse an override of a key that the space sets, or of a key within it."""
    changed = change.partition("=")[0]
    for point in points:
        for key in point:
            if f"{changed}.".startswith(f"{key}."):
                raise UserError(
                    f"{change}: the space sets this key; remove the override, or the key from the "
                    "space"
                )


def open_folder(settings: SweepSettings, base: Recipe) -> None:
    """Create the sweep's folder; refuse a folder of another sweep, naming a key that differs."""
    folder = settings.folder
    identity = folder / "sweep.json"
    current = _identity(settings, base)

    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("sweep."))
    if others and not identity.is_file():
        raise UserError(
            f"--output: {folder} contains {others[0]} and no sweep; choose another folder"
        )
    with FileLock(folder / "sweep.lock"):
        if not identity.is_file():
            content = {"id": uuid.uuid4().hex[:12], **current}
            replace_text(identity, json.dumps(content, indent=1) + "\n")

    content = json.loads(identity.read_text(encoding="utf-8"))
    saved = {section: content.get(section, {}) for section in current}
    before = flat(saved)
    now = flat(current)
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{key.partition('.')[2]}: {now.get(key)!r} here, {before.get(key)!r} in the sweep "
                f"at {folder}, whose trials could not be compared; choose another --output"
            )


def _identity(settings: SweepSettings, base: Recipe) -> dict[str, Any]:
    """Return the values that all calls of a sweep share: recipe and space, as JSON values."""
    recipe = base.to_dict()
    for key in ("output_dir", "provenance"):
        recipe.pop(key, None)
    search = settings.search.model_dump()
    del search["trials"]  # their number may grow
    return json.loads(json.dumps({"recipe": recipe, "space": search}))
