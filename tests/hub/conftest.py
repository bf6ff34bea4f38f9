"""The process without ser_hf that verifies models, faster."""

import pytest
from support.isolated import run_without_ser_hf

from ser_hf.hub import verify


@pytest.fixture
def forked(monkeypatch):
    """Runs the worker in a fork of a process that has imported transformers already."""

    def run(command, cwd, **_):
        code = (
            f"import runpy, sys\nsys.argv = {command[2:]!r}\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        run_without_ser_hf(code, cwd)

    monkeypatch.setattr(verify.subprocess, "run", run)
