"""Tasks in processes of this machine: outcomes, threads, GPUs, killed and interrupted processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from support import tasks

from ser_hf.utils.executor import Task
from ser_hf.utils.executor.jobs import python_path
from ser_hf.utils.executor.local import LocalProcesses


@pytest.fixture
def task(tmp_path):
    def make(name, function, *arguments):
        return Task(name, function, arguments, tmp_path / "logs" / f"{name}.log", tmp_path)

    return make


def outcomes_of(executor, tasks_to_run):
    return {outcome.task: outcome for outcome in executor.run(tasks_to_run)}


def test_each_task_has_a_process_and_a_log(task, tmp_path):
    outcomes = outcomes_of(
        LocalProcesses(2, 1), [task(str(number), tasks.double, number) for number in range(3)]
    )
    assert {name: outcome.value for name, outcome in outcomes.items()} == {"0": 0, "1": 2, "2": 4}
    for number in range(3):
        log = (tmp_path / "logs" / f"{number}.log").read_text(encoding="utf-8")
        assert f"doubling {number}" in log
        assert f"{number} is doubled" in log


def test_a_failed_task_does_not_end_the_others(task):
    outcomes = outcomes_of(
        LocalProcesses(2, 1),
        [
            task("killed", tasks.kill_process),
            task("exited", tasks.exit_process, 7),
            task("mistake", tasks.mistake, "key: wrong"),
            task("unpicklable", tasks.unreadable, tasks.Unpicklable()),
            task("good", tasks.double, 2),
        ],
    )
    assert outcomes["good"].value == 4
    assert "SIGKILL" in outcomes["killed"].error
    assert "exit code 7" in outcomes["exited"].error
    assert outcomes["mistake"].error == "key: wrong"
    assert "no copy of this object" in outcomes["unpicklable"].error


def test_as_many_tasks_as_wanted_run_at_the_same_time(task, tmp_path):
    folder = tmp_path / "met"
    folder.mkdir()
    names = ["a", "b"]
    outcomes = outcomes_of(
        LocalProcesses(2, 1), [task(name, tasks.met, folder, name, 2) for name in names]
    )
    assert [outcomes[name].value for name in names] == [2, 2]


def test_threads_and_gpus_are_in_the_environment(task, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "RANK")
    folder = tmp_path / "met"
    folder.mkdir()
    executor = LocalProcesses(2, 3, gpus=["4", "5"])
    outcomes = outcomes_of(
        executor, [task(str(number), tasks.variables, *names) for number in range(2)]
    )
    assert {outcome.value["OMP_NUM_THREADS"] for outcome in outcomes.values()} == {"3"}
    assert {outcome.value["RANK"] for outcome in outcomes.values()} == {None}
    assert {outcome.value["CUDA_VISIBLE_DEVICES"] for outcome in outcomes.values()} <= {"4", "5"}


def test_closing_the_iterator_interrupts_running_tasks_and_starts_no_others(task, tmp_path):
    started = tmp_path / "started"
    ended = tmp_path / "ended"
    second = tmp_path / "second"
    executor = LocalProcesses(2, 1)
    outcomes = executor.run(
        [
            task("quick", tasks.double, 1),
            task("long", tasks.wait_for_interrupt, started, ended),
            task("waits for the end of long", tasks.wait_for_interrupt, second, ended),
            task("never", tasks.wait_for_interrupt, tmp_path / "never", ended),
        ]
    )
    assert next(outcomes).task == "quick"
    wait_for(started.is_file)
    outcomes.close()
    assert ended.is_file()
    assert not (tmp_path / "never").exists()
    assert not is_alive(int(started.read_text()))


# Runs a task in a process that is then killed.
PARENT = """
import signal
import sys
from pathlib import Path
from support import tasks
from ser_hf.utils.executor import Task
from ser_hf.utils.executor.local import LocalProcesses

# Tests in the background ignore Ctrl-C, and so would their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
started, ended = map(Path, sys.argv[1:])
task = Task("long", tasks.wait_for_interrupt, (started, ended), started.with_name("run.log"))
list(LocalProcesses(1, 1).run([task]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_tasks_end_with_their_parent(tmp_path, number):
    started = tmp_path / "started"
    ended = tmp_path / "ended"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(started), str(ended)],
        env=os.environ | {"PYTHONPATH": python_path()},
        stderr=subprocess.DEVNULL,
    )
    wait_for(started.is_file)
    parent.send_signal(number)
    assert parent.wait(timeout=60) != 0
    wait_for(ended.is_file)
    pid = int(started.read_text())
    wait_for(lambda: not is_alive(pid))


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid):
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        # A process that has ended and has no parent may stay in the table of processes.
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    return False
