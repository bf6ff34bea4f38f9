"""Functions that tests run as tasks in other processes, which import this module by its name."""

import logging
import os
import signal
import time
from pathlib import Path

from ser_hf.utils.errors import UserError
from ser_hf.utils.executor import Jobs
from ser_hf.utils.executor.task import run_task


def double(number: int) -> int:
    print(f"doubling {number}")
    logging.getLogger("ser_hf.tests").info("%d is doubled", number)
    return 2 * number


def mistake(message: str) -> None:
    raise UserError(message)


def fault(message: str) -> None:
    raise LookupError(message)


def kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_process(code: int) -> None:
    os._exit(code)


def killed_once(marker: Path) -> str:
    """Kill the process at the first call; `marker` remembers it."""
    if not marker.exists():
        marker.touch()
        kill_process()
    return "second call"


def variables(*names: str) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def working_folder() -> str:
    return os.getcwd()


def met(folder: Path, name: str, others: int) -> int:
    """Wait until `others` tasks run at the same time; return how many were seen."""
    (folder / name).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < others and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(list(folder.iterdir()))


def wait_for_interrupt(started: Path, ended: Path) -> None:
    """Write the number of the process to `started`; write `ended` when interrupted."""
    partial = started.with_suffix(".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(started)
    try:
        while True:
            time.sleep(0.02)
    except KeyboardInterrupt:
        ended.touch()
        raise


def unreadable(_: object) -> None:
    """Never called: its argument cannot be read in another process."""


class KillOnce:
    """Kills the process at the first call in all processes; `marker` remembers it."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __call__(self, *_: object) -> None:
        killed_once(self.marker)


class InProcess(Jobs):
    """Options that are their executor: it runs tasks in this process, and remembers their names."""

    description = "in this process"

    def __init__(self):
        super().__init__(count=1)
        self.names = []

    def executor(self, *_: object) -> "InProcess":
        return self

    def run(self, tasks):
        for task in tasks:
            self.names.append(task.name)
            yield run_task(task)


class Unpicklable:
    def __reduce__(self):
        raise TypeError("no copy of this object")
