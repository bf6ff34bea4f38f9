"""Runs from a parent: resuming, reproduction, sweeps, LoRA, and a parent of the Hub."""

import shutil

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.warm_start import CHILD, PARENT

import ser_hf
from ser_hf.experiment import run
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.reproduce import reproduce
from ser_hf.sweeps import SweepOptions, sweep
from ser_hf.utils.yaml import dump_yaml

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "parent"
    ser_hf.run_recipe(PARENT, [f"output_dir={folder}", "protocol.near_duplicates=skip"])
    return folder


@pytest.fixture(scope="module")
def child(parent, tmp_path_factory):
    """A finished run of two epochs that started from the parent."""
    folder = tmp_path_factory.mktemp("runs") / "child"
    ser_hf.run_recipe(child_recipe(parent), [f"output_dir={folder}"])
    return folder


def child_recipe(parent, **sections):
    training = {"num_train_epochs": 2}
    return {**CHILD, "model": {"checkpoint": str(parent)}, "training": training, **sections}


def weights_of(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_an_interrupted_run_continues_and_ends_as_one_that_was_not(parent, child, tmp_path):
    recipe = read_recipe(child_recipe(parent), [f"output_dir={tmp_path / 'run'}"])

    def stop(place, epoch, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(recipe, watch=stop)
    assert (tmp_path / "run" / "checkpoints").is_dir()

    run.run(recipe, resume=True)
    expected = weights_of(child)
    for name, tensor in weights_of(tmp_path / "run").items():
        np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), rtol=1e-4, atol=1e-5)


def test_a_child_is_reproduced(parent, child, tmp_path):
    overrides = [f"model.checkpoint={parent}"]
    comparison = reproduce(child, overrides, output=tmp_path / "again")
    assert comparison["reproduced"]
    assert comparison["incomparable"] == []


def test_another_parent_is_reported_before_training(parent, tmp_path):
    changed_parent = shutil.copytree(parent, tmp_path / "parent")
    ser_hf.run_recipe(child_recipe(changed_parent), [f"output_dir={tmp_path / 'run'}"])
    weights = changed_parent / "model" / "model.safetensors"
    changed = {name: tensor + 0.01 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, {"format": "pt"})

    overrides = [f"model.checkpoint={changed_parent}"]
    comparison = reproduce(tmp_path / "run", overrides, output=tmp_path / "again")
    (reason,) = comparison["incomparable"]
    assert reason.startswith("the weights that training starts from are sha256:")
    assert not (tmp_path / "again").exists()


def test_a_grandchild_names_the_speakers_of_both(child, tmp_path):
    recipe = child_recipe(
        child, protocol={**CHILD["protocol"], "validation": ["05"], "test": ["06"]}
    )
    report = ser_hf.run_recipe(recipe, [f"output_dir={tmp_path / 'run'}", "protocol.train=['00']"])
    speakers_of_parents = ["synthetic:01", "synthetic:02", "synthetic:03", "synthetic:04"]
    assert report.protocol.inherited == speakers_of_parents


def test_a_sweep_starts_each_trial_from_the_parent(parent, tmp_path):
    recipe = tmp_path / "child.yaml"
    recipe.write_text(dump_yaml(child_recipe(parent)), encoding="utf-8")
    space = {"search": "grid", "space": {"freeze.layers": [0, 1]}}
    sweep(recipe, space, [], SweepOptions(tmp_path / "sweep"))

    reports = sorted((tmp_path / "sweep").rglob("report.json"))
    assert reports
    best = read_recipe(tmp_path / "sweep" / "best.yaml")
    assert best.model.checkpoint == str(parent)
    assert best.model.n_mels == PARENT["model"]["n_mels"]


def test_a_parent_of_the_hub(parent, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--someone--parent"
    revision = "a" * 40
    shutil.copytree(parent / "model", repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    recipe = child_recipe("someone/parent")
    overrides = [f"output_dir={tmp_path / 'run'}", "freeze.encoder=true"]
    report = ser_hf.run_recipe(recipe, overrides)
    assert report.model.parent.kept_labels == ["sad", "angry"]
    assert report.model.revision == revision
    expected = weights_of(parent)
    for name, tensor in weights_of(tmp_path / "run").items():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy(), err_msg=name)


def test_lora_on_a_parent_that_was_trained_with_lora(encoder_folder, tmp_path):
    checkpoint = str(encoder_folder("wav2vec2"))
    model = {"architecture": "encoder", "checkpoint": checkpoint}
    ser_hf.run_recipe(
        {**PARENT, "model": model, "lora": {"rank": 2}, "audio": {"max_duration": 0.5}},
        [f"output_dir={tmp_path / 'parent'}", "protocol.near_duplicates=skip"],
    )
    report = ser_hf.run_recipe(
        child_recipe(tmp_path / "parent", lora={"rank": 2}), [f"output_dir={tmp_path / 'run'}"]
    )
    assert report.model.parent.kept_labels == ["sad", "angry"]
    assert "LoRA" in report.model.depth
