"""Exported files have the predictions of their models, or are not written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from models_exported import LABELS, PREPARATIONS, RATE, clips, write_model
from support.close import assert_near

from ser_hf import cli, predict
from ser_hf.export import export_model, export_onnx
from ser_hf.export import onnx as onnx_export
from ser_hf.export.onnx import LARGEST, logits_of
from ser_hf.inference.decisions import stored_threshold
from ser_hf.inference.load import load_classifier
from ser_hf.inference.segmenting import lengths_of
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow
GIVEN = clips(16000, 5601, 9000, 30007, 700)


def metadata_of(path):
    """The metadata of a file as values; texts that are no JSON stay texts."""
    texts = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    values = {}
    for key, text in texts.items():
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


@pytest.fixture(scope="module")
def crnn(tmp_path_factory):
    """A crnn with an extractor that trims and normalizes levels, and its export."""
    folder = tmp_path_factory.mktemp("crnn")
    write_model(folder / "model", preparation=PREPARATIONS[1])
    return folder, export_model(
        folder / "model", folder / "out" / "crnn.onnx", int8=True, clips=GIVEN
    )


def test_a_file_has_the_predictions_of_its_model(crnn):
    folder, export = crnn
    exported = load_classifier(folder / "out" / "crnn.onnx")
    classifier = load_classifier(folder / "model", device="cpu")
    others = clips(1, 8000, 4001, 50000, seed=1)
    expected = logits_of(classifier, others)
    assert_near(logits_of(exported, others), expected)
    assert_near(logits_of(exported, others, len(others)), expected)
    file = export.files["onnx"]
    assert file.difference.clips == len(GIVEN)
    assert file.padded
    assert export.compared_on == "given clips"
    assert file.difference.logits < 1e-5
    assert min(file.milliseconds, export.milliseconds) > 0
    assert exported.labels == LABELS
    assert exported.extractor.sampling_rate == RATE
    assert exported.problem_type is None
    metadata = metadata_of(file.path)
    assert metadata["opset"] == 18
    assert metadata["padding_safe"]
    assert metadata["model"] == folder.name
    assert {path.name for path in (folder / "out").iterdir()} == {
        "crnn.onnx",
        "crnn.int8.onnx",
        "run_onnx.py",
    }
    written = (folder / "out" / "crnn.onnx").read_bytes()
    for package in (torch, cli):
        assert str(Path(package.__file__).parent).encode() not in written, "a local path"


def test_a_file_keeps_the_threshold_of_unknown_predictions(tmp_path):
    write_model(tmp_path / "model", unknown_threshold=0.4)
    export_model(tmp_path / "model", tmp_path / "model.onnx", clips=GIVEN)
    exported = load_classifier(tmp_path / "model.onnx")
    assert metadata_of(tmp_path / "model.onnx")["unknown_threshold"] == 0.4
    assert stored_threshold(exported) == 0.4


def test_a_file_divides_recordings_as_its_model(tmp_path):
    """Turns of speech have the lengths of the training clips."""
    write_model(tmp_path / "model", clip_seconds=[1.5, 4.0])
    export_model(tmp_path / "model", tmp_path / "model.onnx", clips=GIVEN)
    assert lengths_of(load_classifier(tmp_path / "model.onnx")) == (1.5, 4.0)
    assert lengths_of(load_classifier(tmp_path / "model")) == (1.5, 4.0)


def test_int8_keeps_the_filter_bank_and_reports_its_loss(crnn):
    small = crnn[1].files["int8"]
    assert 0 < small.difference.logits < 0.5
    kinds = {value.name: value.data_type for value in onnx.load(small.path).graph.initializer}
    assert any("lstm" in name and kind == onnx.TensorProto.INT8 for name, kind in kinds.items())
    assert kinds["model.front_end.features.filters"] == onnx.TensorProto.FLOAT
    metadata = metadata_of(small.path)
    assert not metadata["padding_safe"], "activations of a batch share one range"
    assert metadata["quantized"] == "int8 weights, dynamic"
    assert metadata["id2label"] == dict(zip("0123", LABELS, strict=True))


def test_the_exported_script_runs_without_torch(crnn, tmp_path):
    folder, _ = crnn
    clip = clips(22050, seed=2)[0]
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "a.wav", clip, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.stack([tone, tone], axis=1), 44100, subtype="FLOAT")
    script = folder / "out" / "run_onnx.py"
    without_others = (
        "import runpy, sys\n"
        "for name in ('torch', 'transformers', 'ser_hf', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "del sys.argv[0]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [
        sys.executable,
        "-I",
        "-c",
        without_others,
        str(script),
        str(folder / "out" / "crnn.int8.onnx"),
        "a.wav",
        "b.wav",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.pop("file") for row in rows] == ["a.wav", "b.wav"]
    expected = predict(
        folder / "out" / "crnn.int8.onnx", [tmp_path / "a.wav", tmp_path / "b.wav"]
    ).probabilities
    found = np.array([[row[label] for label in LABELS] for row in rows])
    assert_near(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=2e-2)  # resampled by another filter


def test_predict_accepts_an_exported_file(crnn, tmp_path, capsys):
    folder, _ = crnn
    for number, clip in enumerate(GIVEN):
        soundfile.write(tmp_path / f"{number}.wav", clip, RATE, subtype="FLOAT")
    file = predict(folder / "out" / "crnn.onnx", tmp_path)
    model = predict(folder / "model", tmp_path, device="cpu")
    assert_near(file.probabilities, model.probabilities)
    assert (file.ids, file.labels, file.predicted) == (model.ids, LABELS, model.predicted)
    windows = predict(folder / "out" / "crnn.onnx", tmp_path, segments="windows", window=0.7)
    assert len(windows) > len(GIVEN)
    assert (
        cli.main(
            [
                "predict",
                str(folder / "out" / "crnn.onnx"),
                str(tmp_path),
                "--embeddings",
                "e.parquet",
            ]
        )
        == 2
    )
    assert "does not end with a linear layer of 4 labels" in capsys.readouterr().err


def test_a_file_with_other_predictions_is_not_written(crnn, monkeypatch, tmp_path):
    folder, _ = crnn

    def changed_bias(model, path, extractor, facts):
        file = onnx.load(folder / "out" / "crnn.onnx")
        (bias,) = (
            value for value in file.graph.initializer if value.name == "model.classifier.bias"
        )
        bias.CopyFrom(
            onnx.numpy_helper.from_array(
                onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name
            )
        )
        onnx.save(file, path)

    monkeypatch.setattr(onnx_export, "export_onnx", changed_bias)
    with pytest.raises(UserError, match=r"not written: its logits differ by 0\.01"):
        export_model(folder / "model", tmp_path / "out" / "crnn.onnx")
    assert not list((tmp_path / "out").iterdir())


def test_a_run_is_compared_on_the_clips_that_it_keeps(tmp_path):
    assert onnx_export._default_clips(tmp_path, RATE)[1] == "built-in speech-like signals"
    own = {f"clip_{number}": clip for number, clip in enumerate(GIVEN)}
    np.savez(
        tmp_path / "reference.npz",
        logits=np.zeros((len(GIVEN), 4), np.float32),
        sampling_rate=RATE,
        **own,
    )
    kept, description = onnx_export._default_clips(tmp_path, RATE)
    assert [len(clip) for clip in kept] == [len(clip) for clip in GIVEN]
    assert description == "clips that its run keeps"


def test_mistakes_print_one_line(crnn, tmp_path, capsys):
    folder, _ = crnn
    model = str(folder / "model")
    file = str(folder / "out" / "crnn.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf")
    sound = str(tmp_path / "a.wav")
    soundfile.write(sound, GIVEN[0], RATE)
    for words, start in (
        (["export", model, "--output", "x.bin"], "--output: "),
        (["export", file], f"{file}: "),
        (["predict", str(broken), sound], f"{broken}: "),
    ):
        assert cli.main(words) == 2, words
        lines = capsys.readouterr().err.splitlines()
        (error,) = [line for line in lines if line.startswith("error: ")]
        assert error.startswith(f"error: {start}")


def test_models_beyond_two_gigabytes_are_refused(crnn, tmp_path, monkeypatch):
    folder, _ = crnn
    classifier = load_classifier(folder / "model", device="cpu")
    monkeypatch.setattr(
        classifier.model, "state_dict", lambda: {"w": torch.empty(LARGEST // 4, device="meta")}
    )
    with pytest.raises(UserError, match=r"2\.1 GB"):
        export_onnx(classifier.model, tmp_path / "x.onnx", classifier.extractor)


def test_networks_with_computed_filters_have_int8_files(tmp_path):
    """The quantizer refuses convolutions whose weights are no constants of the file."""
    write_model(tmp_path / "model", "cnn1d")
    small = export_model(tmp_path / "model", tmp_path / "a.onnx", int8=True, clips=GIVEN).files[
        "int8"
    ]
    assert small.difference.logits < 0.5
