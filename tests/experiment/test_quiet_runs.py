"""A run of a shipped recipe prints no warning of a library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.testing import write_checkpoint, write_corpus

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [pytest.param(["--dry-run"], marks=pytest.mark.exhaustive), []],
    ids=["dry run", "run"],
)
def test_fine_tuning_of_an_encoder_prints_no_warning(tmp_path, arguments):
    write_corpus("cremad", tmp_path / "CREMA-D", speakers=10, takes=1)
    write_checkpoint(tmp_path / "checkpoint", "wav2vec2", "layer")
    command = [
        *(sys.executable, "-m", "ser_hf.train", str(RECIPES / "cremad_fast.yaml")),
        *arguments,
        f"corpus.root={tmp_path / 'CREMA-D'}",
        f"model.checkpoint={tmp_path / 'checkpoint'}",
        f"output_dir={tmp_path / 'run'}",
        f"audio.cache_dir={tmp_path / 'cache'}",
        "training.max_steps=2",
        "training.activation_checkpointing=true",
        "freeze.top_layers=1",
        "evaluation.bootstrap=20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    lines = [line for line in output.splitlines() if re.search("warn|deprecat", line.lower())]
    assert lines == []
