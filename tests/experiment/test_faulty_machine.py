"""A run whose disk fills, and one that is killed in every stage, end as a run that is left alone."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import warm_process

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TINY = ["corpus.speakers=6", "corpus.takes=1", "protocol.validation=0.2", "protocol.test=0.4"]
TINY += ["model.channels=[4]", "model.time_pooling=[8]", "model.band_pooling=[8]", "model.lstm_hidden=4"]
TINY += ["training.num_train_epochs=2"]
IMPORTS = "import torch, transformers, ser_hf.cli, ser_hf.experiment.run, ser_hf.report.plots"
# The system refuses larger files, as a full disk does: of libraries in other languages too, and whoever the user is.
LIMITED = """
import resource, sys
from ser_hf.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
print("code", main(["train", *sys.argv[2:]]))
"""


def test_a_run_whose_disk_fills_is_one_line_each_time_and_continues(tmp_path):
    def words(name, cache):
        places = [f"output_dir={tmp_path / name}", f"audio.cache_dir={tmp_path / cache}"]
        return [str(ROOT / "recipes" / "quickstart.yaml"), *TINY, *places, "--resume"]

    def metrics(name):
        return json.loads((tmp_path / name / "report" / "report.json").read_text())["metrics"]

    with warm_process(IMPORTS, {"OMP_NUM_THREADS": "1"}, tmp_path / "written") as start:

        def train(limit, name, cache):
            _, out, err = start(LIMITED, str(limit), *words(name, cache)).ended()
            assert "Traceback" not in err, err
            errors = [line for line in err.splitlines() if line.startswith("error: ")]
            return [line for line in out.splitlines() if line.startswith("code ")] + errors

        assert train(-1, "whole", "cache") == ["code 0"]
        for limit, cache, expected in (
            (30_000, "other", r"other/waveforms: cannot be written to \(File too large\); make room"),
            (10_000, "cache", r"checkpoint-\d+: cannot be written \(.*File too large"),
            (30_000, "cache", r"run/model cannot be written: .*File too large; make room"),
        ):
            code, error = train(limit, "run", cache)
            assert code == "code 2"
            assert re.search(expected, error), error
            assert not (tmp_path / "run" / "report").exists()
        assert train(-1, "run", "cache") == ["code 0"]
    assert metrics("run") == pytest.approx(metrics("whole"), abs=1e-6)


def test_a_run_that_is_killed_in_its_stages_ends_as_one_that_is_not(tmp_path):
    """In training and in its report; benchmarks/kills.py alone kills it twenty times, in every stage."""
    command = [sys.executable, "benchmarks/kills.py", "--kills", "2", "--unpublished", "--output"]
    command.append(tmp_path / "kills.json")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "kills.json").read_text())
    assert [kill["exit_code"] for kill in found["kills"]] == [-9] * 2
    assert all(found["equal"].values())
