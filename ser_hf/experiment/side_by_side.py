"""Trains the folds and seeds of a run side by side (`--jobs`).

Each training is a task in a process of its own, which writes the folder of this training and no
other one. The process of the whole run loads the data once, starts the tasks, and then goes through
its folds and seeds as without `--jobs`: it finds them complete, and aggregates their reports.
"""

import dataclasses
import logging
import pickle
from collections.abc import Callable, Iterator, Sequence

from ..evaluation.metrics import NAMES
from ..report.report import Report
from ..report.views import duration
from ..utils.environment import freed_memory_kept, quiet_libraries
from ..utils.errors import UserError, one_line
from ..utils.executor import Jobs, Task, failure_of, run_all
from ..utils.files import held
from .context import RunContext
from .folds import child_runs, is_single

logger = logging.getLogger(__name__)

# Runs a training in its folder, unless it is complete.
RunChild = Callable[[RunContext], Report]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a task returns: the main metric of its training, and its seconds."""

    metric: str
    value: float
    seconds: float

    def __str__(self) -> str:
        return f"{NAMES[self.metric]} {self.value:.4f}, trained in {duration(self.seconds)}"


def single_runs(run: RunContext) -> Iterator[RunContext]:
    """The single trainings of a run: one for each fold and seed."""
    if is_single(run):
        yield run
        return
    for child in child_runs(run).values():
        yield from single_runs(child)


def train_side_by_side(
    whole: RunContext, runs: Sequence[RunContext], jobs: Jobs, run_child: RunChild
) -> None:
    """Run the single trainings of a run side by side, without those that are complete.

    Args:
        whole: the whole run.
        runs: its trainings, each with another folder.
        run_child: a function of a module.

    Raises:
        TasksFailed: naming the trainings that failed, after all others have ended.
    """
    unfinished = [run for run in runs if not run.folder.complete]
    if len(unfinished) < len(runs):
        logger.info("%d of %d trainings are complete", len(runs) - len(unfinished), len(runs))
    if not unfinished:
        return
    _check_callbacks(whole)
    tasks = [_task(run, run_child) for run in unfinished]
    task_bytes = _task_bytes(whole) if jobs.is_auto else None
    executor = jobs.executor(len(tasks), whole.folder.log.parent / "jobs", task_bytes)
    logger.info("%d trainings, %s", len(tasks), executor.description)
    failure = failure_of(
        run_all(executor, tasks, str),
        "trainings",
        remedy="--resume continues with what is missing",
    )
    if failure is not None:
        raise failure


def _task(run: RunContext, run_child: RunChild) -> Task:
    """The task of a training.

    It continues from its checkpoints, so that an executor may start it again. A run that is
    replaced has no checkpoints left.
    """
    return Task(
        name="/".join(run.folder.path_in_run),
        function=_train,
        arguments=(dataclasses.replace(run, resume=True), run_child),
        log=run.folder.log,
    )


def _train(run: RunContext, run_child: RunChild) -> Trained:
    """Run a training in the process of its task."""
    run.folder.path.mkdir(parents=True, exist_ok=True)
    with held(run.folder.lock, run.folder.path), quiet_libraries(), freed_memory_kept():
        report = run_child(run)
    return Trained(report.main, report.metrics[report.main], report.seconds.training)


def _check_callbacks(run: RunContext) -> None:
    """Refuse callbacks and a watch that cannot be sent to other processes."""
    values = [("callbacks", callback) for callback in run.callbacks]
    values.append(("watch", run.watch))
    for key, value in values:
        # The processes of tasks do not run the script that starts them.
        reason = "it is defined in the script itself"
        if getattr(value, "__module__", None) != "__main__":
            try:
                pickle.dumps(value)
                continue
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                reason = one_line(error)
        raise UserError(
            f"{key}: cannot be sent to the processes of jobs ({reason}); define it in a module, or "
            "leave out jobs"
        )


def _task_bytes(run: RunContext) -> int | None:
    """An estimate of the memory of a training; None if scikit-learn fits it."""
    if run.recipe.training.solver == "sklearn":
        return None
    # The description of a run imports `run`, which imports this module.
    from .plan import training_bytes

    return training_bytes(run)
