"""The machines of a Ray cluster run the trials of a sweep (Liaw et al. 2018, "Tune", arXiv:1807.05118).

Ray Tune decides where a trial runs and how many do at a time, and shows each epoch's metric; what is tried, what is
pruned, what is resumed and what counts stay with the sweep's own study, so that it is the same sweep however it is
run. The sweep's folder, the corpus and the study must be reached by the same paths from every machine.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from ..errors import UserError
from .study import Study
from .trial import Runner


def run_on_ray(
    plan, study: Study, run: Runner, tell: Callable[[str], None], workers: int | None, gpus: float | None
) -> None:
    """Runs the trials that are left, `workers` at a time, each with `gpus` GPUs (default: one where Ray has any).

    Raises:
        UserError: if Ray is not installed, no machine has the GPUs of a trial, or three trials in a row fail alike.
    """
    try:
        # Ray tells its makers about its use unless it is told not to, and runs a trial in a folder of its own, where
        # a recipe's relative paths lead nowhere.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        import ray
        from ray import tune
    except ImportError:
        raise UserError("--backend ray needs Ray: pip install 'ser_hf[sweep,ray]'") from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    resources = ray.cluster_resources()
    gpus = min(1.0, resources.get("GPU", 0.0)) if gpus is None else gpus
    if gpus > resources.get("GPU", 0.0):
        raise UserError(f"--gpus: {gpus:g} for each trial, and the cluster has {resources.get('GPU', 0.0):g}")
    workers = workers or max(1, int(resources["GPU"] / gpus if gpus else 1))
    left = study.left
    if left <= 0:
        return
    folder = os.getcwd()

    def trainable(_: dict) -> None:
        from .sweep import one_trial

        os.chdir(folder)
        metric = plan.search.metric

        def hear(epoch: float, value: float) -> None:
            tune.report({metric: value, "epoch": epoch})

        one_trial(plan, plan.open(), run, print, hear)

    cores = cores_each([node["Resources"] for node in ray.nodes() if node["Alive"]], workers, gpus)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cores, "gpu": gpus}),
        tune_config=tune.TuneConfig(num_samples=left, max_concurrent_trials=workers),
        run_config=tune.RunConfig(
            name="ray", storage_path=str(plan.folder), verbose=0, failure_config=tune.FailureConfig(fail_fast=True)
        ),
    )
    tell(f"Ray runs {left} trials, {workers} at a time, each with {cores} cores and {gpus:g} GPUs")
    results = tuner.fit()
    for error in results.errors:
        raise UserError(str(getattr(error, "cause", None) or error).strip().splitlines()[-1])


def cores_each(machines: Sequence[Mapping[str, float]], workers: int, gpus: float) -> int:
    """As many cores for each trial as leave room for `workers` at a time; a trial is on one machine.

    Args:
        machines: CPUs and GPUs of each, under "CPU" and "GPU".

    Raises:
        UserError: if no machine has so many GPUs.
    """
    usable = [own for own in machines if own.get("GPU", 0) >= gpus and own.get("CPU", 0) >= 1]
    if not usable:
        raise UserError(f"--gpus: {gpus:g} for each trial, and no machine of the cluster has so many, and a core")

    def room(cores: int) -> int:
        return sum(min(int(own["CPU"] // cores), int(own["GPU"] / gpus) if gpus else workers) for own in usable)

    most = int(max(own["CPU"] for own in usable))
    return next((cores for cores in range(most, 0, -1) if room(cores) >= workers), 1)
