"""The sweep around its trials: what counts, what is resumed, refused and kept, and that the test is scored once."""

import csv
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stubs import RECIPE, SPACE, Runs, uar_of

from ser_hf import cli
from ser_hf.errors import UserError
from ser_hf.recipe import read_recipe
from ser_hf.strict import dump_yaml
from ser_hf.sweeps.folder import SweepFolder
from ser_hf.sweeps.sweep import sweep

POINTS = {"training.learning_rate": [1e-3, 2e-3, 5e-3], "model.dropout": [0.1, 0.3]}
GRID = {"search": "grid", "trials": None, "space": POINTS}


def table(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def judged(run):
    return [recipe.evaluation.part for recipe in run.recipes]


def test_a_grid_runs_each_point_once_on_validation_and_the_best_once_on_test(swept):
    result, run, lines = swept(GRID)
    assert judged(run) == ["validation"] * 6 + ["test"]
    assert len({(r.training.arguments["learning_rate"], r.model.options["dropout"]) for r in run.recipes}) == 6
    assert result["winner"]["settings"] == {"training.learning_rate": 1e-3, "model.dropout": 0.1}
    assert (result["tested"]["validation"]["uar"], result["tested"]["test"]["uar"]) == (0.89, 0.79)
    assert [recipe.output_dir for recipe in run.recipes] == [
        *(str(swept.folder / "trials" / str(number)) for number in range(6)),
        str(swept.folder / "best"),
    ]
    assert [row["rank"] for row in table(swept.folder)] == ["1", "2", "3", "4", "5", "6"]
    assert [float(row["judged_by_uar"]) for row in table(swept.folder)][0] == 0.89
    settings = "training.learning_rate=0.002, model.dropout=0.1"
    assert f"trial 2 complete UAR 0.7900, best 0.8900 (trial 0): {settings}" in lines
    best = read_recipe(swept.folder / "best.yaml")
    assert (best.evaluation.part, best.output_dir) == ("test", str(swept.folder / "best"))
    assert uar_of(best) == 0.89
    # Called again: nothing is run, and nobody is asked again.
    again, second, lines = swept(GRID)
    assert second.recipes == []
    assert again["tested"] == result["tested"]
    assert "UAR 0.7900 on the test speakers" in "\n".join(lines)


def test_a_foil_is_left_to_the_winner(swept):
    _, run, _ = swept(GRID, changes=["protocol.foil=random"])
    assert [recipe.protocol.foil for recipe in run.recipes] == [None] * 6 + ["random"]


def test_no_test_leaves_the_test_speakers_alone_until_asked(swept):
    result, run, lines = swept(GRID, test=False)
    assert judged(run) == ["validation"] * 6
    assert result["tested"] is None
    assert f"ser-hf train {swept.folder / 'best.yaml'}" in "\n".join(lines)
    assert "Nothing was asked of the test speakers yet" in (swept.folder / "leaderboard.html").read_text()
    result, run, _ = swept(GRID)
    assert judged(run) == ["test"]
    assert result["tested"]["trial"] == 0


def test_a_recipe_that_is_judged_on_validation_needs_no_run_of_the_best(swept):
    result, run, lines = swept(GRID, changes=["evaluation.part=validation"])
    assert judged(run) == ["validation"] * 6
    assert result["tested"] is None
    assert "test speakers" not in "\n".join(lines)


def test_more_trials_may_find_a_better_one_but_do_not_ask_the_test_speakers_again(swept):
    points = {"space": {"training.learning_rate": [5e-3, 1e-3]}}
    result, _, _ = swept({**GRID, **points, "trials": 1})
    assert result["tested"]["trial"] == 0
    result, run, lines = swept({**GRID, **points, "trials": 9})
    assert judged(run) == ["validation"]
    assert (result["winner"]["number"], result["tested"]["trial"]) == (1, 0)
    assert "the test speakers have judged trial 0 already, the best of 1 trials then" in "\n".join(lines)
    assert "nothing is known of trial 1 beyond validation" in (swept.folder / "leaderboard.html").read_text()
    assert uar_of(read_recipe(swept.folder / "best.yaml")) == 0.87


def test_trials_of_the_command_line_come_before_those_of_the_space(swept):
    _, run, _ = swept(trials=2, test=False)
    assert len(run.recipes) == 2
    _, run, _ = swept(trials=3, test=False)
    assert len(run.recipes) == 1


@pytest.mark.slow
# TPE draws its first ten at random.
@pytest.mark.parametrize(("search", "trials"), [("random", 4), ("tpe", 12)])
def test_a_sweep_in_two_goes_tries_what_one_go_tries(search, trials, swept, tmp_path):
    space = {"search": search, "trials": trials}
    _, whole, _ = swept(space, output=tmp_path / "whole", test=False)
    _, first, _ = swept(space, trials=3, test=False)
    _, rest, _ = swept(space, test=False)
    rates = [recipe.training.arguments["learning_rate"] for recipe in whole.recipes]
    assert [recipe.training.arguments["learning_rate"] for recipe in first.recipes + rest.recipes] == rates
    assert len(set(rates)) == trials
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    _, other, _ = swept({**space, "seed": 1}, trials=1, output=tmp_path / "other", test=False)
    assert other.recipes[0].training.arguments["learning_rate"] != rates[0]


def test_the_same_settings_are_not_trained_twice(swept):
    result, run, lines = swept({"trials": 5, "space": {"model.dropout": [0.1, 0.3]}}, test=False)
    assert len(run.recipes) == 2
    assert sum("the same settings as trial" in line for line in lines) == 3
    assert result["winner"]["settings"] == {"model.dropout": 0.1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"space": {**SPACE["space"], "model.dropout": [0.1, 0.5]}}, "the space's space.model.dropout: "),
        ({"seed": 3}, "the space's seed: 3 here, 0 in the sweep at"),
        ({"search": "tpe"}, "the space's search: 'tpe' here, 'random' in the sweep at"),
        ({"changes": ["training.num_train_epochs=7"]}, "training.num_train_epochs: 7"),
    ],
)
def test_another_space_or_recipe_is_refused(change, told, swept):
    swept(trials=1, test=False)
    changes = change.pop("changes", ())
    with pytest.raises(UserError) as error:
        swept(change, changes=changes)
    assert str(error.value).startswith(told)
    assert "choose another --output" in str(error.value)


