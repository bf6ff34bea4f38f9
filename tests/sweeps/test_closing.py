"""The end of a sweep: whom the test speakers judge, once, whatever stands in best/ and whatever goes wrong."""

import re
import shutil
from pathlib import Path

import pytest
from stubs import Runs, uar_of

from ser_hf.errors import UserError
from ser_hf.recipe import read_recipe
from ser_hf.run_folder import RunFolder


def grid(*rates, **settings):
    return {"search": "grid", "trials": None, "space": {"training.learning_rate": list(rates)}, **settings}


class Checked(Runs):
    """Looks at the folder as `run_recipe` does."""

    def __call__(self, source, overrides=(), *, resume=False, overwrite=False, watch=None):
        recipe = read_recipe(source, overrides)
        folder = RunFolder(recipe.output_dir)
        folder.check(recipe.to_dict(), resume, overwrite)
        folder.open(recipe.to_dict(), resume)
        return super().__call__(source, overrides, resume=resume, overwrite=overwrite, watch=watch)


def judged(run):
    return [recipe.evaluation.part for recipe in run.recipes]


def interrupt_test(recipe, epoch):
    if recipe.evaluation.part == "test":
        raise KeyboardInterrupt


def test_a_run_of_the_best_recipe_by_hand_is_the_test_and_its_trials_alone(swept):
    swept(grid(5e-3, 1e-3), Checked(), trials=1, test=False)
    Checked()(read_recipe(swept.folder / "best.yaml").to_dict())  # ser-hf train best.yaml
    for _ in range(2):
        result, run, lines = swept(grid(5e-3, 1e-3), Checked())
        assert "test" not in judged(run)
        assert (result["winner"]["number"], result["tested"]["trial"], result["tested"]["trials"]) == (1, 0, None)
        assert result["tested"]["validation"]["uar"] == 0.47
        assert "  the test speakers have judged trial 0 already; they are not asked again" in lines
    page = (swept.folder / "leaderboard.html").read_text()
    assert "The test speakers judged trial 0. They are not asked a second time" in page


def test_the_page_links_the_reports_that_stand_here(swept):
    class Paged(Checked):
        def __call__(self, source, *arguments, **named):
            report = super().__call__(source, *arguments, **named)
            (Path(read_recipe(source, *arguments[:1]).output_dir) / "report" / "index.html").touch()
            return report

    swept(grid(5e-3, 1e-3), Paged())
    (swept.folder / "trials" / "0" / "report" / "index.html").unlink()  # as of a trial of another machine
    swept(grid(5e-3, 1e-3), Paged())
    links = re.findall(r'href="([^"]+)"', (swept.folder / "leaderboard.html").read_text())
    assert sorted(links) == ["best/report/index.html", "trials/1/report/index.html"]
    assert all((swept.folder / link).is_file() for link in links)


def test_a_study_that_was_lost_does_not_ask_the_test_speakers_again(swept):
    result, _, _ = swept(grid(1e-3, 5e-3), Checked())
    (swept.folder / "study.journal").unlink()
    again, run, _ = swept(grid(1e-3, 5e-3), Checked())
    assert "test" not in judged(run)
    assert again["tested"]["test"] == result["tested"]["test"]


def test_a_judged_run_that_is_no_trials_is_refused(swept):
    swept(grid(1e-3), Checked(), test=False)
    Checked()(read_recipe(swept.folder / "best.yaml", ["training.num_train_epochs=7"]).to_dict())
    with pytest.raises(UserError, match=r"best: holds the run of a recipe that is no trial's \(training\.num_train"):
        swept(grid(1e-3), Checked())


def test_an_unfinished_run_of_another_recipe_that_nobody_judged_gives_way(swept):
    swept(grid(5e-3, 1e-3), Checked(), trials=1, test=False)
    with pytest.raises(KeyboardInterrupt):
        Checked(before=interrupt_test)(read_recipe(swept.folder / "best.yaml").to_dict())
    result, run, _ = swept(grid(5e-3, 1e-3), Checked())
    assert (result["tested"]["trial"], uar_of(run.recipes[-1])) == (1, 0.87)


def test_a_test_that_is_partly_scored_is_finished_though_a_better_trial_comes(swept):
    def first_seed(recipe, epoch):
        if recipe.evaluation.part == "test":
            report = Path(recipe.output_dir) / "seed-1" / "report"
            report.mkdir(parents=True)
            (report / "report.json").write_text("{}")
            raise KeyboardInterrupt

    seeds = ["training.seeds=[1, 2]"]
    with pytest.raises(KeyboardInterrupt):
        swept(grid(5e-3, 1e-3), Checked(before=first_seed), trials=1, changes=seeds)
    result, run, lines = swept(grid(5e-3, 1e-3), Checked(), changes=seeds)
    assert (result["winner"]["number"], result["tested"]["trial"], result["tested"]["trials"]) == (1, 0, 1)
    assert uar_of(run.recipes[-1]) == 0.47
    assert run.resumed[-1]


