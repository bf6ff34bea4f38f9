"""The scripts in examples/ run as they stand, with a tiny checkpoint."""

import os
import runpy
import sys
from pathlib import Path

import pytest
from support.testing import CHECKPOINTS, write_checkpoint

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_a_trainer_of_your_own(tmp_path, monkeypatch, capsys):
    write_checkpoint(tmp_path / "tiny", **CHECKPOINTS["wav2vec2"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "SER_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["own_trainer.py", str(tmp_path / "tiny")])
    runpy.run_path(str(EXAMPLES / "own_trainer.py"), run_name="__main__")
    assert "test_uar" in capsys.readouterr().out
