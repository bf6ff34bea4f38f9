"""Starts a sweep or continues it: reads recipe and space, checks them and the folder, and runs the trials."""

import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout

from ..experiment.recipe import Recipe
from ..experiment.recipe_checks import read_recipe
from ..experiment.run import run as run_experiment
from ..utils.errors import UserError
from ..utils.yaml import read_yaml
from .ray_tune import run_on_ray
from .space import described, keys_of, overrides, read_space, resolve
from .study import Runner, SweepSettings, SweepStudy, first_line, replace_text


def sweep(
    recipe: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    trials: int | None = None,
    storage: str | None = None,
    test: bool = True,
    keep_models: bool = False,
    failed: Literal["again", "pass"] | None = None,
    backend: Literal["local", "ray"] = "local",
    workers: int | None = None,
    gpus: float | None = None,
    run: Runner = run_experiment,
    echo: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Runs the trials that remain, then the best recipe, which alone is scored on the test split.

    Called again, it continues where it stopped: an interrupted trial from its last checkpoint.

    Args:
        changes: overrides of the recipe, for every trial.
        output: the sweep's folder (default: the recipe's `output_dir` with the space's name).
        trials: how many in total, in place of the space's.
        storage: URL of a database for Optuna's `RDBStorage`, for several processes or machines.
        test: whether the winner is run as its recipe says.
        keep_models: keep the weights of all trials and not only the best one's.
        failed: `again` repeats all failed trials; `pass` continues however many trials fail.
        backend: `local`, or `ray` for a Ray cluster.
        workers, gpus: of `ray`: trials at a time, and GPUs of each.

    Returns:
        The sweep's folder, its winner and the winner's test, each None where there is none yet.

    Raises:
        UserError: for a key or value of the space that the recipe does not take, a folder of another sweep, three
            failed trials in a row, or a storage that cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("sweep: cannot run under a launcher; use --backend ray, or one process per GPU with --storage")
    settings, base = read_sweep(recipe, space, list(changes), output, trials)
    settings = dataclasses.replace(settings, storage=storage, keep_models=keep_models, failed=failed)
    if base.hub.repo is not None:
        from ..hub.push import whole_name

        whole_name(base.hub.repo, key="hub.repo")
    open_folder(settings, base)
    lock = FileLock(settings.folder / "study.lock")
    if storage is None:  # one process runs the sweep, so that a trial that is stored as running was killed
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"--output: another process runs the sweep in {settings.folder}; processes share a sweep by --storage "
                "URL or --backend ray"
            ) from None
    try:
        study = SweepStudy(settings, run, echo)
        study.requeue()
        study.publish()
        states = [row.state for row in study.rows()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none started"
        echo(f"{settings.folder}: {settings.search.total} trials by {settings.search.search}, {counts}")
        if backend == "ray":
            run_on_ray(study, workers, gpus)
        else:
            while study.remaining() > 0:
                study.run_trial()
        return study.close(test)
    except (optuna.exceptions.StorageInternalError, optuna.exceptions.UpdateFinishedTrialError) as error:
        raise UserError(f"--storage: {first_line(error)}; the same command continues the sweep") from error
    finally:
        lock.release()


def read_sweep(
    source: str | Path | Mapping[str, Any],
    space: str | Path | Mapping[str, Any],
    changes: list[str],
    output: str | Path | None = None,
    trials: int | None = None,
) -> tuple[SweepSettings, Recipe]:
    """Reads the recipe and the space, and checks the recipe at the points of the space.

    Raises:
        UserError: naming the key, and the point at which it is wrong.
    """
    search = read_space(space, trials)
    raw = json.loads(json.dumps(source)) if isinstance(source, Mapping) else read_yaml(source)
    raw.setdefault("name", "run" if isinstance(source, Mapping) else Path(source).stem)
    base = read_recipe(raw, changes)
    for change in changes:
        key = change.partition("=")[0]
        for varied, where in keys_of(search.parameters, "space"):
            if f"{key}.".startswith(f"{varied}."):
                raise UserError(f"{change}: {where} sets this key; remove the override, or the key from the space")
    for answers in search.points():
        values, shown = resolve(search.parameters, lambda name, _, answers=answers: answers[name])
        try:
            read_recipe(raw, [*changes, *overrides(values)])
        except UserError as error:
            raise UserError(f"{error} (at {described(shown)})") from None
    label = "sweep" if isinstance(space, Mapping) else Path(space).stem
    folder = Path(output or f"{base.output_dir}-{label}").absolute()
    return SweepSettings(raw, tuple(changes), search, folder), base


def open_folder(settings: SweepSettings, base: Recipe) -> None:
    """Creates the sweep's folder, or checks that it belongs to this sweep.

    Raises:
        UserError: naming the first key that differs, or what else the folder contains.
    """
    folder = settings.folder
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output: {folder} is a file")
    recipe = {key: value for key, value in base.to_dict().items() if key not in ("output_dir", "provenance")}
    wanted = json.loads(json.dumps({"recipe": recipe, "space": settings.search.to_dict()}))
    identity = folder / "sweep.json"
    if folder.is_dir() and not identity.is_file():
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("sweep."))
        if others:
            raise UserError(f"--output: {folder} contains {others[0]} and no sweep; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: {folder} cannot be made: {error.strerror}") from None
    with FileLock(folder / "sweep.lock"):
        if not identity.is_file():
            replace_text(identity, json.dumps({"id": uuid.uuid4().hex, **wanted}, indent=1) + "\n")
    try:
        saved = json.loads(identity.read_text(encoding="utf-8"))
        saved = {"id": saved["id"], **{key: saved[key] for key in wanted}}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"--output: {identity} was not written by a sweep; choose another folder") from None
    if (different := _first_difference(saved, {**wanted, "id": saved["id"]})) is not None:
        key, before, now = different
        raise UserError(
            f"{key.partition('.')[2]}: {now!r} here, {before!r} in the sweep at {folder}; its trials could not be "
            "compared, so choose another --output"
        )


def _first_difference(saved: Any, wanted: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """(full key, saved value, wanted value) of the first key in which the two differ."""
    if isinstance(saved, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*saved, *wanted}):
            found = _first_difference(saved.get(key), wanted.get(key), f"{path}.{key}" if path else key)
            if found:
                return found
        return None
    return None if saved == wanted else (path, saved, wanted)
