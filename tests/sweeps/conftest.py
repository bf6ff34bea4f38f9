import gc
import os

import pytest
from stubs import RECIPE, SPACE, Runs

from ser_hf.sweeps import sweep


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """A journal waits for the disk at every line, and a trial's end goes through all of torch's objects for garbage:
    together most of the time that a test would take."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(gc, "collect", lambda: None)


@pytest.fixture
def swept(tmp_path):
    """A function that sweeps in one folder with a stub for the runs; it gives (result, stub, printed lines)."""

    def start(space=None, run=None, changes=(), **settings):
        run, lines = run or Runs(), []
        settings = {"output": tmp_path / "sweep", "run": run, "tell": lines.append, **settings}
        result = sweep(RECIPE, {**SPACE, **(space or {})}, changes, **settings)
        return result, run, lines

    start.folder = tmp_path / "sweep"
    return start
