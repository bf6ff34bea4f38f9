"""Collects the outcomes of tasks: a line in the log for each, and one error for all failures."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UserError
from .jobs import Executor
from .task import Outcome, Task

logger = logging.getLogger(__name__)


class TasksFailed(UserError):
    """Some tasks failed; the message names each with its reason and its log.

    `exit_code` is that of a mistake only if all tasks failed by mistakes of the user.
    """

    def __init__(self, message: str, failures: Sequence[Outcome], remedy: str):
        items = [f"{outcome.task}: {outcome.error} ({outcome.log})" for outcome in failures]
        super().__init__(message, items=items, remedy=remedy)
        self.failures = list(failures)
        self.exit_code = 2 if all(outcome.is_mistake for outcome in failures) else 1


def run_all(
    executor: Executor, tasks: Sequence[Task], describe: Callable[[Any], str]
) -> list[Outcome]:
    """Run all tasks, and log a line when one ends.

    Args:
        describe: a few words about the value of a task for its line.

    Returns:
        The outcomes of all tasks, in the order of the tasks.
    """
    outcomes: dict[str, Outcome] = {}
    # Closing ends all tasks at once if this process is interrupted.
    with contextlib.closing(executor.run(tasks)) as ended:
        for outcome in ended:
            outcomes[outcome.task] = outcome
            count = f"{len(outcomes)} of {len(tasks)}"
            if outcome.error is None:
                logger.info("%s: %s (%s)", outcome.task, describe(outcome.value), count)
            else:
                logger.error(
                    "%s failed: %s; see %s (%s)", outcome.task, outcome.error, outcome.log, count
                )
    return [outcomes[task.name] for task in tasks]


def failure_of(outcomes: Sequence[Outcome], kind: str, remedy: str) -> TasksFailed | None:
    """The error that names all failed tasks; None if no task failed.

    Args:
        kind: what the tasks are, such as ``trainings``.
    """
    failures = [outcome for outcome in outcomes if outcome.error is not None]
    if not failures:
        return None
    return TasksFailed(f"{len(failures)} of {len(outcomes)} {kind} failed", failures, remedy)
