"""A run whose disk fills, and one that is killed in its stages, end as a run that is left alone."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.processes import warm_process

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
TINY = ["corpus.speakers=6", "corpus.takes=1", "protocol.validation=0.2", "protocol.test=0.4"]
TINY += [
    "model.channels=[4]",
    "model.time_pooling=[8]",
    "model.band_pooling=[8]",
    "model.lstm_hidden=4",
]
TINY += ["training.num_train_epochs=2"]
# Not a divisor of an epoch's steps: most checkpoints are in the middle of one.
OFTEN = ["training.average.kind=ema", "training.per_device_train_batch_size=2"]
OFTEN += [
    f"training.{what}_{kind}" for what in ("eval", "save") for kind in ("strategy=steps", "steps=4")
]
IMPORTS = "import torch, transformers, ser_hf.cli, ser_hf.experiment.run, ser_hf.report.plots"
# The system refuses larger files, as a full disk does: of libraries in other languages too, and
# whoever the user is.
LIMITED = """
import resource, sys
from ser_hf.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
print("code", main(["train", *sys.argv[2:]]))
"""
KILLED = """
import os, signal, sys
import transformers
import ser_hf.experiment.run as run
from ser_hf.cli import main

stages = {"training": (transformers.Trainer, "training_step"), "report": (run, "save_run")}
place, name = stages[sys.argv[1]]
work = getattr(place, name)
calls = []

def counted(*given, **more):
    calls.append(given)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*given, **more)

setattr(place, name, counted)
main(["train", *sys.argv[3:]])
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts code in a process that has imported what a run needs."""
    with warm_process(
        IMPORTS, {"OMP_NUM_THREADS": "1"}, tmp_path_factory.mktemp("faulty") / "written"
    ) as started:
        yield started


@pytest.fixture
def train(start, tmp_path):
    """A function from a limit of the size of files (-1: none) and a run to its exit code and
    errors.
    """

    def run(limit, name, cache="cache", *words):
        _, out, err = start(LIMITED, str(limit), *words_of(tmp_path, name, cache), *words).ended()
        assert "Traceback" not in err, err
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        return [line for line in out.splitlines() if line.startswith("code ")] + errors

    return run


def words_of(folder, name, cache):
    return [
        str(RECIPE),
        *TINY,
        f"output_dir={folder / name}",
        f"audio.cache_dir={folder / cache}",
        "--resume",
    ]


def report(folder):
    return json.loads((folder / "report" / "report.json").read_text())


def test_a_run_whose_disk_fills_is_one_line_each_time_and_continues(train, tmp_path):
    assert train(-1, "whole") == ["code 0"]
    for limit, cache, expected in (
        (30_000, "other", r"other/waveforms: cannot be written to \(File too large\); make room"),
        (10_000, "cache", r"checkpoint-\d+: cannot be written \(.*File too large"),
        (30_000, "cache", r"run/model cannot be written: .*File too large; make room"),
    ):
        code, error = train(limit, "run", cache)
        assert code == "code 2"
        assert re.search(expected, error), error
        assert not (tmp_path / "run" / "report").exists()
    assert train(-1, "run") == ["code 0"]
    assert report(tmp_path / "run")["metrics"] == pytest.approx(
        report(tmp_path / "whole")["metrics"], abs=1e-6
    )


@pytest.mark.exhaustive
def test_a_run_that_is_killed_in_its_stages_ends_as_one_that_is_not(train, start, tmp_path):
    """Between two checkpoints, and before its report; benchmarks/kills.py kills at random, and in
    publishing too.
    """
    whole = tmp_path / "whole"
    killed = tmp_path / "killed"
    assert train(-1, "whole", "cache", *OFTEN) == ["code 0"]
    for stage, call in (("training", 7), ("training", 5), ("report", 1)):
        process = start(KILLED, stage, str(call), *words_of(tmp_path, "killed", "own"), *OFTEN)
        assert process.ended()[0] == -signal.SIGKILL
        assert list((killed / "checkpoints").glob("checkpoint-*"))
        assert not (killed / "report").exists()
    assert train(-1, "killed", "own", *OFTEN) == ["code 0"]
    one = report(whole)
    other = report(killed)
    assert other["metrics"] == pytest.approx(one["metrics"], abs=1e-6)
    np.testing.assert_allclose(*([*own["intervals"].values()] for own in (one, other)), atol=1e-6)
    scores = [
        {
            entry["step"]: entry["validation"]["uar"]
            for entry in own["history"]
            if "validation" in entry
        }
        for own in (one, other)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-6)
    assert len(scores[0]) > 2
    tables = [
        pq.read_table(folder / "report" / "predictions.parquet") for folder in (whole, killed)
    ]
    for name in set(tables[0].column_names) - {"path"}:
        values = [table[name].to_pylist() for table in tables]
        if name.startswith("p_"):
            np.testing.assert_allclose(*values, atol=1e-6)
        else:
            assert values[0] == values[1], name
