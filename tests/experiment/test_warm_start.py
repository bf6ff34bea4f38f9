"""Runs that start from another run: its options, weights, labels and speakers."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from support.recipes import TINY_CRNN
from support.warm_start import CHILD, PARENT

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.loading.build import build_model
from ser_hf.utils.errors import UserError


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "parent"
    ser_hf.run_recipe(PARENT, [f"output_dir={folder}", "protocol.near_duplicates=skip"])
    return folder


def child(parent, *overrides):
    return read_recipe({**CHILD, "model": {"checkpoint": str(parent)}}, overrides)


def test_keys_that_are_left_out_come_from_the_parent(parent):
    recipe = child(parent, "model.dropout=0.5")
    assert recipe.model.architecture == "crnn"
    assert recipe.model.n_mels == 32
    assert recipe.model.normalization == "corpus"
    assert recipe.model.dropout == 0.5
    assert recipe.audio.sampling_rate == 8000
    assert recipe.audio.level == "peak"
    assert recipe.to_dict() == read_recipe(recipe.to_dict()).to_dict()


@pytest.mark.parametrize("source", ["", "model"])
def test_a_run_and_its_model_folder_are_the_same_start(parent, source):
    data = load_experiment_data(child(parent / source))
    assert data.plan.checkpoint == str(parent / "model")
    assert data.plan.labels.kept == ("sad", "angry")
    assert data.plan.labels.new == ("fear",)
    assert data.plan.labels.dropped == ("happy",)


def test_weights_statistics_and_rows_of_labels_are_loaded(parent, caplog):
    caplog.set_level("INFO")
    model = build_model(load_experiment_data(child(parent)).plan)
    saved = load_file(parent / "model" / "model.safetensors")
    for name, tensor in model.state_dict().items():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(tensor.numpy(), saved[name].numpy(), err_msg=name)
    rows = model.classifier.weight.detach().numpy()
    saved_rows = saved["classifier.weight"].numpy()  # angry, happy, sad
    np.testing.assert_array_equal(rows[0], saved_rows[2])
    np.testing.assert_array_equal(rows[2], saved_rows[0])
    assert not np.array_equal(rows[1], saved_rows[1])
    assert np.isfinite(rows).all()
    assert "last layer kept for sad, angry" in caplog.text
    assert "new, random rows of the last layer: fear" in caplog.text
    assert "left out: happy" in caplog.text


@pytest.mark.parametrize(
    "override",
    ["model.n_mels=64", "audio.sampling_rate=16000", "model.channels=[8]", "audio.normalize=true"],
)
def test_a_key_that_conflicts_with_the_parent_is_refused(parent, override):
    key, _, value = override.partition("=")
    with pytest.raises(UserError) as error:
        load_experiment_data(child(parent, override))
    assert str(error.value).startswith(f"{key}: {value}, but {parent / 'model'} was trained with")


def test_another_architecture_is_refused(parent):
    with pytest.raises(UserError, match=r"^model\.architecture: cnn2d, but"):
        child(parent, "model.architecture=cnn2d")


def test_a_missing_parent(tmp_path):
    with pytest.raises(UserError, match=r"^model\.checkpoint: no run and no model"):
        child(tmp_path / "none")
    with_network = child(tmp_path / "none", "model.architecture=crnn")
    with pytest.raises(UserError, match=r"^model\.checkpoint: no such folder"):
        load_experiment_data(with_network)


def test_a_missing_file_of_weights_is_not_searched_on_the_hub(monkeypatch):
    def ask(*arguments, **options):
        raise AssertionError("a request to the Hub")

    monkeypatch.setattr("ser_hf.loading.files.find_file", ask)
    recipe = read_recipe("ravdess_vggish", [])
    assert recipe.model.checkpoint == "weights/vggish-10086976.pth"


def test_a_run_without_a_model(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with pytest.raises(UserError, match=r"^model\.checkpoint: .* without a finished model"):
        child(tmp_path)


def test_test_speakers_of_the_parent_are_refused_unless_allowed(parent):
    overrides = ["protocol.test=['02', '05']"]
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*1 of the test speakers"):
        load_experiment_data(child(parent, *overrides))
    data = load_experiment_data(child(parent, *overrides, "protocol.parent_speakers=tell"))
    assert data.folds[0].split.leak.startswith("Speaker-dependent: 1 of the 2 test speakers")


def test_the_frozen_part_keeps_its_weights(parent, tmp_path):
    report = ser_hf.run_recipe(
        child(parent).to_dict(), [f"output_dir={tmp_path / 'run'}", "freeze.encoder=true"]
    )
    saved = load_file(parent / "model" / "model.safetensors")
    trained = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, tensor in saved.items():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(tensor.numpy(), trained[name].numpy(), err_msg=name)

    section = report.model.parent
    assert section.name == "parent"
    assert section.kept_labels == ["sad", "angry"]
    assert section.new_labels == ["fear"]
    assert [corpus.name for corpus in section.corpora] == ["synthetic"]
    assert report.protocol.inherited == ["synthetic:01", "synthetic:02", "synthetic:03"]
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "The training starts from the model parent" in card
    saved_report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert saved_report["model"]["parent"]["name"] == "parent"


@pytest.mark.parametrize("override", ["freeze.layers=1", "training.layer_decay=0.5"])
def test_layers_and_rates_of_networks(parent, override, tmp_path):
    overrides = [f"output_dir={tmp_path / 'run'}", override, "evaluation.part=validation"]
    report = ser_hf.run_recipe(child(parent).to_dict(), overrides)
    assert report.metrics["uar"] >= 0


def test_random_weights_are_not_frozen():
    with pytest.raises(UserError, match=r"^freeze\.encoder: crnn starts from random weights"):
        read_recipe({**CHILD, "model": TINY_CRNN}, ["freeze.encoder=true"])


def test_what_scikit_learn_fits_has_no_parent(parent):
    recipe = {**CHILD, "model": {"architecture": "mfcc_linear", "checkpoint": "/none"}}
    with pytest.raises(UserError, match=r"^model\.checkpoint: scikit-learn fits all"):
        read_recipe(recipe)
