"""Tasks on a Ray cluster (Moritz et al. 2018, arXiv:1712.05889).

RAY_ADDRESS names the cluster; without it Ray uses a cluster of this machine, or starts one. Ray
places the tasks, and runs a task again whose process or machine was lost.
"""

from collections.abc import Generator, Sequence

from ..errors import UserError, one_line
from .jobs import Resources, require_engine
from .task import Outcome, Task, run_task

try:
    import ray
except ImportError:
    require_engine("ray")
    raise

# How often a task is run again after its process was killed.
RETRIES = 3


class RayCluster:
    """Runs tasks as Ray tasks with `num_cpus` and `num_gpus`.

    Args:
        cpus: cores, and threads, of each task.
        gpus: GPUs of each task; None: one if the cluster has GPUs.

    Raises:
        UserError: if the cluster cannot be reached, or does not have these resources.
    """

    def __init__(self, cpus: int, gpus: float | None):
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                ray.init(log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"--jobs ray: {one_line(error)}; set RAY_ADDRESS to the address of a cluster "
                    "that runs"
                ) from None
        total = ray.cluster_resources()
        if gpus is None:
            gpus = 1.0 if total.get("GPU", 0) else 0.0
        self.resources = Resources(cpus, gpus)
        self.description = (
            f"on a Ray cluster with {total.get('CPU', 0):g} cores and {total.get('GPU', 0):g} "
            f"GPUs, {cpus} core(s) and {gpus:g} GPU each"
        )
        for key, requested, name in (("cpus", cpus, "CPU"), ("gpus", gpus, "GPU")):
            if requested > total.get(name, 0):
                self._close()
                raise UserError(
                    f"--{key}-per-job: {requested:g}, and the Ray cluster has "
                    f"{total.get(name, 0):g}; request less, or add machines"
                )

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each task when it ends. Closing the iterator ends all tasks."""
        remote_run = ray.remote(run_task)
        options = {
            "num_cpus": self.resources.cpus,
            "num_gpus": self.resources.gpus,
            "max_retries": RETRIES,
            "runtime_env": {"env_vars": self.resources.environment()},
        }
        running = {}
        try:
            for task in tasks:
                running[remote_run.options(name=task.name, **options).remote(task)] = task
            while running:
                (reference,), _ = ray.wait(list(running))
                task = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    message = f"{type(error).__name__}: {one_line(error)}"
                    yield Outcome(task.name, task.log, error=message)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            self._close()

    def _close(self) -> None:
        """Leave the cluster, unless the user's program has connected to it."""
        if self._is_ours:
            ray.shutdown()
