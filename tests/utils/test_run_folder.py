"""The folder of a run: foreign files are never changed; a run is continued or replaced only on
request.
"""

import os
import platform
import shutil
from unittest.mock import Mock

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
    """RECIPE with other values in the named sections."""
    recipe = dict(RECIPE)
    for section, values in sections.items():
        recipe[section] = RECIPE[section] | values
    return recipe


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "a")


@pytest.fixture
def started(folder):
    """A folder with an interrupted run."""
    folder.open(RECIPE, resume=False)
    subfolders = (
        folder.model,
        folder.report,
        folder.checkpoints,
        folder.log.parent,
        folder.path / "seed-1",
    )
    for subfolder in subfolders:
        subfolder.mkdir()
        (subfolder / "file").write_text("x")
    folder.split.write_text("{}")
    return folder


def refusal(folder, recipe=RECIPE, resume=False, overwrite=False):
    with pytest.raises(UserError) as error:
        folder.check(recipe, resume, overwrite)
    return str(error.value)


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_used(folder, exists, resume, overwrite, tmp_path):
    if exists:
        folder.path.mkdir(parents=True)
    before = list(tmp_path.rglob("*"))
    folder.check(RECIPE, resume, overwrite)
    assert list(tmp_path.rglob("*")) == before
    folder.open(RECIPE, resume)
    assert read_yaml(folder.recipe) == RECIPE
    assert sorted(child.name for child in folder.path.iterdir()) == ["recipe.yaml"]


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("name", ["thesis.tex", "model", "checkpoints"])
def test_a_folder_of_other_files_is_refused(folder, name, resume, overwrite):
    folder.path.mkdir(parents=True)
    (folder.path / name).touch()
    message = refusal(folder, resume=resume, overwrite=overwrite)
    assert message.startswith(f"output_dir: {folder.path} ")


def test_a_file_and_a_model_folder_are_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    assert (
        refusal(RunFolder(tmp_path / "a"), overwrite=True)
        == f"output_dir: {tmp_path / 'a'} is a file"
    )
    (tmp_path / "model").mkdir()
    for name in ("config.json", "recipe.yaml"):
        (tmp_path / "model" / name).touch()
    message = refusal(RunFolder(tmp_path / "model"), overwrite=True)
    assert message.startswith(f"output_dir: {tmp_path / 'model'} is a model's folder")


def test_a_run_is_neither_continued_nor_replaced_without_an_option(started):
    message = refusal(started)
    assert all(text in message for text in (str(started.path), "--resume", "--overwrite"))


def test_the_same_recipe_resumes_and_changes_nothing(started):
    before = sorted(path.relative_to(started.path) for path in started.path.rglob("*"))
    same = changed(corpus={"download": True}) | {
        "output_dir": "moved",
        "provenance": {"git": "abc"},
    }
    started.check(same, True, False)
    started.open(same, resume=True)
    assert sorted(path.relative_to(started.path) for path in started.path.rglob("*")) == before


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        (changed(training={"learning_rate": 1e-4}), "training.learning_rate"),
        (changed(training={"seeds": [1, 2, 3]}), "training.seeds"),
        (changed(corpus={"merge": {"calm": "neutral"}}), "corpus.merge.calm"),
        (changed(corpus={"song": True}), "corpus.song"),
        (RECIPE | {"name": "b"}, "name"),
    ],
)
def test_another_recipe_does_not_resume_and_the_key_is_named(started, recipe, key):
    assert refusal(started, recipe, resume=True).startswith(f"{key}: ")


def test_the_values_of_both_recipes_are_named(started):
    message = refusal(started, changed(training={"learning_rate": 1e-4}), resume=True)
    assert message.startswith(
        f"training.learning_rate: 0.0001 here, 3e-05 in the run at {started.path}"
    )


def test_a_recipe_without_a_key_of_the_run_does_not_resume(folder):
    folder.open(changed(corpus={"merge": {"calm": "neutral", "excited": "happy"}}), resume=False)
    shorter = changed(corpus={"merge": {"calm": "neutral"}})
    message = refusal(folder, shorter, resume=True)
    assert message.startswith("corpus.merge.excited: None here, 'happy' ")


def test_values_that_a_run_finds_do_not_hinder_resuming(folder):
    recipe = RECIPE | {"audio": {"level": "auto"}, "model": {"revision": None}}
    folder.open(recipe | {"audio": {"level": -26.0}, "model": {"revision": "abc"}}, resume=False)
    folder.check(recipe, resume=True, overwrite=False)


def test_overwriting_clears_the_run_only_and_writes_the_new_recipe(started, tmp_path):
    files_of_the_user = [
        started.path / "notes.txt",
        started.path / "figures" / "a.png",
        started.path / "seed-notes.txt",
    ]
    for path in files_of_the_user:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    scratch = tmp_path / "scratch"  # checkpoints are often linked to a larger disk
    started.checkpoints.rename(scratch)
    started.checkpoints.symlink_to(scratch)
    new = changed(training={"learning_rate": 1e-4})
    started.check(new, False, True)
    started.open(new, resume=False)
    assert read_yaml(started.recipe) == new
    left = {child.name for child in started.path.iterdir()}
    assert left == {"figures", "notes.txt", "recipe.yaml", "seed-notes.txt"}
    assert [path.read_text() for path in files_of_the_user] == ["mine"] * 3
    assert (scratch / "file").read_text() == "x"


def test_a_start_that_was_interrupted_before_its_recipe_begins_again(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "recipe.partial").write_text("name: a\n")
    folder.check(RECIPE, False, False)
    folder.open(RECIPE, resume=False)
    assert sorted(child.name for child in folder.path.iterdir()) == ["recipe.yaml"]


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_a_folder_in_which_a_process_runs_is_refused_with_its_name(
    started, resume, overwrite, monkeypatch
):
    monkeypatch.setattr("ser_hf.utils.files._PATIENCE", 0)
    with started.taken(RECIPE, True, False):
        started.open(RECIPE, resume=True)
        with pytest.raises(UserError) as error, started.taken(RECIPE, resume, overwrite):
            pass
        owner = f"process {os.getpid()} on {platform.node()}"
        assert str(error.value).startswith(f"output_dir: {started.path} is in use by {owner}")
    with started.taken(RECIPE, True, False):  # free again
        pass
    assert not started.lock.exists()


def test_a_run_that_another_process_has_finished_meanwhile_is_not_replaced(folder):
    folder.check(RECIPE, False, False)
    folder.open(RECIPE, resume=False)
    with (
        pytest.raises(UserError, match=f"^output_dir: {folder.path} "),
        folder.taken(RECIPE, False, False),
    ):
        pass


def test_a_child_is_a_run_folder_inside(folder):
    assert folder.child("seed-1").recipe == folder.path / "seed-1" / "recipe.yaml"
    assert folder.path_in_run == ()
    assert folder.child("fold-2").child("seed-1").path_in_run == ("fold-2", "seed-1")


def test_a_partly_cleared_folder_is_an_unfinished_run(started, monkeypatch):
    """The report is removed first, the recipe last."""
    (started.report / "report.json").write_text("{}")
    removal = Mock(side_effect=shutil.rmtree)
    monkeypatch.setattr("ser_hf.utils.run_folder.shutil.rmtree", removal)
    started.open(RECIPE, resume=False)
    assert removal.call_args_list[0].args[0] == started.report
    assert started.recipe.is_file()
    assert not started.complete
