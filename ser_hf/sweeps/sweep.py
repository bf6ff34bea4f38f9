"""Starts a sweep or continues it: reads recipe and space, checks them and the folder, and runs the trials.

On a Ray cluster, Ray Tune (Liaw et al. 2018, arXiv:1807.05118) places the trials that the Optuna study decides on.
Every machine reaches the folder of the sweep, the corpus and the storage under the same paths.
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

from ..experiment.recipe import Recipe
from ..experiment.recipe_checks import read_recipe
from ..experiment.run import run as run_experiment
from ..training.loading import first_line
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
        raise UserError("sweep: cannot run under a launcher; use --backend ray, or one process per GPU with --storage")
    settings, base = read_sweep(recipe, space, list(changes), options)
    if base.hub.repo is not None:
        from ..hub.push import resolve_repo_id

        resolve_repo_id(base.hub.repo, key="hub.repo")
    open_folder(settings, base)
    lock = FileLock(settings.folder / "study.lock")
    if options.storage is None:  # one process runs the sweep, so that a trial that is stored as running was killed
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
        if options.backend == "ray":
            run_on_ray(study)
        else:
            while study.remaining() > 0:
                study.run_trial()
        return study.close(options.test)
    except (optuna.exceptions.StorageInternalError, optuna.exceptions.UpdateFinishedTrialError) as error:
        raise UserError(f"--storage: {first_line(error)}; the same command continues the sweep") from error
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
    raw = json.loads(json.dumps(source)) if isinstance(source, Mapping) else read_yaml(source)
    raw.setdefault("name", "run" if isinstance(source, Mapping) else Path(source).stem)
    base, points = read_recipe(raw, changes), [resolve(search.parameters, point) for point in search.points]
    for change in changes:
        if any(f"{change.partition('=')[0]}.".startswith(f"{key}.") for values in points for key in values):
            raise UserError(f"{change}: the space sets this key; remove the override, or the key from the space")
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
    recipe = {key: value for key, value in base.to_dict().items() if key not in ("output_dir", "provenance")}
    # The number of trials may grow.
    search = {key: value for key, value in dataclasses.asdict(settings.search).items() if key != "trials"}
    wanted = json.loads(json.dumps({"recipe": recipe, "space": search}))
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("sweep."))
    if others and not identity.is_file():
        raise UserError(f"--output: {folder} contains {others[0]} and no sweep; choose another folder")
    with FileLock(folder / "sweep.lock"):
        if not identity.is_file():
            replace_text(identity, json.dumps({"id": uuid.uuid4().hex[:12], **wanted}, indent=1) + "\n")
    saved = json.loads(identity.read_text(encoding="utf-8"))
    saved = {key: saved.get(key, {}) for key in wanted}
    before, now = (pd.json_normalize(one).to_dict("records")[0] for one in (saved, wanted))
    if key := next((key for key in sorted({*before, *now}) if before.get(key) != now.get(key)), None):
        raise UserError(
            f"{key.partition('.')[2]}: {now.get(key)!r} here, {before.get(key)!r} in the sweep at {folder}, "
            "whose trials could not be compared; choose another --output"
        )


def run_on_ray(study: SweepStudy) -> None:
    """Run the trials that remain, `workers` at a time, each with `gpus` GPUs (default: one if there is any)."""
    # Ray sends usage statistics by default, and starts a trial in a folder where relative paths do not resolve.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    try:
        import ray
        from ray import tune
    except ImportError:
        raise UserError("--backend ray needs Ray: pip install 'ser_hf[sweep,ray]'") from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    settings, options, run, folder = study.settings, study.settings.options, study.run, os.getcwd()
    if len(machines) > 1 and options.storage is None:
        raise UserError("--backend ray: several machines need --storage URL, a database that all of them reach")
    most_gpus = max(own.get("GPU", 0) for own in machines)
    gpus = min(1.0, most_gpus) if options.gpus is None else options.gpus
    if gpus > most_gpus:
        raise UserError(f"--gpus: a trial needs {gpus:g}, but the largest machine has {most_gpus:g}")
    workers = options.workers or max(1, int(sum(own.get("GPU", 0) for own in machines) / gpus) if gpus else 1)
    # Cores decide nothing but the threads of a trial: share those of the smallest machine evenly.
    cores = max(1, int(min(own.get("CPU", 1) for own in machines) * len(machines) // max(workers, len(machines))))
    if (remaining := study.remaining()) <= 0:
        return

    def trainable(_: dict) -> None:
        os.chdir(folder)
        SweepStudy(settings, run).run_trial()

    study.echo(f"Ray runs {remaining} trials, {workers} at a time, each with {cores} cores and {gpus:g} GPUs")
    results = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cores, "gpu": gpus}),
        tune_config=tune.TuneConfig(num_samples=remaining, max_concurrent_trials=workers),
        run_config=tune.RunConfig(
            name="ray", storage_path=str(study.folder), verbose=0, failure_config=tune.FailureConfig(fail_fast=True)
        ),
    ).fit()
    for error in results.errors:
        raise UserError(str(getattr(error, "cause", None) or error).strip().splitlines()[-1])
