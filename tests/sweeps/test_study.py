"""The study of a sweep: trials, pruning, retries, shared storages, and the one test of the best."""

import contextlib
import time
from pathlib import Path

import optuna
import pytest
from filelock import FileLock, Timeout
from stubs import (
    GRID,
    RECIPE,
    SPACE,
    Killed,
    Runs,
    evaluated,
    grid,
    page,
    raise_at,
    rate_of,
    rates,
    states,
    table,
    uar_of,
    wait_for,
)
from support.processes import started

from ser_hf.experiment.reading import read_recipe
from ser_hf.sweeps import SweepOptions, study, sweep
from ser_hf.utils.errors import UserError

RATES = grid(1e-3, 1.2e-3, 1.4e-3, 1.6e-3, 5e-3)


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
    assert row["epochs"] == "2", "the first epoch is safe"
    assert row["rank"] == ""
    assert float(row["objective"]) == pytest.approx(uar_of(run.recipes[4]) * 2 / 6)
    assert not (swept.folder / "trials" / "4" / "model").exists()


def test_only_whole_epochs_of_the_first_fold_are_compared(swept):
    class Folds(Runs):
        """Two folds of two epochs each, whose metric is reported at half epochs too."""

        def validate(self, watch, epoch, uar):
            fold = "fold-1" if epoch <= 4 else "fold-2"
            epoch_of_fold = ((epoch - 1) % 4 + 1) / 2
            watch((fold,), epoch_of_fold, {"uar": uar})

    swept({**RATES, "trials": 1}, Folds(epochs=8), test=False)
    storage = f"sqlite:///{swept.folder / 'study.db'}"
    (trial,) = optuna.load_study(study_name=None, storage=storage).trials
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


def test_a_trial_that_kills_its_process_again_and_again_fails(swept, monkeypatch):
    monkeypatch.setattr(study, "MAX_RETRIES", 1)
    die = raise_at(Killed, lambda recipe, epoch: recipe.output_dir.endswith("/1"))
    for _ in range(study.MAX_RETRIES + 1):
        with pytest.raises(Killed):
            swept(grid(1e-3, 2e-3, 3e-3), Runs(before=die), test=False)
    _, run, _ = swept(grid(1e-3, 2e-3, 3e-3), Runs(before=die), test=False)
    assert rates(run) == [3e-3]
    assert states(swept.folder) == ["complete", "failed", "complete"]
    message = table(swept.folder)[1]["message"]
    assert message == "its process was killed, perhaps because memory ran out"


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
    _, again, _ = swept(grid(1e-3, 2e-3, 3e-3), test=False)
    assert again.recipes == []
    _, retry, _ = swept(grid(1e-3, 2e-3, 3e-3), retry_failed=True, test=False)
    assert rates(retry) == [2e-3]
    assert states(swept.folder) == ["complete"] * 3
    assert table(swept.folder)[1]["message"] == ""


def test_trials_without_a_finite_metric_fail(swept):
    def change(recipe, report):
        if rate_of(recipe) == 1.6e-3:
            report["parts"]["validation"] = {"uar": None}
        if rate_of(recipe) == 5e-3:
            report["parts"]["validation"] = {"wa": 0.5}

    swept(RATES, Runs(change=change), test=False)
    message = table(swept.folder)[3]["message"]
    assert message == "metric: uar is undefined on this recipe's validation split"
    assert states(swept.folder) == ["complete", "complete", "complete", "failed", "failed"]


def test_a_metric_of_zero_is_a_result(swept):
    def change(recipe, report):
        report["parts"]["validation"]["uar"] = 0.0

    swept(grid(1e-3), Runs(change=change), test=False)
    assert states(swept.folder) == ["complete"]
    assert float(table(swept.folder)[0]["objective"]) == 0.0


def test_without_a_test_the_best_recipe_is_only_written(swept, tmp_path):
    result, run, lines = swept(grid(1e-3), test=False)
    assert evaluated(run) == ["validation"]
    assert result.tested is None
    assert f"ser-hf train {swept.folder / 'best.yaml'}" in lines[-2]
    assert "the test split is not scored" in page(swept.folder)
    result, run, _ = swept(grid(1e-3))
    assert evaluated(run) == ["test"]
    assert result.tested.trial == 0


def test_a_better_trial_after_the_test_is_not_tested(swept):
    interrupt = raise_at(KeyboardInterrupt, lambda recipe, epoch: recipe.evaluation.part == "test")
    with pytest.raises(KeyboardInterrupt):
        swept(grid(5e-3, 1e-3), Runs(before=interrupt), trials=1)
    result, run, _ = swept(grid(5e-3, 1e-3), trials=1)
    assert evaluated(run) == ["test"]
    assert run.resumed == [True]
    assert result.tested.trial == 0
    result, run, lines = swept(grid(5e-3, 1e-3))
    assert evaluated(run) == ["validation"]
    assert result.winner.number == 1
    assert result.tested.trial == 0
    assert result.tested.trials == 1
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
        UserError, match=r"^training\.learning_rate: 0\.001 here, 0\.005 in the run"
    ):
        swept(grid(5e-3, 1e-3))


def test_folds_and_a_leaky_protocol_are_named_with_the_test(swept, tmp_path):
    def fold(_, report):
        report["protocol"]["folds"] = {number: {"metrics": report["metrics"]} for number in "123"}

    swept(grid(1e-3), Runs(change=fold))
    assert "had no part in the selection" not in page(swept.folder)

    def leak(_, report):
        report["protocol"]["leak"] = "clips of one speaker in several parts"

    _, _, lines = swept(grid(1e-3), Runs(change=leak), output=tmp_path / "leaky")
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


@pytest.mark.slow
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
    assert run.recipes == []
    assert result.winner is None
    assert lines[-1] == "trial 0 runs in another process; the last process to end closes the sweep"
    monkeypatch.setattr(study, "GRACE_PERIOD", 1)
    time.sleep(2.1)  # the database counts in seconds
    result, run, _ = swept(grid(1e-3), storage=url)
    assert evaluated(run) == ["validation", "test"]
    assert run.resumed == [True, False]
