"""Tasks as an array job of Slurm, which submitit writes and submits.

submitit puts a job that was preempted, or that reached its time limit, into the queue again; its
training continues from its last checkpoint.
"""

import shlex
import shutil
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, one_line
from .jobs import Resources, require_engine
from .task import Outcome, Task, run_task

try:
    import submitit
except ImportError:
    require_engine("slurm")
    raise

# The time limit of a task without --slurm time=MINUTES. That of submitit is five minutes.
_MINUTES = 24 * 60
# Seconds between two looks at the files of the jobs.
_POLL = 2


class Resumable(submitit.helpers.Checkpointable):
    """Runs a task, again if its job is put into the queue a second time."""

    def __call__(self, task: Task) -> Outcome:
        return run_task(task)


class SlurmArray:
    """Runs tasks as an array job.

    Args:
        folder: for the scripts, pickled tasks and outcomes of submitit; on shared storage.
        options: options of sbatch, by submitit's names.
        cluster: ``local`` runs the tasks as processes of this machine, without Slurm.

    Raises:
        UserError: without Slurm's commands, and for an unknown option.
    """

    def __init__(
        self,
        folder: Path,
        resources: Resources,
        options: Mapping[str, str],
        cluster: str = "slurm",
    ):
        if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UserError(
                "--jobs slurm: no sbatch and srun on this machine; run the command where jobs are "
                "submitted"
            )
        self.description = (
            f"as a Slurm array, {resources.cpus} core(s) and {resources.gpus:g} GPU each"
        )
        setup = []
        for name, value in resources.environment().items():
            setup.append(f"export {name}={shlex.quote(value)}")
        parameters: dict[str, Any] = {
            "name": "ser_hf",
            "timeout_min": _MINUTES,
            "cpus_per_task": resources.cpus,
            f"{cluster}_setup": setup,
        }
        if resources.gpus:
            # Slurm gives whole GPUs.
            parameters["gpus_per_node"] = 1
        for key, value in options.items():
            parameters[f"slurm_{key}"] = int(value) if value.isdecimal() else value
        self._executor = submitit.AutoExecutor(folder.absolute(), cluster=cluster)
        try:
            self._executor.update_parameters(**parameters)
        except (ValueError, TypeError, NameError) as error:
            raise UserError(
                f"--slurm: {one_line(error)}; see the parameters of submitit's SlurmExecutor"
            ) from None

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Yield the outcome of each task when it ends. Closing the iterator ends all tasks."""
        try:
            jobs = self._executor.map_array(Resumable(), tasks)
        except (
            submitit.core.utils.FailedJobError,
            submitit.core.utils.FailedSubmissionError,
        ) as error:
            raise UserError(f"--jobs slurm: {one_line(error)}") from None
        running = dict(zip(jobs, tasks, strict=True))
        try:
            for job in submitit.helpers.as_completed(jobs, poll_frequency=_POLL):
                task = running.pop(job)
                try:
                    yield job.result()
                except Exception as error:  # submitit raises what the job raised
                    message = f"{one_line(error)} (job {job.job_id})"
                    yield Outcome(task.name, task.log, error=message)
        finally:
            for job in running:
                job.cancel(check=False)
