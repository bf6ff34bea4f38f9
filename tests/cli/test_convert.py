"""ser-hf convert: its arguments reach the function, and its result is printed."""

import json
from unittest.mock import Mock

import pytest

from ser_hf import cli
from ser_hf.loading.emotion2vec import Conversion


@pytest.fixture
def converts(monkeypatch, tmp_path):
    """A stub for the conversion, and an empty file to convert in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").touch()
    conversion = Conversion(
        folder="models/plus",
        source="model.pt",
        sha256="0" * 64,
        parameters=93_000_000,
        labels=("angry", "happy"),
        converted=("proj.weight", "proj.bias"),
        unused=("modality_encoders.AUDIO.decoder.proj.weight",),
        unused_labels=("unuse_0",),
    )
    function = Mock(return_value=conversion)
    monkeypatch.setattr("ser_hf.loading.emotion2vec.convert_emotion2vec", function)
    return function


def test_arguments_reach_the_conversion(converts, capsys):
    words = ["convert", "emotion2vec", "model.pt", "models/plus", "--tokens", "t.txt", "--json"]
    assert cli.main(words) == 0
    converts.assert_called_once_with("model.pt", "models/plus", "t.txt")
    assert json.loads(capsys.readouterr().out)["labels"] == ["angry", "happy"]


def test_the_summary_accounts_for_all_tensors(converts, capsys):
    assert cli.main(["convert", "emotion2vec", "model.pt", "models/plus"]) == 0
    printed = capsys.readouterr().out
    assert "93,000,000 parameters from 2 tensors of model.pt" in printed
    assert "1 tensors of the pretraining are left out: modality_encoders.AUDIO.decoder" in printed
    assert "unuse_0" in printed


def test_another_kind_is_refused(capsys):
    assert cli.main(["convert", "wav2vec", "model.pt", "models/plus"]) == 2
    assert "emotion2vec" in capsys.readouterr().err
