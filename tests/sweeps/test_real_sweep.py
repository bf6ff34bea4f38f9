"""Sweeps of real runs on the built-in corpus."""

import json
from pathlib import Path

import pytest
from stubs import table

from ser_hf.experiment import run
from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps import SweepOptions, sweep
from ser_hf.utils.run_folder import RunFolder

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
TINY = [
    *(
        "corpus.speakers=6",
        "corpus.takes=1",
        "training.num_train_epochs=2",
        "evaluation.bootstrap=20",
    ),
    *("model.channels=[4, 4, 4]", "model.lstm_hidden=4"),
]


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
    assert [(rows[n]["state"], rows[n]["epochs"]) for n in (0, 1)] == [
        ("complete", "2"),
        ("complete", "2"),
    ]
    folders = RunFolder(tmp_path / "trials" / "0"), RunFolder(tmp_path / "best")
    trial, best = (json.loads((folder.report / "report.json").read_text()) for folder in folders)
    assert (trial["judged_on"], best["judged_on"]) == ("validation", "test")
    assert float(rows[0]["objective"]) == trial["parts"]["validation"]["uar"]
    assert best["metrics"]["uar"] == result.tested.report.metrics["uar"]
    # The winner's own run repeats its trial.
    assert result.tested.report.parts["validation"]["uar"] == pytest.approx(
        result.winner.value, abs=0.1
    )
    kept = [path.parent for path in (tmp_path / "trials").rglob("model") if path.is_dir()]
    assert {path.relative_to(tmp_path / "trials").parts[0] for path in kept} == {
        str(result.winner.number)
    }
    assert read_recipe(tmp_path / "best.yaml").training.seeds == [1, 2]
