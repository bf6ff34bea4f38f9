"""Sweeps whose trials are real runs: of the built-in corpus, and by Ray's workers."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ser_hf.errors import UserError
from ser_hf.recipe import read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
TINY = [
    *("corpus.speakers=6", "corpus.takes=1", "training.num_train_epochs=2", "evaluation.bootstrap=20"),
    *("model.channels=[4, 4, 4]", "model.lstm_hidden=4"),
]


def rows(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_sweep_of_real_runs_is_interrupted_and_goes_on(tmp_path, monkeypatch):
    """Two seeds, so that the figures are means; the second trial is interrupted after its first epoch."""
    from ser_hf.sweeps import sweep
    from ser_hf.sweeps.study import Study

    space = {"search": "grid", "space": {"training.learning_rate": [1e-3, 3e-3]}}
    changes = [*TINY, "training.seeds=[1, 2]"]

    def interrupt(self, claim, place, epoch, seconds, progress=Study.progress):
        progress(self, claim, place, epoch, seconds)
        if claim.number == 1 and epoch == 1 and not claim.resumed:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Study, "progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep(RECIPE, space, changes, output=tmp_path, tell=lambda _: None)
    assert (tmp_path / "trials" / "1" / "seed-1" / "checkpoints").is_dir()
    result = sweep(RECIPE, space, changes, output=tmp_path, tell=lambda _: None)
    table = {row["trial"]: row for row in rows(tmp_path)}
    assert [(table[n]["state"], table[n]["epochs"]) for n in "01"] == [("complete", "2"), ("complete", "2")]
    for number in (0, 1):
        report = json.loads((tmp_path / "trials" / str(number) / "report" / "report.json").read_text())
        assert report["judged_on"] == "validation"
        assert float(table[str(number)]["judged_by_uar"]) == report["parts"]["validation"]["uar"]
        assert float(table[str(number)]["validation_loss"]) > 0
    best = json.loads((tmp_path / "best" / "report" / "report.json").read_text())
    assert best["judged_on"] == "test"
    assert best["metrics"]["uar"] == result["tested"]["test"]["uar"]
    # The winner's own run is its trial again, to the last digit.
    assert result["tested"]["validation"]["uar"] == result["winner"]["value"]
    kept = [path.parent for path in (tmp_path / "trials").rglob("model") if path.is_dir()]
    assert {path.relative_to(tmp_path / "trials").parts[0] for path in kept} == {str(result["winner"]["number"])}
    assert read_recipe(tmp_path / "best.yaml").training.seeds == [1, 2]


def test_ray_is_asked_for_by_its_extra(tmp_path, monkeypatch):
    from ser_hf.sweeps import sweep

    monkeypatch.setitem(sys.modules, "ray", None)
    space = {"search": "grid", "space": {"training.learning_rate": [1e-3]}}
    with pytest.raises(UserError, match=r"--backend ray needs Ray: pip install 'ser_hf\[sweep,ray\]'"):
        sweep(RECIPE, space, TINY, output=tmp_path, backend="ray")


@pytest.mark.parametrize(
    ("machines", "workers", "gpus", "cores"),
    [
        ([{"CPU": 4}], 2, 0, 2),
        ([{"CPU": 4}, {"CPU": 4}], 1, 0, 4),  # a trial is on one machine
        ([{"CPU": 6}, {"CPU": 2}], 2, 0, 3),
        ([{"CPU": 8, "GPU": 4}, {"CPU": 64}], 4, 1, 2),  # only the first has GPUs
        ([{"CPU": 8, "GPU": 1}], 2, 0.5, 4),
        ([{"CPU": 2}], 5, 0, 1),
    ],
)
def test_cores_of_a_trial_fit_one_machine(machines, workers, gpus, cores):
    from ser_hf.sweeps.ray import cores_each

    assert cores_each(machines, workers, gpus) == cores


def test_gpus_that_no_machine_has_are_refused():
    from ser_hf.sweeps.ray import cores_each

    with pytest.raises(UserError, match="--gpus: 2 for each trial, and no machine of the cluster has so many"):
        cores_each([{"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1}], 1, 2)


ON_RAY = """
import sys
import ray
from ser_hf.cli import main
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_ray_runs_the_trials_of_the_same_sweep(tmp_path):
    pytest.importorskip("ray.tune")
    (tmp_path / "rates.yaml").write_text("search: grid\nspace: {training.learning_rate: [1.0e-3, 3.0e-3]}\n")
    sweep = ["sweep", os.path.relpath(RECIPE, tmp_path), "rates.yaml", *TINY, "--output", "swept"]
    environment = os.environ | {"PYTHONPATH": str(RECIPE.parents[1]), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", ON_RAY, *sweep, "--backend", "ray", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray runs 2 trials, 2 at a time, each with 1 cores and 0 GPUs" in done.stdout
    assert [row["state"] for row in rows(tmp_path / "swept")] == ["complete", "complete"]
    assert "on the test speakers, whom no other trial has met" in done.stdout
    # The same sweep, without Ray: nothing is left of it.
    command = [sys.executable, "-m", "ser_hf.cli", *sweep]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "trials by grid, 2 complete" in done.stdout
