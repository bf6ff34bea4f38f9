"""Which trials there are: each point once, whoever takes it; those that failed by no fault of theirs again."""

import csv
import json

import optuna
import pytest
from stubs import RECIPE, Runs

from ser_hf.errors import UserError
from ser_hf.sweeps import storage as storage_module
from ser_hf.sweeps.folder import SweepFolder
from ser_hf.sweeps.plan import make_plan, without_places
from ser_hf.sweeps.study import Study

pytestmark = pytest.mark.slow  # whole runs


def grid(*rates, **settings):
    return {"search": "grid", "trials": None, "space": {"training.learning_rate": list(rates)}, **settings}


RATES = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]


def table(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return {int(row["trial"]): row for row in csv.DictReader(file)}


def rates(*runs):
    return [recipe.training.arguments["learning_rate"] for run in runs for recipe in run.recipes]


def from_trial_1(error):
    def before(recipe, epoch):
        if not recipe.output_dir.endswith("/0"):
            raise error

    return before


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def test_a_machine_in_trouble_loses_three_trials_at_most_and_they_are_tried_again(swept):
    full = OSError(28, "No space left on device")
    with pytest.raises(
        UserError, match=r"trials fail alike, one after the other: OSError: .*No space left.* --failed"
    ):
        swept(grid(*RATES), Runs(before=from_trial_1(full)))
    assert [row["state"] for row in table(swept.folder).values()] == ["complete", "failed", "failed", "failed"]
    # Not mended yet: one trial says so.
    with pytest.raises(UserError, match="No space left"):
        swept(grid(*RATES), broken := Runs(before=from_trial_1(full)))
    assert rates(broken) == [2e-3]
    result, run, _ = swept(grid(*RATES))
    assert rates(run) == [2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 1e-3]  # and the test
    assert [row["state"] for row in table(swept.folder).values()] == ["complete"] * 6
    assert (result["winner"]["number"], result["tested"]["trials"]) == (0, 6)


def test_failures_of_the_settings_are_passed_over_or_tried_again_as_asked(swept):
    fault = UserError("model.dropout: too much of it")
    with pytest.raises(UserError, match="too much of it"):
        swept(grid(*RATES), Runs(before=from_trial_1(fault)), test=False)
    _, run, lines = swept(grid(*RATES), Runs(before=from_trial_1(fault)), failed="pass", test=False)
    assert rates(run) == [5e-3, 6e-3]
    assert [row["state"] for row in table(swept.folder).values()].count("failed") == 5
    _, run, _ = swept(grid(*RATES), failed="again", test=False)
    assert rates(run) == RATES[1:]
    assert len(table(swept.folder)) == 6


def test_a_draw_that_the_machine_failed_is_drawn_again(swept):
    def first(recipe, epoch):
        if recipe.output_dir.endswith("/1"):
            raise ConnectionError("the mount is gone")

    _, run, _ = swept(run=Runs(before=first), test=False)
    _, again, _ = swept(test=False)
    assert rates(again) == rates(run)[1:2]
    assert [row["state"] for row in table(swept.folder).values()] == ["complete"] * 4


def test_keys_in_another_order_are_the_same_points(swept):
    points = {"training.learning_rate": [1e-3, 2e-3, 5e-3], "model.dropout": [0.1, 0.3]}
    bundles = {"kind": {"B": {"model.lstm_hidden": 8}, "A": {"model.lstm_hidden": 4}}}
    space = {"search": "grid", "trials": None, "space": {**points, **bundles}}
    turned = {key: points[key] for key in reversed(points)} | {"kind": dict(reversed(bundles["kind"].items()))}
    _, first, _ = swept(space, trials=5, test=False)
    _, rest, _ = swept({**space, "space": turned}, test=False)
    every = [*first.recipes, *rest.recipes]
    assert len(every) == 12
    assert len({(r.training.arguments["learning_rate"], r.model.options["dropout"]) for r in every}) == 6


def race(monkeypatch, meanwhile):
    """`meanwhile` happens between the first look of a machine at what is left and what it puts in."""
    happened = []

    def put(*arguments, put=storage_module.put):
        if not happened:
            happened.append(1)
            meanwhile()
        return put(*arguments)

    monkeypatch.setattr("ser_hf.sweeps.study.put", put)


@pytest.mark.parametrize("space", [grid(*RATES[:3]), {"trials": 3}])
def test_two_machines_that_take_one_point_in_one_moment_run_it_once(space, swept, tmp_path, url, monkeypatch):
    other = Runs()
    race(monkeypatch, lambda: swept(space, other, storage=url, output=tmp_path / "other", test=False))
    _, run, lines = swept(space, storage=url, test=False)
    assert run.recipes == []  # the other one has run all in the meantime
    assert len(set(rates(other))) == 3
    assert "best of 3 trials: " in lines[-3]
    assert len(table(swept.folder)) == 3


def test_a_point_that_is_taken_by_another_machine_leaves_the_next_one(swept, tmp_path, url, monkeypatch):
    def die(recipe, epoch):
        raise KeyboardInterrupt

    def meanwhile():
        with pytest.raises(KeyboardInterrupt):
            swept(grid(*RATES[:2]), Runs(before=die), storage=url, output=tmp_path / "other", test=False)

    race(monkeypatch, meanwhile)
    result, run, lines = swept(grid(*RATES[:2]), storage=url)
    assert rates(run) == [2e-3]
    assert result["winner"] is None
    assert lines[-1].endswith("--take-over runs them anew here, if that machine is no more")
    # That machine is no more.
    result, run, lines = swept(grid(*RATES[:2]), storage=url, take_over=True)
    assert lines[0] == "taken over from other machines, and run anew: trial 0"
    assert rates(run) == [1e-3, 1e-3]  # on validation, and on test
    assert sorted(table(swept.folder)) == [2, 3]


def test_a_claim_that_was_killed_before_it_was_compared_is_compared_when_it_goes_on(swept, tmp_path, url):
    swept(grid(*RATES[:2]), storage=url, test=False, trials=1)
    home = json.loads((swept.folder / "sweep.json").read_text())["home"]
    study = optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=url)
    point = study.trials[0].user_attrs["point"]
    storage_module.put(study._storage, study._study_id, {"home": home, "point": point})
    _, run, _ = swept(grid(*RATES[:2]), storage=url, test=False)
    assert rates(run) == [2e-3]
    assert sorted(table(swept.folder)) == [0, 2]


