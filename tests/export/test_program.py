"""Programs of torch have the predictions of their models, and are whole or not written."""

import json

import pytest
import torch
from models_exported import LABELS, PREPARATIONS, clips, write_encoder, write_model

from ser_hf.export import export_model
from ser_hf.export import onnx as onnx_export
from ser_hf.utils.errors import UserError

GIVEN = clips(16000, 5601, 700)
OTHER_KINDS = ("cnn2d", "whisper", "wav2vec2-bert", "emotion2vec")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "wav2vec2-layer",
        *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in OTHER_KINDS),
    ],
)
def test_a_program_has_the_predictions_of_its_model(kind, encoder_folder, tmp_path):
    if kind == "cnn2d":
        write_model(tmp_path / "model", kind, preparation=PREPARATIONS[1])
    else:
        write_encoder(tmp_path / "model", encoder_folder(kind))
    export = export_model(tmp_path / "model", tmp_path / "out" / "model.pt2", clips=GIVEN)
    file = export.files["pt2"]
    assert list(export.files) == ["pt2"]
    assert export.script is None
    assert file.difference.logits < 1e-5
    assert file.padded
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.pt2"]

    extra_files = {"metadata.json": ""}
    program = torch.export.load(file.path, extra_files=extra_files).module()
    metadata = json.loads(extra_files["metadata.json"])
    assert metadata["id2label"] == dict(zip("0123", LABELS, strict=True))
    assert metadata["sampling_rate"] == 16000
    waveform = torch.from_numpy(clips(12345)[0])[None]
    logits, probabilities = program(
        input_values=waveform, attention_mask=torch.ones_like(waveform, dtype=torch.long)
    )
    torch.testing.assert_close(probabilities, logits.softmax(dim=1))


@pytest.mark.slow
def test_a_program_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    write_model(tmp_path / "model", "cnn2d")
    with pytest.raises(UserError, match="not written: its logits differ"):
        export_model(tmp_path / "model", tmp_path / "model.pt2", clips=GIVEN)
    assert not list(tmp_path.glob("*.pt2"))


@pytest.mark.parametrize("option", ["int8", "fp16"])
def test_options_of_onnx_files_are_refused(option, tmp_path):
    with pytest.raises(UserError, match=f"^--{option}: .*model.pt2"):
        export_model("a/model", tmp_path / "model.pt2", **{option: True})


def test_a_network_with_an_lstm_is_refused(tmp_path):
    write_model(tmp_path / "model", "crnn")
    with pytest.raises(UserError, match="LSTM"):
        export_model(tmp_path / "model", tmp_path / "model.pt2", clips=GIVEN)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^--output: .*\.txt does not end with"):
        export_model("a/model", tmp_path / "model.txt")
