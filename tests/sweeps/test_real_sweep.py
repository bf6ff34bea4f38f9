"""Sweeps of real runs on the built-in corpus."""

import json
from pathlib import Path

import pytest
from stubs import table

from ser_hf.experiment import run
from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps import SweepOptions, sweep
from ser_hf.utils.run_folder import RunFolder

pytestmark = pytest.mark.exhaustive
RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
TINY = [
    "corpus.speakers=6",
    "corpus.takes=1",
    "training.num_train_epochs=2",
    "evaluation.bootstrap=20",
    "model.channels=[4, 4, 4]",
    "model.lstm_hidden=4",
]


def report_of(folder):
    return json.loads((RunFolder(folder).report / "report.json").read_text(encoding="utf-8"))


def test_a_sweep_of_real_runs_is_interrupted_and_continues(tmp_path):
    """Two seeds, so that the figures are means; the second trial is interrupted after its first
    epoch.
    """
    space = {"search": "grid", "space": {"training.learning_rate": [1e-3, 3e-3]}}
    changes = [*TINY, "training.seeds=[1, 2]"]

    def interrupted(recipe, resume=False, watch=None):
        def stop(place, epoch, metrics):
            watch(place, epoch, metrics)
            if recipe.output_dir.endswith("/1") and epoch == 1:
                raise KeyboardInterrupt

        return run.run(recipe, resume=resume, watch=stop)

    with pytest.raises(KeyboardInterrupt):
        sweep(RECIPE, space, changes, SweepOptions(tmp_path), run=interrupted)
    assert (tmp_path / "trials" / "1" / "seed-1" / "checkpoints").is_dir()
    result = sweep(RECIPE, space, changes, SweepOptions(tmp_path))
    rows = table(tmp_path)
    for number in (0, 1):
        assert rows[number]["state"] == "complete"
        assert rows[number]["epochs"] == "2"
    trial = report_of(tmp_path / "trials" / "0")
    best = report_of(tmp_path / "best")
    assert trial["judged_on"] == "validation"
    assert best["judged_on"] == "test"
    assert float(rows[0]["objective"]) == trial["parts"]["validation"]["uar"]
    assert best["metrics"]["uar"] == result.tested.report.metrics["uar"]
    # The winner's own run repeats its trial.
    uar = result.tested.report.parts["validation"]["uar"]
    assert uar == pytest.approx(result.winner.value, abs=0.1)
    trials = tmp_path / "trials"
    models = [path for path in trials.rglob("model") if path.is_dir()]
    trials_with_models = {path.relative_to(trials).parts[0] for path in models}
    assert trials_with_models == {str(result.winner.number)}
    assert read_recipe(tmp_path / "best.yaml").training.seeds == [1, 2]