def test_a_trial_that_was_taken_over_while_it_ran_ends_its_machine_in_one_line(swept, tmp_path, url):
    def before(recipe, epoch):
        if epoch == 2:
            swept(grid(1e-3), storage=url, output=tmp_path / "other", take_over=True, test=False)

    with pytest.raises(UserError, match="trial 0 was taken over by another machine, which runs it anew"):
        swept(grid(1e-3), Runs(before=before), storage=url, test=False)


def test_machines_with_other_paths_share_a_study_and_hear_its_name(swept, tmp_path, url):
    (tmp_path / "a.bin").touch()
    names = []
    for machine, checkpoint in (("one", str(tmp_path / "a.bin")), ("two", "/elsewhere/a.bin")):
        recipe = {**RECIPE, "audio": {"cache_dir": f"/{machine}"}, "corpus": {"name": "ravdess", "root": machine}}
        recipe["model"] = {"architecture": "encoder", "checkpoint": checkpoint}
        plan = make_plan(recipe, grid(1e-3), [], tmp_path / machine, None, None, False)
        names.append(plan.study)
    assert names[0] == names[1]
    _, _, lines = swept(grid(1e-3), storage=url, test=False)
    assert f"(study {optuna.get_all_study_names(url)[0]} in the storage)" in lines[0]
    assert without_places([{"root": "x", "name": "y" * 300}, 3]) == [{"name": "y" * 300}, 3]


def test_an_override_of_what_the_space_sets_is_refused(swept):
    with pytest.raises(
        UserError, match=r"^training\.learning_rate=7e-3: space\.training\.learning_rate sets this key"
    ):
        swept(grid(1e-3), changes=["training.learning_rate=7e-3"])
    bundles = {"search": "grid", "trials": None, "space": {"x": {"A": {"training.lr_scheduler_kwargs": {}}, "B": {}}}}
    with pytest.raises(
        UserError, match=r"lr_scheduler_kwargs\.num_cycles=1: space\.x\.A\.training\.lr_scheduler_kwargs sets"
    ):
        swept(bundles, changes=["training.lr_scheduler_kwargs.num_cycles=1"])


def test_an_epoch_that_was_told_but_not_judged_before_a_kill_is_judged(swept, monkeypatch):
    space = grid(1e-3, 1.2e-3, 5e-3, pruner={"kind": "median", "startup_trials": 2, "warmup_epochs": 1})
    with monkeypatch.context() as patched:

        def report(self, claim, step, value, report=Study.report):
            fallen = report(self, claim, step, value)
            if fallen:  # a SIGKILL between the report and the word that it is pruned
                patched.setattr(Study, "interrupted", lambda *_: None)
                raise KeyboardInterrupt
            return fallen

        patched.setattr(Study, "report", report)
        with pytest.raises(KeyboardInterrupt):
            swept(space, Runs(epochs=6), test=False)
    swept(space, Runs(epochs=6), test=False)
    assert (table(swept.folder)[2]["state"], table(swept.folder)[2]["epochs"]) == ("pruned", "2")


@pytest.mark.parametrize("content", ['{"program": "train.py"}', "", "[1]"])
def test_anothers_sweep_json_is_told_and_left(content, swept):
    swept.folder.mkdir()
    (swept.folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match=r"sweep\.json is no sweep's of ours; choose another folder"):
        swept()
    assert (swept.folder / "sweep.json").read_text() == content


def test_trials_of_somebody_else_are_left_alone(swept):
    weights = SweepFolder(swept.folder).trial(0) / "model" / "weights"
    weights.parent.mkdir(parents=True)
    weights.touch()
    with pytest.raises(UserError, match="holds trials, which is no sweep's"):
        swept()
    assert weights.exists()
    weights.unlink()
    weights.parent.rmdir()
    weights.parent.parent.rmdir()
    (swept.folder / "sweep.json.7.partial").touch()
    swept(trials=1, test=False)  # what a start that was cut off leaves