def test_over_folds_nobody_says_that_the_choice_had_not_met_the_test_speakers(swept, tmp_path):
    class Folds(Runs):
        protocol = {"folds": {"1": {}, "2": {}, "3": {}}}

        def __call__(self, *arguments, **settings):
            report = super().__call__(*arguments, **settings)
            report["protocol"] |= self.protocol
            return report

    class Leaky(Folds):
        protocol = {"leak": "clips of one speaker in several parts"}

    _, _, lines = swept(grid(1e-3), Folds())
    page = (swept.folder / "leaderboard.html").read_text()
    assert "on the test speakers of 3 folds, who in other folds were learnt from and judged the trials" in lines[-2]
    assert "had no part in the choice" not in page
    assert "of 3 folds each one's test speakers are learnt from, and judge trials, in others" in page
    _, _, lines = swept(grid(1e-3), Leaky(), output=tmp_path / "leaky")
    assert lines[-2] == "  UAR 0.7700 on test clips of speakers whom training has heard"
    assert "of speakers whom training has heard" in (tmp_path / "leaky" / "leaderboard.html").read_text()


def test_the_best_recipe_stands_there_from_the_first_trial_on_and_is_never_stale(swept):
    seen = []

    def look(recipe, epoch):
        page = swept.folder / "leaderboard.html"
        seen.append(("best.yaml" in page.read_text(), (swept.folder / "best.yaml").is_file()))

    swept(grid(5e-3, 1e-3), Runs(epochs=1, before=look), test=False)
    assert seen == [(False, False), (True, True)]
    assert uar_of(read_recipe(swept.folder / "best.yaml")) == 0.87
    head = (swept.folder / "best.yaml").read_text().splitlines()[:3]
    assert head[1] == "# trial 1, uar 0.8700 on validation, best of 2 trials:"


def test_a_winner_whose_run_fails_is_told_in_one_line_and_goes_on(swept):
    def fail(recipe, epoch):
        if recipe.evaluation.part == "test":
            raise RuntimeError("CUDA out of memory")

    class Unbegun(Checked):
        def __call__(self, source, *arguments, **settings):
            if settings.get("watch") is None:  # the winner's
                raise RuntimeError("CUDA is lost")
            return super().__call__(source, *arguments, **settings)

    with pytest.raises(UserError, match="best: RuntimeError: CUDA is lost; once it is mended"):
        swept(grid(1e-3), Unbegun())
    with pytest.raises(UserError, match="best: RuntimeError: CUDA out of memory; once it is mended the same command"):
        swept(grid(1e-3), Checked(before=fail))
    assert "RuntimeError" in (swept.folder / "logs" / "failure.txt").read_text()

    def refuse(recipe, epoch):
        raise UserError("freeze.cache: the disk is full")

    with pytest.raises(UserError, match=r"^freeze\.cache: the disk is full"):
        swept(grid(1e-3), Checked(before=refuse))
    result, run, _ = swept(grid(1e-3), Checked())
    assert judged(run) == ["test"]
    assert result["tested"]["trial"] == 0


def test_the_test_waits_for_trials_that_the_machine_failed(swept, tmp_path):
    def lost(recipe, epoch):
        if recipe.output_dir.endswith("/1"):
            raise OSError(28, "No space left on device")

    result, run, lines = swept(grid(5e-3, 1e-3), Runs(before=lost))
    assert (judged(run), result["tested"]) == (["validation"] * 2, None)
    assert any(
        line.startswith("the test speakers are not asked yet: trial 1 failed by the machine's") for line in lines
    )
    passed, run, _ = swept(grid(5e-3, 1e-3), failed="pass", output=shutil.copytree(swept.folder, tmp_path / "copy"))
    assert (judged(run), passed["tested"]["trial"]) == (["test"], 0)
    result, run, _ = swept(grid(5e-3, 1e-3))
    assert judged(run) == ["validation", "test"]
    assert result["tested"]["validation"]["uar"] == 0.87


def test_two_machines_that_begin_to_test_in_one_moment_test_once(swept, tmp_path, monkeypatch):
    from ser_hf.sweeps.one_test import OneTest

    url = f"sqlite:///{tmp_path / 'study.db'}"
    swept(grid(1e-3), storage=url, test=False)
    runs, begun = [], []

    def begin(self, *arguments, begin=OneTest.begin):
        if not begun:  # between this machine's look and its claim the other one does the same
            begun.append(1)
            runs.append(swept(grid(1e-3), storage=url, output=tmp_path / "other")[1])
        return begin(self, *arguments)

    monkeypatch.setattr(OneTest, "begin", begin)
    result, run, lines = swept(grid(1e-3), storage=url)
    assert judged(runs[0]) + judged(run) == ["test"]
    assert result["tested"] is None
    assert "another machine has begun to test in this very moment" in lines


def test_a_test_on_a_machine_that_is_no_more_is_taken_over_for_the_same_trial(swept, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    space = grid(5e-3, 1e-3)
    with pytest.raises(KeyboardInterrupt):
        swept(space, Runs(before=interrupt_test), storage=url, trials=1)
    other = {"storage": url, "output": tmp_path / "other"}
    result, run, _ = swept(space, **other)
    assert result["tested"] is None
    result, run, _ = swept(space, **other, take_over=True)
    assert judged(run) == ["test"]
    assert (result["winner"]["number"], result["tested"]["trial"], uar_of(run.recipes[0])) == (1, 0, 0.47)
    assert swept(space, storage=url)[0]["tested"] == result["tested"]
