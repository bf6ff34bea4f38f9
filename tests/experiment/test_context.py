"""The context of a run: its parts for a fold or seed, its arguments, and the resolved recipe."""

import datetime

import pytest
from support.recipes import TINY_CRNN

from ser_hf.evaluation.tasks import EMOTIONS
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.training.freezing import Freezing
from ser_hf.training.lora import Lora
from ser_hf.utils.environment import git_revision, package_versions
from ser_hf.utils.run_folder import RunFolder

RECIPE = {
    "name": "context",
    "output_dir": "runs/context",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "near_duplicates": "skip"},
    "model": TINY_CRNN,
    "training": {"seeds": [7, 8], "learning_rate": 2e-3},
}


@pytest.fixture(scope="module")
def run():
    """A run over two folds that has not begun."""
    recipe = read_recipe(RECIPE)
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def test_a_child_is_below_its_run_and_has_no_foil(run):
    def watch(path_in_run, epoch, metrics):
        pass

    child = run.child("fold-1", run.recipe, run.folds[:1], watch)
    assert child.folder.path == run.folder.path / "fold-1"
    assert child.folder.path_in_run == ("fold-1",)
    assert child.recipe.output_dir == str(child.folder.path)
    assert child.folds == run.folds[:1]
    assert child.foil is None
    assert child.watch is watch
    assert child.data is run.data
    assert child.arguments().output_dir == str(child.folder.checkpoints)


def test_on_a_fold_it_is_the_only_one(run):
    second = run.on_fold(run.folds[1])
    assert second.fold is run.folds[1]
    assert second.folds == [run.folds[1]]
    assert run.fold is run.folds[0]


def test_the_arguments_are_those_of_the_recipe_and_of_the_first_seed(run):
    arguments = run.arguments()
    assert arguments.seed == 7
    assert arguments.learning_rate == 2e-3
    assert arguments.metric_for_best_model == "uar"
    assert arguments.padding_safe is run.data.plan.padding_safe


def test_frozen_parts_and_adapters_follow_from_the_recipe(run):
    assert run.task is EMOTIONS
    assert run.freezing == Freezing()
    assert run.lora is None
    encoder = {"architecture": "encoder", "checkpoint": "someone/encoder"}
    recipe = read_recipe(RECIPE | {"model": encoder, "lora": {"rank": 4, "dora": True}})
    adapted = RunContext(recipe, run.data, run.folds, run.folder)
    assert isinstance(adapted.lora, Lora)
    assert adapted.lora.rank == 4
    assert adapted.lora.dora


def test_the_resolved_recipe_has_date_versions_and_revision(run):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    resolved = run.resolved_recipe()
    assert resolved.provenance["versions"] == package_versions()
    assert resolved.provenance["git_revision"] == git_revision()
    created = datetime.datetime.fromisoformat(resolved.provenance["created"])
    assert before <= created <= datetime.datetime.now(datetime.UTC)
    assert resolved.replace(provenance=None) == run.recipe
    assert read_recipe(resolved.to_dict()) == resolved


def test_one_process_alone_is_the_main_one(run):
    with run.main_process_first() as is_main:
        assert is_main