def test_a_folder_that_is_no_sweeps_is_refused_and_left_alone(swept, tmp_path):
    swept.folder.mkdir()
    (swept.folder / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"holds thesis\.tex, which is no sweep's"):
        swept()
    assert [child.name for child in swept.folder.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is a file"):
        swept(output=swept.folder / "thesis.tex")
    with pytest.raises(UserError, match="cannot be made"):
        swept(output="/proc/sweep")


def test_a_launcher_is_refused(swept, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="not under a launcher"):
        swept()


def test_a_storage_that_is_none_is_told(swept):
    with pytest.raises(UserError, match="--storage: "):
        swept(storage="nodatabase://x")


@pytest.mark.slow
def test_a_database_serves_as_storage(swept, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    result, run, _ = swept(GRID, storage=url)
    assert len(run.recipes) == 7
    assert not (swept.folder / "study.journal").exists()
    # Another machine, with a folder of its own, finds all of it done.
    other, second, _ = swept(GRID, storage=url, output=tmp_path / "elsewhere")
    assert second.recipes == []
    assert other["tested"] == result["tested"]


def test_only_the_best_trials_weights_are_kept_unless_asked(swept, tmp_path):
    swept(GRID)
    trials = swept.folder / "trials"
    assert sorted(path.parent.name for path in trials.glob("*/model")) == ["0"]
    assert sorted(path.parent.name for path in trials.glob("*/checkpoints")) == ["0"]
    assert len(list(trials.glob("*/report/report.json"))) == 6
    assert (swept.folder / "best" / "model").is_dir()
    swept(GRID, output=tmp_path / "kept", keep_models=True, test=False)
    assert len(list((tmp_path / "kept" / "trials").glob("*/model"))) == 6


def test_weights_of_folds_and_seeds_are_cleared_too_and_nothing_else(tmp_path):
    folder = SweepFolder(tmp_path)
    for run in ("", "fold-1", "fold-1/seed-2"):
        for name in ("model", "checkpoints", "report"):
            (folder.trial(3) / run / name).mkdir(parents=True)
        (folder.trial(3) / run / "recipe.yaml").touch()
        (folder.trial(3) / run / "reference.npz").touch()
    (folder.trial(3) / "notes" / "model").mkdir(parents=True)
    folder.clear(3)
    assert not list(folder.trial(3).rglob("reference.npz"))
    left = {path.relative_to(folder.trial(3)).as_posix() for path in folder.trial(3).rglob("*") if path.is_dir()}
    folds = {"fold-1", "fold-1/report", "fold-1/seed-2", "fold-1/seed-2/report"}
    assert left == {"report", *folds, "notes", "notes/model"}


def test_the_best_run_that_was_killed_before_it_was_noted_is_not_run_again(swept, monkeypatch):
    from ser_hf.sweeps.one_test import OneTest

    points = {"space": {"training.learning_rate": [5e-3, 1e-3]}}

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OneTest, "end", die)
        with pytest.raises(KeyboardInterrupt):
            swept({**GRID, **points, "trials": 1})
    result, run, _ = swept({**GRID, **points, "trials": 2})
    assert judged(run) == ["validation"]
    assert (result["winner"]["number"], result["tested"]["trial"], result["tested"]["trials"]) == (1, 0, 1)


def test_the_run_of_the_best_goes_on_or_gives_way_to_a_better_one(swept):
    points = {"space": {"training.learning_rate": [5e-3, 1e-3]}}

    def killed(recipe, epoch):
        if recipe.evaluation.part == "test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept({**GRID, **points, "trials": 1}, Runs(before=killed))
    with pytest.raises(KeyboardInterrupt):
        swept({**GRID, **points, "trials": 1}, Runs(before=killed))
    result, run, _ = swept({**GRID, **points, "trials": 2})
    assert result["tested"]["trial"] == 1
    assert uar_of(run.recipes[-1]) == 0.87


@pytest.mark.slow
def test_a_test_on_another_machine_is_waited_for(swept, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'study.db'}"

    def killed(recipe, epoch):
        if recipe.evaluation.part == "test":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(GRID, Runs(before=killed), storage=url)
    result, run, lines = swept(GRID, storage=url, output=tmp_path / "elsewhere")
    assert run.recipes == []
    assert result["tested"] is None
    assert "trial 0 is being tested on another machine; --take-over, if that one is no more" in lines


@pytest.fixture
def process(swept, tmp_path):
    """A function that starts the sweep in a process of its own, under a name; what the stubs of all of them have run
    (name, folder, epoch) and what a process has printed."""
    log = tmp_path / "log"
    log.touch()

    def work(name, space, seconds):
        def slowly(recipe, epoch):
            with log.open("a") as file:
                file.write(f"{name} {recipe.output_dir} {epoch}\n")
            time.sleep(seconds)

        _, _, lines = swept(space, Runs(before=slowly))
        (tmp_path / name).write_text("\n".join(lines))

    def start(name, space, seconds):
        # Forked: what is imported already need not be imported again.
        child = multiprocessing.get_context("fork").Process(target=work, args=(name, space, seconds))
        child.start()
        return child

    def printed(name):
        return (tmp_path / name).read_text().splitlines()

    return start, lambda: [line.split() for line in log.read_text().splitlines()], printed


@pytest.mark.slow
def test_two_processes_share_the_points_of_a_grid(swept, process):
    start, log, printed = process
    space = {**GRID, "space": {"training.learning_rate": [1e-3, 2e-3, 3e-3, 4e-3], "model.dropout": [0.1, 0.2, 0.3]}}
    workers = [start(name, space, 0.1) for name in ("one", "other")]
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0, 0]
    begun = [(name, folder) for name, folder, epoch in log() if epoch == "1"]
    assert sorted(Path(folder).name for _, folder in begun) == sorted([*map(str, range(12)), "best"])
    assert {name for name, _ in begun} == {"one", "other"}
    assert [row["state"] for row in table(swept.folder)] == ["complete"] * 12
    assert sum("on the test speakers" in "".join(printed(name)) for name in ("one", "other")) == 1


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_the_trial_that_was_running(swept, process):
    start, log, printed = process
    worker = start("killed", GRID, 0.2)
    while not any(Path(folder).name == "2" and epoch == "2" for _, folder, epoch in log()):
        assert worker.is_alive()
        time.sleep(0.02)
    worker.kill()  # SIGKILL
    worker.join()
    # The end of a line that the kill cut off, and the lock of who was writing it.
    with (swept.folder / "study.journal").open("a") as journal:
        journal.write('{"op_code":6,"wor')
    result, run, lines = swept(GRID)
    assert [Path(recipe.output_dir).name for recipe in run.recipes] == ["2", "3", "4", "5", "best"]
    assert run.resumed == [True, False, False, False, False]
    assert lines[1] == "trial 2 goes on: training.learning_rate=0.002, model.dropout=0.1"
    assert result["winner"]["number"] == 0
    assert [row["state"] for row in table(swept.folder)] == ["complete"] * 6
    assert all(json.loads(line) for line in (swept.folder / "study.journal").read_text().splitlines())


