"""A task in this process: its value, its errors, its log and its folder."""

import logging

import pytest
from support import tasks

from ser_hf.utils.executor import Task
from ser_hf.utils.executor.task import run_task


@pytest.fixture
def task(tmp_path):
    def make(function, *arguments, **settings):
        return Task(
            "a task", function, arguments, tmp_path / "logs" / "run.log", tmp_path, **settings
        )

    return make


def test_the_outcome_has_the_value_and_the_log_what_was_written(task, capfd):
    outcome = run_task(task(tasks.double, 4))
    assert (outcome.task, outcome.value, outcome.error) == ("a task", 8, None)
    log = outcome.log.read_text(encoding="utf-8")
    assert "4 is doubled" in log
    print("printed afterwards")
    assert "doubled" not in capfd.readouterr().out


def test_a_mistake_is_one_line(task):
    outcome = run_task(task(tasks.mistake, "corpus.root: data is not a folder"))
    assert outcome.error == "corpus.root: data is not a folder"
    assert outcome.is_mistake
    assert "Traceback" not in outcome.log.read_text(encoding="utf-8")


def test_a_fault_has_its_traceback_in_the_log(task):
    outcome = run_task(task(tasks.fault, "lost"))
    assert outcome.error == "LookupError: lost"
    assert not outcome.is_mistake
    assert "Traceback" in outcome.log.read_text(encoding="utf-8")


def test_a_task_runs_in_its_folder_and_leaves_this_process_where_it_was(
    task, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path.parent)
    before = logging.getLogger("ser_hf").level
    assert run_task(task(tasks.working_folder)).value == str(tmp_path)
    assert tasks.working_folder() == str(tmp_path.parent)
    assert logging.getLogger("ser_hf").level == before


def test_a_machine_without_the_folder_says_what_it_needs(tmp_path):
    missing = tmp_path / "missing"
    outcome = run_task(Task("a task", tasks.double, (1,), missing / "run.log", missing))
    assert outcome.error.startswith(f"{missing}:")
    assert "shared" in outcome.error
    assert not missing.exists()
