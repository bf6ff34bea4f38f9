"""A sweep with stub runs: trials, resumption, pruning, failures, and a test split that is scored
once.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from filelock import FileLock, Timeout
from stubs import RECIPE, SPACE, Runs, evaluated, grid, rate_of, rates, states, table, uar_of
from support.commands import complaint
from support.processes import started

from ser_hf import cli
from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps import SweepOptions, study, sweep
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import dump_yaml

POINTS = {"training.learning_rate": [1e-3, 2e-3, 5e-3], "model.dropout": [0.1, 0.3]}
GRID = {"search": "grid", "trials": None, "space": POINTS}
RATES = grid(1e-3, 1.2e-3, 1.4e-3, 1.6e-3, 5e-3)


class Killed(BaseException):
    """What a SIGKILL leaves: nothing is recorded of it."""


def raise_at(error, when):
    def before(recipe, epoch):
        if when(recipe, epoch):
            raise error

    return before


def wait_for(condition):
    while not condition():
        time.sleep(0.01)


def page(folder):
    return (folder / "leaderboard.html").read_text(encoding="utf-8")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'shared.db'}"


def test_a_grid_runs_each_point_once_on_validation_and_the_best_once_on_test(swept):
    result, run, lines = swept(GRID)
    assert evaluated(run) == ["validation"] * 6 + ["test"]
    assert (
        len(
            {
                (r.training.arguments["learning_rate"], r.model.options["dropout"])
                for r in run.recipes
            }
        )
        == 6
    )
    assert result.winner.settings == {"training.learning_rate": 1e-3, "model.dropout": 0.1}
    report = result.tested.report
    assert (report.parts["validation"]["uar"], report.metrics["uar"]) == (0.89, 0.79)
    folders = [
        Path(recipe.output_dir).relative_to(swept.folder).as_posix() for recipe in run.recipes
    ]
    assert folders == [*(f"trials/{number}" for number in range(6)), "best"]
    # One line for each trial.
    assert [line for line in lines if line.startswith("trial 2")] == [
        "trial 2 complete UAR 0.7900: training.learning_rate=0.002, model.dropout=0.1"
    ]
    assert "  UAR 0.7900 on the test split, scored once (trial 0)" in lines
    best = read_recipe(swept.folder / "best.yaml")
    assert (best.evaluation.part, best.output_dir, uar_of(best)) == (
        "test",
        str(swept.folder / "best"),
        0.89,
    )
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
    assert len(swept(trials=2, test=False)[1].recipes) == 2
    assert len(swept(trials=3, test=False)[1].recipes) == 1
    with pytest.raises(UserError, match="^trials: "):
        swept(trials=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="cannot run under a launcher"):
        swept()


def test_a_sweep_in_two_calls_has_the_trials_of_one_call(swept, tmp_path):
    space = {"search": "tpe", "trials": 11}  # TPE draws its first ten at random
    _, whole, _ = swept(space, output=tmp_path / "whole", test=False)
    _, first, _ = swept(space, trials=3, test=False)
    _, rest, _ = swept(space, test=False)
    assert rates(first) + rates(rest) == rates(whole)
    assert len(set(rates(whole))) == 11
    _, other, _ = swept({**space, "seed": 1}, trials=1, output=tmp_path / "other", test=False)
    assert rates(other) != rates(whole)[:1]


def test_only_the_best_trials_weights_are_kept_unless_requested(swept, tmp_path):
    swept(grid(1e-3, 2e-3))
    assert [path.parent.name for path in swept.folder.glob("trials/*/model")] == ["0"]
    assert [path.parent.name for path in swept.folder.glob("trials/*/checkpoints")] == ["0"]
    assert len(list(swept.folder.glob("trials/*/report/report.json"))) == 2
    swept(grid(1e-3, 2e-3), output=tmp_path / "kept", keep_models=True, test=False)
    assert len(list(tmp_path.glob("kept/trials/*/model"))) == 2


def test_a_trial_that_falls_behind_is_pruned_and_keeps_its_best_so_far(swept):
    pruner = {"kind": "median", "startup_trials": 2, "warmup_epochs": 1}
    _, run, _ = swept({**RATES, "pruner": pruner}, Runs(epochs=6), test=False)
    assert states(swept.folder) == ["complete", "complete", "pruned", "pruned", "pruned"]
    row = table(swept.folder)[4]
    assert (row["epochs"], row["rank"]) == ("2", "")  # the first epoch is safe
    assert float(row["objective"]) == pytest.approx(uar_of(run.recipes[4]) * 2 / 6)
    assert not (swept.folder / "trials" / "4" / "model").exists()


def test_only_whole_epochs_of_the_first_fold_are_compared(swept):
    class Folds(Runs):
        def validate(self, watch, epoch, uar):
            watch(
                ("fold-1",) if epoch <= 4 else ("fold-2",), ((epoch - 1) % 4 + 1) / 2, {"uar": uar}
            )

    swept({**RATES, "trials": 1}, Folds(epochs=8), test=False)
    (trial,) = optuna.load_study(
        study_name=None, storage=f"sqlite:///{swept.folder / 'study.db'}"
    ).trials
    assert trial.intermediate_values == {
        1: pytest.approx(0.87 * 2 / 8),
        2: pytest.approx(0.87 * 4 / 8),
    }


def test_ctrl_c_leaves_the_trial_to_be_continued(swept, monkeypatch):
    monkeypatch.setattr(study, "MAX_RETRIES", 1)
    stop = raise_at(
        KeyboardInterrupt, lambda recipe, epoch: epoch == 2 and recipe.output_dir.endswith("/1")
    )
    for _ in range(study.MAX_RETRIES + 2):  # however often it comes
        with pytest.raises(KeyboardInterrupt):
            swept(GRID, Runs(before=stop))
    _, run, lines = swept(GRID)
    assert Path(run.recipes[0].output_dir).name == "1"
    assert run.resumed == [True, False, False, False, False, False]
    assert "trial 1 continues: training.learning_rate=0.001, model.dropout=0.3" in lines
    assert states(swept.folder) == ["complete"] * 6


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
    with pytest.raises(
        UserError, match="another process runs the sweep in .*; share a sweep by --storage"
    ):
        swept(GRID)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.ended()[0] == -signal.SIGKILL
    result, run, lines = swept(GRID)
    # 3 is the retry of 2
    assert " ".join(Path(recipe.output_dir).name for recipe in run.recipes) == "2 4 5 6 best"
    assert run.resumed == [True, False, False, False, False]
    assert lines[1] == "trial 2 continues: training.learning_rate=0.002, model.dropout=0.1"
    assert states(swept.folder) == ["complete"] * 6


def test_a_trial_that_kills_its_process_again_and_again_fails(swept, monkeypatch):
    monkeypatch.setattr(study, "MAX_RETRIES", 1)
    die = raise_at(Killed, lambda recipe, epoch: recipe.output_dir.endswith("/1"))
    for _ in range(study.MAX_RETRIES + 1):
        with pytest.raises(Killed):
            swept(grid(1e-3, 2e-3, 3e-3), Runs(before=die), test=False)
    _, run, _ = swept(grid(1e-3, 2e-3, 3e-3), Runs(before=die), test=False)
    assert rates(run) == [3e-3]
    assert states(swept.folder) == ["complete", "failed", "complete"]
    assert (
        table(swept.folder)[1]["message"]
        == "its process was killed, perhaps because memory ran out"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("training.optim: no such one"), "training.optim: no such one"),
        (ValueError("two\nlines"), "ValueError: two"),
    ],
)
def test_a_trial_that_fails_is_recorded_and_the_sweep_continues(error, message, swept):
    fail = raise_at(error, lambda recipe, epoch: recipe.output_dir.endswith("/1"))
    _, run, lines = swept(grid(1e-3, 2e-3, 3e-3), Runs(before=fail), test=False)
    assert states(swept.folder) == ["complete", "failed", "complete"]
    assert table(swept.folder)[1]["message"] == message
    assert f"trial 1 failed: training.learning_rate=0.002; {message}" in lines
    assert swept(grid(1e-3, 2e-3, 3e-3), test=False)[1].recipes == []
    assert rates(swept(grid(1e-3, 2e-3, 3e-3), retry_failed=True, test=False)[1]) == [2e-3]
    assert (states(swept.folder), table(swept.folder)[1]["message"]) == (["complete"] * 3, "")


def test_trials_without_a_finite_metric_fail(swept):
    changes = {1.6e-3: {"validation": {"uar": None}}, 5e-3: {"validation": {"wa": 0.5}}}
    run = Runs(
        change=lambda recipe, report: report["parts"].update(changes.get(rate_of(recipe), {}))
    )
    swept(RATES, run, test=False)
    assert (
        table(swept.folder)[3]["message"]
        == "metric: uar is undefined on this recipe's validation split"
    )
    assert states(swept.folder) == ["complete", "complete", "complete", "failed", "failed"]


def test_a_metric_of_zero_is_a_result(swept):
    def change(recipe, report):
        report["parts"]["validation"]["uar"] = 0.0

    swept(grid(1e-3), Runs(change=change), test=False)
    assert states(swept.folder) == ["complete"]
    assert float(table(swept.folder)[0]["objective"]) == 0.0


def test_without_a_test_the_best_recipe_is_only_written(swept, tmp_path):
    result, run, lines = swept(grid(1e-3), test=False)
    assert (evaluated(run), result.tested) == (["validation"], None)
    assert f"ser-hf train {swept.folder / 'best.yaml'}" in lines[-2]
    assert "the test split is not scored" in page(swept.folder)
    result, run, _ = swept(grid(1e-3))
    assert (evaluated(run), result.tested.trial) == (["test"], 0)


def test_a_better_trial_after_the_test_is_not_tested(swept):
    interrupt = raise_at(KeyboardInterrupt, lambda recipe, epoch: recipe.evaluation.part == "test")
    with pytest.raises(KeyboardInterrupt):
        swept(grid(5e-3, 1e-3), Runs(before=interrupt), trials=1)
    result, run, _ = swept(grid(5e-3, 1e-3), trials=1)
    assert (evaluated(run), run.resumed, result.tested.trial) == (["test"], [True], 0)
    result, run, lines = swept(grid(5e-3, 1e-3))
    assert evaluated(run) == ["validation"]
    assert (result.winner.number, result.tested.trial, result.tested.trials) == (
        1,
        0,
        1,
    )
    assert "  UAR 0.3700 on the test split, scored once (trial 0)" in lines
    assert "It is scored once, so trial 1 has validation figures only" in page(swept.folder)
    assert uar_of(read_recipe(swept.folder / "best.yaml")) == 0.87


def test_a_best_run_that_was_killed_after_its_report_is_not_run_again(swept, monkeypatch):
    def record(self, key, value, record=optuna.Study.set_user_attr):
        if key == "closed":
            raise Killed
        record(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "set_user_attr", record)
        with pytest.raises(Killed):
            swept(grid(1e-3))
    result, run, _ = swept(grid(1e-3))
    assert run.recipes == []
    assert result.tested.report.metrics["uar"] == 0.77


def test_no_other_trial_is_scored_where_the_best_recipe_was_run_by_hand(swept):
    swept(grid(5e-3, 1e-3), trials=1, test=False)
    Runs()(read_recipe(swept.folder / "best.yaml"))  # ser-hf train best.yaml
    with pytest.raises(
        UserError, match=r"^training\.learning_rate: 0\.001 here, 0\.005 in the run at"
    ):
        swept(grid(5e-3, 1e-3))


def test_folds_and_a_leaky_protocol_are_named_with_the_test(swept, tmp_path):
    def fold(_, report):
        report["protocol"]["folds"] = {number: {"metrics": report["metrics"]} for number in "123"}

    swept(grid(1e-3), Runs(change=fold))
    assert "had no part in the selection" not in page(swept.folder)
    leaky = Runs(
        change=lambda _, report: report["protocol"].update(
            leak="clips of one speaker in several parts"
        )
    )
    _, _, lines = swept(grid(1e-3), leaky, output=tmp_path / "leaky")
    assert lines[-2] == "  UAR 0.7700 on the test split, scored once (trial 0, a leaky protocol)"
    assert "of a leaky protocol" in page(tmp_path / "leaky")


def sweep_beside(folder, url, space, name):
    """Sweeps a grid as one of two processes; neither ends its first trial before the other has
    begun one.
    """

    def beside(recipe, epoch):
        (folder / f"{Path(recipe.output_dir).name} {name}").touch()
        wait_for(lambda: {path.name[-1] for path in folder.iterdir()} == {"a", "b"})

    options = SweepOptions(output=folder.with_name("sweep"), storage=url)
    sweep(RECIPE, {**SPACE, **space}, [], options, run=Runs(before=beside))


def test_two_processes_share_the_points_of_a_grid_by_a_storage(swept, url, tmp_path):
    space = grid(1e-3, 2e-3, 3e-3, 4e-3)
    begun = tmp_path / "begun"
    begun.mkdir()
    for worker in [started(sweep_beside, begun, url, space, name) for name in "ab"]:
        code, _, err = worker.ended()
        assert code == 0, err
    trials, names = zip(*(path.name.split() for path in begun.iterdir()), strict=True)
    assert sorted(trials) == ["0", "1", "2", "3", "best"]
    assert set(names) == {"a", "b"}
    assert states(swept.folder) == ["complete"] * 4


def test_no_other_process_begins_the_point_that_one_has_chosen(swept, url, monkeypatch):
    def ask(study, *given, ask=optuna.Study.ask):
        with contextlib.suppress(Timeout), FileLock(swept.folder / "sweep.lock", timeout=0):
            ask(study)  # by another process, wherever it can come between
        return ask(study, *given)

    monkeypatch.setattr(optuna.Study, "ask", ask)
    _, run, _ = swept(grid(1e-3, 2e-3), storage=url, test=False)
    assert rates(run) == [1e-3, 2e-3]


def test_a_trial_of_another_process_is_left_alone_until_its_heartbeat_stops(
    swept, url, monkeypatch
):
    die = raise_at(Killed, lambda recipe, epoch: epoch == 2)
    with pytest.raises(Killed):
        swept(grid(1e-3), Runs(before=die), storage=url)
    result, run, lines = swept(grid(1e-3), storage=url)
    assert (run.recipes, result.winner) == ([], None)
    assert lines[-1] == "trial 0 runs in another process; the last process to end closes the sweep"
    monkeypatch.setattr(study, "GRACE_PERIOD", 1)
    time.sleep(2.1)  # the database counts in seconds
    result, run, _ = swept(grid(1e-3), storage=url)
    assert (evaluated(run), run.resumed) == (["validation", "test"], [True, False])


def test_a_storage_that_cannot_be_used_is_refused(swept, url, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--storage: "):
        swept(storage="nodatabase://x")
    locked = optuna.exceptions.StorageInternalError("database is locked")
    monkeypatch.setattr(
        optuna.Study, "optimize", lambda *_, **__: raise_at(locked, lambda *_: True)(None, 0)
    )
    with pytest.raises(
        UserError, match="--storage: database is locked; the same command continues the sweep"
    ):
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
        "cli.main(['sweep', 'a.yaml', 'b'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=900
    )
    assert done.stderr == "error: sweeps need Optuna: pip install 'ser_hf[sweep]'\n"
