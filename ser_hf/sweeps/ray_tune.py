"""Runs the trials of a sweep on the machines of a Ray cluster (Liaw et al. 2018, "Tune", arXiv:1807.05118).

Ray Tune places the trials; the sweep's Optuna study decides what is tried, pruned and resumed. Every machine reaches
the sweep's folder, the corpus and the storage under the same paths.
"""

import os

from ..utils.errors import UserError
from .study import SweepStudy


def run_on_ray(study: SweepStudy) -> None:
    """Runs the trials that remain, `workers` at a time, each with `gpus` GPUs (default: one if there is any).

    Raises:
        UserError: if Ray is not installed, no machine has the GPUs of a trial.
    """
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
    settings, run, folder = study.settings, study.run, os.getcwd()
    workers, gpus = settings.options.workers, settings.options.gpus
    if len(machines) > 1 and settings.options.storage is None:
        raise UserError("--backend ray: several machines need --storage URL, a database that all of them reach")
    most_gpus = max(own.get("GPU", 0) for own in machines)
    gpus = min(1.0, most_gpus) if gpus is None else gpus
    if gpus > most_gpus:
        raise UserError(f"--gpus: {gpus:g} for each trial, and the largest machine has {most_gpus:g}")
    workers = workers or max(1, int(sum(own.get("GPU", 0) for own in machines) / gpus) if gpus else 1)
    # Cores decide nothing but the threads of a trial: share those of the smallest machine evenly.
    cores = max(1, int(min(own.get("CPU", 1) for own in machines) * len(machines) // max(workers, len(machines))))
    if (remaining := study.remaining()) <= 0:
        return

    def trainable(_: dict) -> None:
        os.chdir(folder)
        own = SweepStudy(settings, run)
        if own.remaining() > 0:
            own.run_trial()

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
