"""Where the trials of a sweep are kept: a journal in its folder, or a database.

A journal is a file that is only ever appended to: unlike SQLite's, its lock (a file made with O_EXCL) also works on
network file systems, and a reader sees a trial whole or not at all.

What several machines must agree on, who tries a point and who tests, needs no lock between them: a storage numbers
what is put into it (one insertion, with all that is said of it), and of several that claim one thing the lowest number
has it. Whoever finds itself higher withdraws.
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from ..errors import UserError

# Seconds between the tries of a call that fails: "database is locked" and a server that starts anew pass by.
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
# What it says of names, values, damage or a trial that somebody else has ended is an answer, and stays the same.
_ANSWERS = (
    *(optuna.exceptions.DuplicatedStudyError, optuna.exceptions.UpdateFinishedTrialError),
    *(KeyError, ValueError),
)


class StorageTrouble(UserError):
    """The storage does not answer; nothing is lost, and the same command goes on."""


class Patient:
    """A storage, each of whose calls is tried again where it fails.

    Raises:
        StorageTrouble: once it has failed too often.
    """

    def __init__(self, storage: BaseStorage, where: str):
        self._storage, self._where = storage, where

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._storage, name)
        return functools.partial(self._tried, known) if callable(known) else known

    def _tried(self, call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        for wait in _WAITS:
            try:
                return call(*arguments, **settings)
            except _ANSWERS:
                raise
            except Exception:  # each database has errors of its own
                time.sleep(wait)
        try:
            return call(*arguments, **settings)
        except _ANSWERS:
            raise
        except Exception as error:
            raise StorageTrouble(
                f"{self._where}: {first_line(error)}; the same command goes on where this one ends"
            ) from error


class Journal(JournalFileBackend):
    """Optuna's file, which mends itself: a line that its writer did not finish, as it was killed or the disk was
    full, is cut off by whoever writes next, so that it spoils no other one."""

    def __init__(self, path: Path):
        self._path, self._turn = path, JournalFileOpenLock(str(path))
        super().__init__(str(path), self._turn)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._turn.acquire()
        try:
            cut_off_torn_line(self._path)
        finally:
            self._turn.release()
        super().append_logs(logs)

    def read_logs(self, log_number_from: int):
        try:
            yield from super().read_logs(log_number_from)
        except ValueError:
            raise UserError(
                f"{self._path}, line {_first_damaged(self._path)}: no JSON, the disk was full or is damaged; delete "
                "that line while no process runs the sweep, and the rest is as it was"
            ) from None


def cut_off_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


def _first_damaged(path: Path) -> int:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            return number
    return 0


def open_storage(url: str | None, path: Path) -> Any:
    """The database at `url`, or the journal at `path`.

    Raises:
        UserError: if there is none.
    """
    where = "study.journal" if url is None else "--storage"
    try:
        return Patient(JournalStorage(Journal(path)) if url is None else get_storage(url), where)
    except UserError:
        raise
    except Exception as error:  # each database has errors of its own
        raise UserError(f"{where}: {first_line(error)}") from error


def put(storage: Any, study_id: int, attributes: dict[str, Any], answers: dict[str, Any] | None = None) -> int:
    """Puts in a running trial that has its attributes from the start, so that nobody ever sees it without. `answers`
    are what it is to answer when it is asked for parameters. Returns its id; its number is the storage's to give."""
    system = {} if answers is None else {"fixed_params": answers}
    return storage.create_new_trial(
        study_id, create_trial(state=TrialState.RUNNING, user_attrs=attributes, system_attrs=system)
    )


def withdraw(storage: Any, trial_id: int) -> None:
    """Takes a trial back: it counts for nothing from now on."""
    storage.set_trial_user_attr(trial_id, "withdrawn", True)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
