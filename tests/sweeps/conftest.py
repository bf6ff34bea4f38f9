import gc

import pytest
from stubs import RECIPE, SPACE, Runs

from ser_hf.sweeps import SweepOptions, sweep


@pytest.fixture(autouse=True)
def without_garbage_collection(monkeypatch):
    """The end of a trial looks through torch's objects for garbage: most of a test's time."""
    monkeypatch.setattr(gc, "collect", lambda: None)


@pytest.fixture
def swept(tmp_path):
    """A function that sweeps in one folder with a stub for the runs; it returns (result, stub,
    printed lines).
    """

    def start(space=None, run=None, changes=(), **settings):
        run = run or Runs()
        lines = []
        options = SweepOptions(**{"output": tmp_path / "sweep", **settings})
        result = sweep(
            RECIPE, {**SPACE, **(space or {})}, changes, options, run=run, echo=lines.append
        )
        return result, run, lines

    start.folder = tmp_path / "sweep"
    return start


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'shared.db'}"