@pytest.mark.slow
def test_a_trial_that_goes_on_elsewhere_is_not_touched_and_the_sweep_not_closed(swept, process):
    start, log, printed = process
    space = {**GRID, "space": {"model.dropout": [0.1]}}
    worker = start("alive", space, 1.5)
    while not log():
        assert worker.is_alive()
        time.sleep(0.02)
    result, run, lines = swept(space)
    assert run.recipes == []
    assert result["winner"] is None
    assert lines[-1] == "still running in other processes: trial 0; the last of them closes the sweep"
    worker.join(300)
    assert "on the test speakers" in "".join(printed("alive"))


def test_the_best_recipe_is_run_by_one_process_only(swept):
    swept(GRID, test=False)
    lock = SweepFolder(swept.folder).occupy("best")
    result, run, lines = swept(GRID)
    assert run.recipes == []
    assert lines[-1] == "another process runs the best recipe, of trial 0"
    lock.release()


def test_ctrl_c_leaves_the_trial_to_go_on(swept):
    def interrupt(recipe, epoch):
        if epoch == 2 and recipe.output_dir.endswith("/1"):
            raise KeyboardInterrupt

    for _ in range(5):  # an interruption is no death, however often it comes
        with pytest.raises(KeyboardInterrupt):
            swept(GRID, Runs(before=interrupt))
    result, run, _ = swept(GRID)
    assert [Path(recipe.output_dir).name for recipe in run.recipes] == ["1", "2", "3", "4", "5", "best"]
    assert [row["state"] for row in table(swept.folder)] == ["complete"] * 6


