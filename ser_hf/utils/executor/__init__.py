"""Runs tasks side by side: in processes of this machine, on a Ray cluster, or as a Slurm array.

`Jobs` has the options, `Task` is one call, and `Jobs.executor` gives the executor. Each of the
three executors is a thin layer over an engine that schedules: a pool of `concurrent.futures`, Ray,
and Slurm by submitit.
"""

from .jobs import Executor, Jobs, Resources
from .outcomes import TasksFailed, failure_of, run_all
from .task import Outcome, Task

__all__ = [
    "Executor",
    "Jobs",
    "Outcome",
    "Resources",
    "Task",
    "TasksFailed",
    "failure_of",
    "run_all",
]
