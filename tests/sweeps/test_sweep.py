"""Starting and continuing a sweep: its folder, its command, and one process at a time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from stubs import GRID, RECIPE, SPACE, Runs, evaluated, grid, rate_of, states, uar_of, wait_for
from support.commands import complaint
from support.processes import started

from ser_hf import cli
from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps import SweepOptions, sweep
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import dump_yaml


def test_a_grid_runs_each_point_once_on_validation_and_the_best_once_on_test(swept):
    result, run, lines = swept(GRID)
    assert evaluated(run) == ["validation"] * 6 + ["test"]
    points = {(rate_of(recipe), recipe.model.options["dropout"]) for recipe in run.recipes}
    assert len(points) == 6
    assert result.winner.settings == {"training.learning_rate": 1e-3, "model.dropout": 0.1}
    report = result.tested.report
    assert report.parts["validation"]["uar"] == 0.89
    assert report.metrics["uar"] == 0.79
    folders = [recipe.output_dir for recipe in run.recipes]
    trials = [str(swept.folder / "trials" / str(number)) for number in range(6)]
    assert folders == [*trials, str(swept.folder / "best")]
    # One line for each trial.
    assert [line for line in lines if line.startswith("trial 2")] == [
        "trial 2 complete UAR 0.7900: training.learning_rate=0.002, model.dropout=0.1"
    ]
    assert "  UAR 0.7900 on the test split, scored once (trial 0)" in lines
    best = read_recipe(swept.folder / "best.yaml")
    assert best.evaluation.part == "test"
    assert best.output_dir == str(swept.folder / "best")
    assert uar_of(best) == 0.89
    # Called again, nothing is run and nothing is scored.
    again, second, lines = swept(GRID)
    assert second.recipes == []
    assert again.tested == result.tested
    assert "  UAR 0.7900 on the test split, scored once (trial 0)" in lines


def test_trials_have_no_foil_and_are_not_published(swept, monkeypatch):
    monkeypatch.setattr("ser_hf.hub.push.resolve_repo_id", lambda *_, **__: "someone/model")
    published = []
    monkeypatch.setattr("ser_hf.hub.publish.publish", lambda run, **options: published.append(run))
    _, run, _ = swept(grid(1e-3, 2e-3), changes=["protocol.foil=random", "hub.repo=someone/model"])
    assert [recipe.protocol.foil for recipe in run.recipes] == [None, None, "random"]
    assert [recipe.hub.repo for recipe in run.recipes] == [None, None, "someone/model"]
    assert published == [str(swept.folder / "best")]


def test_trials_of_the_command_line_replace_those_of_the_space(swept, monkeypatch):
    _, first, _ = swept(trials=2, test=False)
    assert len(first.recipes) == 2
    _, third, _ = swept(trials=3, test=False)
    assert len(third.recipes) == 1
    with pytest.raises(UserError, match="^trials: "):
        swept(trials=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="cannot run under a launcher"):
        swept()


def sweep_until_killed(folder, begun):
    """Sweeps until the second epoch of trial 2, and stays there."""

    def wait(recipe, epoch):
        if epoch == 2 and recipe.output_dir.endswith("/2"):
            begun.touch()
            signal.pause()

    sweep(RECIPE, {**SPACE, **GRID}, [], SweepOptions(output=folder), run=Runs(before=wait))


def test_a_killed_sweep_continues_with_its_finished_trials_and_the_running_one(swept, tmp_path):
    worker = started(sweep_until_killed, swept.folder, tmp_path / "begun")
    wait_for((tmp_path / "begun").exists)
    with pytest.raises(UserError, match="^--output: another process runs the sweep in"):
        swept(GRID)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.ended()[0] == -signal.SIGKILL
    result, run, lines = swept(GRID)
    # 3 is the retry of 2.
    folders = [Path(recipe.output_dir).name for recipe in run.recipes]
    assert folders == ["2", "4", "5", "6", "best"]
    assert run.resumed == [True, False, False, False, False]
    assert lines[1] == "trial 2 continues: training.learning_rate=0.002, model.dropout=0.1"
    assert states(swept.folder) == ["complete"] * 6


def test_a_storage_that_cannot_be_used_is_refused(swept, url, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--storage: "):
        swept(storage="nodatabase://x")

    def optimize(*_, **__):
        raise optuna.exceptions.StorageInternalError("database is locked")

    monkeypatch.setattr(optuna.Study, "optimize", optimize)
    message = "^--storage: database is locked; the same command continues the sweep"
    with pytest.raises(UserError, match=message):
        swept(output=tmp_path / "locked")


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        ({"space": {**SPACE["space"], "model.dropout": [0.1, 0.5]}}, [], "space.model.dropout: "),
        ({"seed": 3}, [], "seed: 3 here, 0 in the sweep at"),
        ({}, ["training.num_train_epochs=7"], "training.num_train_epochs: 7"),
    ],
)
def test_another_space_or_recipe_is_refused(space, changes, message, swept):
    swept(trials=1, test=False)
    with pytest.raises(UserError, match=f"^{message}.*choose another --output"):
        swept(space, changes=changes)


def test_a_folder_that_belongs_to_no_sweep_is_refused_and_left_alone(swept, tmp_path):
    swept.folder.mkdir()
    (swept.folder / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"contains thesis\.tex and no sweep"):
        swept()
    assert [child.name for child in swept.folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        swept(output=swept.folder / "thesis.tex")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Words of `ser-hf sweep` for two trials whose runs are stubs."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(dump_yaml(RECIPE))
    space = tmp_path / "rates.yaml"
    space.write_text(dump_yaml({**GRID, "trials": 2}))
    monkeypatch.setattr(sweep, "__kwdefaults__", {**sweep.__kwdefaults__, "run": Runs()})
    return ["sweep", str(recipe), str(space), f"output_dir={tmp_path / 'runs'}"]


def test_the_command_sweeps_and_prints_the_best_trial(command, tmp_path, capsys):
    assert cli.main([*command, "--no-test"]) == 0
    assert (tmp_path / "runs-rates" / "leaderboard.html").is_file()
    assert "best of 2 trials: 0, UAR 0.8900 on validation" in capsys.readouterr().out


def test_the_command_prints_the_report_of_the_tested_trial_as_an_object(command, tmp_path, capsys):
    assert cli.main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["winner"]["number"] == 0
    assert printed["tested"]["trial"] == 0
    assert printed["tested"]["trials"] == 2
    report = printed["tested"]["report"]
    assert report["judged_on"] == "test"
    assert report["metrics"]["uar"] == pytest.approx(0.79)
    assert report["protocol"]["name"] == "speaker_independent"


def test_the_command_prints_no_tested_run_without_a_test(command, capsys):
    assert cli.main([*command, "--no-test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tested"] is None


def test_the_command_reports_a_mistake_in_the_space_in_one_line(command, tmp_path, capsys):
    (tmp_path / "rates.yaml").write_text(dump_yaml({**GRID, "trails": 2}))
    assert complaint(capsys, *command).startswith("error: trails: unknown key")


def test_optuna_is_named_by_its_extra():
    program = (
        "import sys\n"
        "sys.modules['optuna'] = None\n"
        "from ser_hf import cli\n"
        f"cli.main(['sweep', 'a.yaml', {__file__!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=900
    )
    assert done.stderr.endswith("error: sweeps need Optuna: pip install 'ser_hf[sweep]'\n")
