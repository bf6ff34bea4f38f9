import os

import pytest
from stubs import RECIPE, SPACE, Runs

from ser_hf.sweeps import sweep


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """A journal waits for the disk at every line, which on a busy machine is most of the time that a test takes."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


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
