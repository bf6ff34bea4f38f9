"""One task, and how the process that gets it runs it."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..environment import PACKAGE
from ..errors import UserError, machine_fault, one_line

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Task:
    """A call that runs in another process, perhaps on another machine.

    Args:
        name: its name in messages, such as ``fold-1/seed-2``.
        function: a function of a module that the other process can import.
        arguments: its arguments, which are pickled.
        log: the file to which everything is written that the call prints or logs.
        folder: the working folder, which relative paths of the arguments refer to.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    log: Path
    folder: Path = dataclasses.field(default_factory=Path.cwd)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a task.

    Args:
        value: what the function returned.
        error: one line about why the task failed; None for success.
        is_mistake: whether a mistake of the user is the reason.
    """

    task: str
    log: Path
    value: Any = None
    error: str | None = None
    is_mistake: bool = False


def run_task(task: Task) -> Outcome:
    """Run a task in this process. Errors are in the outcome, and with traceback in the log."""
    if not task.folder.is_dir():
        message = f"{task.folder}: not on this machine; the machines need a shared file system"
        return Outcome(task.name, task.log, error=message, is_mistake=True)
    before = Path.cwd()
    os.chdir(task.folder)
    try:
        with _output_to(task.folder / task.log):
            return _run(task)
    finally:
        os.chdir(before)


def _run(task: Task) -> Outcome:
    try:
        return Outcome(task.name, task.log, value=task.function(*task.arguments))
    except UserError as error:
        logger.error("error: %s", error.whole or error)
        return Outcome(task.name, task.log, error=str(error), is_mistake=True)
    except Exception as error:
        logger.exception("%s failed", task.name)
        message = machine_fault(error) or f"{type(error).__name__}: {one_line(error)}"
        return Outcome(task.name, task.log, error=message)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Append to a file what this process and libraries print, and the package's log messages."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    streams = {number: os.dup(number) for number in (1, 2)}
    with log.open("ab") as file:
        for number in streams:
            os.dup2(file.fileno(), number)
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = PACKAGE.level
    PACKAGE.setLevel(logging.INFO)
    PACKAGE.addHandler(handler)
    try:
        yield
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(level)
        handler.close()
        _flush()
        for number, stream in streams.items():
            os.dup2(stream, number)
            os.close(stream)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
