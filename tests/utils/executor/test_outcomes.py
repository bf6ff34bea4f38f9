"""The lines and the error about tasks that have ended."""

import logging
from pathlib import Path

import pytest

from ser_hf.utils.executor import Outcome, Task, TasksFailed, failure_of, run_all

LOG = Path("run.log")


class Ended:
    """An executor whose tasks have these outcomes."""

    description = ""

    def __init__(self, *outcomes):
        self.outcomes = outcomes

    def run(self, tasks):
        yield from self.outcomes


def tasks_named(*names):
    return [Task(name, print, (), LOG) for name in names]


def test_each_task_has_one_line_and_outcomes_have_the_order_of_tasks(caplog):
    executor = Ended(Outcome("b", LOG, value=2), Outcome("a", LOG, error="lost"))
    with caplog.at_level(logging.INFO, "ser_hf"):
        outcomes = run_all(executor, tasks_named("a", "b"), lambda value: f"value {value}")
    assert [outcome.task for outcome in outcomes] == ["a", "b"]
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["b: value 2 (1 of 2)", "a failed: lost; see run.log (2 of 2)"]


def test_without_a_failure_there_is_no_error():
    assert failure_of([Outcome("a", LOG, value=1)], "trainings", "") is None


@pytest.mark.parametrize(("all_mistakes", "code"), [(True, 2), (False, 1)])
def test_the_error_names_all_failures_and_what_to_do(all_mistakes, code):
    outcomes = [
        Outcome("a", LOG, value=1),
        Outcome("b", LOG, error="key: wrong", is_mistake=True),
        Outcome("c", LOG, error="lost", is_mistake=all_mistakes),
    ]
    error = failure_of(outcomes, "trainings", "--resume continues")
    assert isinstance(error, TasksFailed)
    assert str(error).startswith("2 of 3 trainings failed: b: key: wrong (run.log); c: lost")
    assert str(error).endswith("--resume continues")
    assert error.exit_code == code
