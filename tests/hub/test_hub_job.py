"""The script for jobs of the Hub: it publishes a run, and continues one that was stopped."""

import json
import shutil
from pathlib import Path

import pytest
from support.hub import LoopbackHub
from support.processes import warm_process
from support.recipes import TINY_CRNN

from ser_hf.utils.yaml import dump_yaml

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "examples" / "hub_job.py"
RECIPE = {
    "name": "job",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "test": 0.4},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 2, "use_cpu": True},
    "evaluation": {"bootstrap": 10, "map": None},
}
IMPORTS = """
import torch, transformers
import ser_hf, ser_hf.train, ser_hf.hub.publish, ser_hf.experiment.run
"""
# STOPPED stands for the minutes that are over: the run is interrupted after its first epoch.
COMMAND = """
import os, runpy, sys
from ser_hf.experiment import run

run_to_its_end = run.run

def stop(place, epoch, metrics):
    raise KeyboardInterrupt

def run_one_epoch(recipe, resume=False, **options):
    return run_to_its_end(recipe, resume=resume, watch=stop)

script, folder, *sys.argv[1:] = sys.argv[1:]
os.chdir(folder)
if "STOPPED" in os.environ:
    run.run = run_one_epoch
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    print("code", ended.code)
"""


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def job(hub, tmp_path):
    """A function that runs the script in the folder of this test, as a job does."""
    (tmp_path / "job.yaml").write_text(dump_yaml(RECIPE), encoding="utf-8")
    words = [str(SCRIPT), str(tmp_path), "tester/job", "job.yaml"]
    with warm_process(IMPORTS, hub.environment(tmp_path / "home"), tmp_path / "written") as start:

        def run(**environment):
            return start(COMMAND, *words, **environment).ended()

        yield run


def test_a_job_that_was_stopped_continues_on_another_machine(hub, job, tmp_path):
    _, out, err = job(STOPPED="1")
    assert "code 130" in out, err
    assert "the same command continues it" in out
    kept = hub.files("tester/job-run", "dataset")
    assert any(name.startswith("checkpoints/") for name in kept)
    assert hub.private("tester/job-run", "dataset")

    shutil.rmtree(tmp_path / "runs")
    _, out, err = job()
    assert "code 0" in out, err
    report = json.loads(hub.files("tester/job")["report.json"])
    assert [entry["epoch"] for entry in report["history"]] == [1.0, 2.0]
    assert "epoch   2.0/2" in err
    assert "epoch   1.0/2" not in err, "it was trained in the first job"
    assert hub.private("tester/job")