def test_the_command_sweeps_and_tells_mistakes_in_one_line(swept, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yaml").write_text(dump_yaml(RECIPE))
    (tmp_path / "rates.yaml").write_text(dump_yaml({**GRID, "trials": 2}))
    monkeypatch.setattr(sweep, "__kwdefaults__", {**sweep.__kwdefaults__, "run": Runs()})
    command = ["sweep", str(tmp_path / "tiny.yaml"), str(tmp_path / "rates.yaml"), f"output_dir={tmp_path / 'runs'}"]
    assert cli.main([*command, "--no-test"]) == 0
    assert (tmp_path / "runs-rates" / "leaderboard.html").is_file()
    assert "best of 2 trials: 0, UAR 0.8900 on validation" in capsys.readouterr().out
    for wrong, told in (
        (["--workers", "2"], "--workers: belongs to --backend ray"),
        (["--backend", "ray", "--workers", "0"], "--workers: expected one or more, got 0"),
        (["--backend", "ray", "--gpus", "-1"], "--gpus: expected zero or more, got -1"),
        (["--trials", "0"], "trials: expected one or more, got 0"),
    ):
        assert cli.main([*command, *wrong]) == 2
        assert f"error: {told}" in capsys.readouterr().err


def test_help_shows_an_example_and_loads_neither_torch_nor_optuna():
    code = """
import sys
from ser_hf.cli import main
try:
    main(["sweep", "--help"])
except SystemExit:
    pass
assert not {"torch", "transformers", "optuna", "ray"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "example: ser-hf sweep recipes/" in done.stdout


def test_without_optuna_the_extra_is_named():
    code = """
import sys
sys.modules["optuna"] = None
from ser_hf.cli import main
sys.exit(main(["sweep", "recipe.yaml", "space.yaml"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr == "error: sweeps need Optuna: pip install 'ser_hf[sweep]'\n"
