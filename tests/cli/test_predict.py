"""ser-hf predict: its options reach the functions, and mistakes are found before the model."""

from unittest.mock import Mock

import pytest
from support.commands import complaint

from ser_hf.utils.errors import UserError


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A stub for the loading of the model, which fails; a recording is in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.wav").touch()
    load = Mock(side_effect=UserError("model: stub"))
    monkeypatch.setattr("ser_hf.inference.load.load_classifier", load)
    return load


@pytest.fixture
def recordings(monkeypatch):
    """A stub for the search for recordings."""
    find = Mock(return_value=[])
    monkeypatch.setattr("ser_hf.inference.recordings.from_paths", find)
    return find


@pytest.mark.parametrize(("on_error", "skip"), [("skip", True), ("error", False)])
def test_options_reach_the_model_and_the_recordings(model, recordings, on_error, skip, capsys):
    words = ["a/model", "x.wav", "y", "--on-error", on_error, "--device", "cpu"]
    of_the_hub = ["--revision", "main", "--trust-remote-code", "--label-names", "angry, sad"]
    assert complaint(capsys, "predict", *words, *of_the_hub) == "error: model: stub"
    recordings.assert_called_once_with(["x.wav", "y"], skip=skip)
    model.assert_called_once_with(
        "a/model",
        revision="main",
        device="cpu",
        trust_remote_code=True,
        label_names=["angry", "sad"],
    )


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--window", "0"], "--window"),
        (["--batch-size", "0"], "--batch-size"),
        (["--hop", "1"], "--hop"),
        (["--output", "x.wav"], "--output"),
        (["--output", "x.html"], "--output"),
        (["--embeddings", "x.csv"], "--embeddings"),
    ],
)
def test_a_mistake_names_its_option_before_the_model_is_loaded(model, words, key, capsys):
    assert complaint(capsys, "predict", "a/model", "x.wav", *words).startswith(f"error: {key}: ")
    model.assert_not_called()
