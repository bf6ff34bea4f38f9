"""The folder of a run: nobody's files are touched, a run is continued or replaced only when asked for."""

import json
import shutil

import pytest

from ser_hf.utils.errors import UserError
from ser_hf.utils.run_folder import RunFolder
from ser_hf.utils.yaml import read_yaml

RECIPE = {
    "name": "a",
    "output_dir": "runs/a",
    "corpus": {"name": "synthetic", "merge": {}, "takes": 2},
    "training": {"seeds": [1, 2], "learning_rate": 3e-5, "eval_strategy": "no"},
}


def changed(**sections):
    return {key: value | sections.get(key, {}) if isinstance(value, dict) else value for key, value in RECIPE.items()}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "a")


@pytest.fixture
def started(folder):
    """A folder that holds a run, cut off before its report."""
    folder.open(RECIPE, resume=False)
    for kept in (folder.model, folder.report, folder.checkpoints, folder.log.parent, folder.path / "seed-1"):
        kept.mkdir()
        (kept / "file").write_text("x")
    folder.split.write_text("{}")
    return folder


def refusal(folder, recipe=RECIPE, resume=False, overwrite=False):
    with pytest.raises(UserError) as error:
        folder.check(recipe, resume, overwrite)
    return str(error.value)


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_taken(folder, exists, resume, overwrite):
    if exists:
        folder.path.mkdir(parents=True)
    folder.check(RECIPE, resume, overwrite)
    folder.open(RECIPE, resume)
    assert read_yaml(folder.recipe) == RECIPE
    assert sorted(child.name for child in folder.path.iterdir()) == ["recipe.yaml"]


def test_checking_writes_nothing(folder, tmp_path):
    folder.check(RECIPE, False, False)
    assert not list(tmp_path.iterdir())


def test_what_changes_no_figure_may_differ_in_a_run_that_goes_on(folder, started):
    folder.check(changed(corpus={"download": True}) | {"output_dir": "elsewhere"}, resume=True, overwrite=False)
    assert refusal(folder, changed(corpus={"takes": 3}), resume=True).startswith("corpus.takes: 3 here, 2 in the run")


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_a_folder_of_other_files_is_refused_whatever_is_asked(folder, resume, overwrite):
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.tex").write_text("x")
    message = refusal(folder, resume=resume, overwrite=overwrite)
    assert message.startswith(f"output_dir: {folder.path} holds files that are no run's")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    assert refusal(RunFolder(tmp_path / "a"), overwrite=True) == f"output_dir: {tmp_path / 'a'} is a file"


def test_a_run_is_neither_continued_nor_replaced_unasked(started):
    message = refusal(started)
    assert str(started.path) in message
    assert "--resume" in message
    assert "--overwrite" in message


def test_the_same_recipe_resumes_and_leaves_everything_standing(started):
    before = sorted(path.relative_to(started.path) for path in started.path.rglob("*"))
    started.check(RECIPE, True, False)
    started.open(RECIPE, resume=True)
    assert sorted(path.relative_to(started.path) for path in started.path.rglob("*")) == before


def test_provenance_and_place_may_differ_when_resuming(started):
    started.check(RECIPE | {"output_dir": "moved", "provenance": {"git": "abc"}}, True, False)


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (changed(training={"learning_rate": 1e-4}), "training.learning_rate: 0.0001 here, 3e-05 in the run at"),
        (changed(training={"seeds": [1, 2, 3]}), "training.seeds: [1, 2, 3] here, [1, 2] in the run at"),
        (changed(corpus={"merge": {"calm": "neutral"}}), "corpus.merge"),
        (changed(corpus={"song": True}), "corpus.song: True here, None in the run at"),
        (RECIPE | {"name": "b"}, "name: 'b' here, 'a' in the run at"),
    ],
)
def test_another_recipe_does_not_resume_and_the_key_is_named(started, recipe, told):
    assert refusal(started, recipe, resume=True).startswith(told)


def test_overwriting_clears_the_run_and_writes_the_new_recipe(started):
    new = changed(training={"learning_rate": 1e-4})
    started.check(new, False, True)
    started.open(new, resume=False)
    assert read_yaml(started.recipe) == new
    assert sorted(child.name for child in started.path.iterdir()) == ["recipe.yaml"]


def test_overwriting_removes_only_what_a_run_writes(started):
    own = [started.path / "notes.txt", started.path / "figures" / "a.png", started.path / "seed-notes.txt"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    started.open(RECIPE, resume=False)
    assert [path.read_text() for path in own] == ["mine"] * 3


def test_overwriting_unlinks_a_linked_folder_and_leaves_its_target(started, tmp_path):
    """Checkpoints are often linked to a larger disk."""
    target = tmp_path / "scratch"
    started.checkpoints.rename(target)
    started.checkpoints.symlink_to(target)
    started.open(RECIPE, resume=False)
    assert not started.checkpoints.exists()
    assert (target / "file").read_text() == "x"


def test_a_start_that_was_cut_off_before_its_recipe_is_no_foreign_folder(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "recipe.partial").write_text("name: a\n")
    folder.check(RECIPE, False, False)
    folder.open(RECIPE, resume=False)
    assert sorted(child.name for child in folder.path.iterdir()) == ["recipe.yaml"]


def test_another_training_s_folder_is_foreign_whatever_its_names(folder):
    (folder.path / "model").mkdir(parents=True)
    (folder.path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="no run's"):
        folder.check(RECIPE, False, True)


@pytest.mark.parametrize("word", ["1e5", "12e45", "3e-5", "no", "2024-01-31", "012"])
def test_words_in_the_saved_recipe_stay_words(folder, word):
    recipe = RECIPE | {"name": word}
    folder.open(recipe, resume=False)
    assert read_yaml(folder.recipe) == recipe
    folder.check(recipe, True, False)


def test_a_run_is_complete_once_its_report_stands(started):
    assert not started.complete
    (started.report / "report.json").write_text(json.dumps({"metrics": {"uar": 0.5}}))
    assert started.complete
    assert started.read_report() == {"metrics": {"uar": 0.5}}


def test_a_child_is_a_run_folder_inside(folder):
    assert folder.child("seed-1").recipe == folder.path / "seed-1" / "recipe.yaml"
    assert (folder.place, folder.child("fold-2").child("seed-1").place) == ((), ("fold-2", "seed-1"))


def test_a_folder_that_was_half_cleared_is_an_unfinished_run(started, monkeypatch):
    """The report must go before anything else, the recipe after everything else."""
    (started.report).mkdir(exist_ok=True)
    (started.report / "report.json").write_text("{}")
    removed = []
    rmtree = shutil.rmtree
    monkeypatch.setattr(
        "ser_hf.utils.run_folder.shutil.rmtree", lambda path, *a, **k: (removed.append(path), rmtree(path))
    )
    started.open(RECIPE, resume=False)
    assert removed[0] == started.report
    assert started.recipe.is_file()
    assert not started.complete
