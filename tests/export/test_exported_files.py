"""Files answer as their models do, alone and padded, or do not stand; small ones say what they cost."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from models_exported import LABELS, PREPARATIONS, RATE, clips, write_encoder, write_model

from ser_hf import cli, predict
from ser_hf.errors import UserError
from ser_hf.export import OnnxSession, export_model, model_file
from ser_hf.export.comparison import own_answers
from ser_hf.export.onnx import LARGEST, export_onnx
from ser_hf.export.torch_program import TorchProgram
from ser_hf.prediction.expert import load_expert

pytestmark = pytest.mark.slow
GIVEN = clips(16000, 5601, 9000, 30007, 700)


def paths_in(file):
    """Where torch and ser_hf stand on this machine, if the bytes of a file tell."""
    return [path for path in (Path(torch.__file__).parent, Path(cli.__file__).parent) if str(path).encode() in file]


@pytest.fixture(scope="module", autouse=True)
def timed_once():
    """As few turns as there can be: how long an answer takes does not matter here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ser_hf.export.comparison._TIMED_SECONDS", 0)
        yield


@pytest.fixture(scope="module")
def crnn(tmp_path_factory):
    """A crnn whose extractor trims, levels and pads, and what export made of it."""
    folder = tmp_path_factory.mktemp("crnn")
    write_model(folder / "model", preparation=PREPARATIONS[1])
    return folder, export_model(folder / "model", folder / "out" / "crnn.onnx", int8=True, clips=GIVEN)


def test_a_file_answers_as_its_model_does(crnn):
    folder, exports = crnn
    session, expert = OnnxSession(folder / "out" / "crnn.onnx"), load_expert(folder / "model", device="cpu")
    others = clips(1, 8000, 4001, 50000, seed=1)
    expected = own_answers(expert, others)
    np.testing.assert_allclose(session.alone(others), expected, atol=1e-5)
    np.testing.assert_allclose(session.together(others), expected, atol=1e-5)
    logits, shares = session.ask(others[1][None])
    np.testing.assert_allclose(shares, torch.from_numpy(logits).softmax(dim=1), atol=1e-6)
    assert exports.files["onnx"].difference.logits < 1e-5
    assert exports.files["onnx"].difference.clips == len(GIVEN)
    assert exports.files["onnx"].milliseconds > 0
    assert session.labels == LABELS
    assert (session.sampling_rate, session.multi_label) == (RATE, False)
    told = session.facts
    assert told["in_graph"] == ["silence trimmed off at 20 dB", "peak set to -1 dBFS"]
    assert (told["opset"], told["preparation"], told["padding_safe"], told["model"]) == (18, [], True, folder.name)
    assert {path.name for path in (folder / "out").iterdir()} == {"crnn.onnx", "crnn.int8.onnx", "run_onnx.py"}
    assert not paths_in((folder / "out" / "crnn.onnx").read_bytes())


def test_int8_keeps_the_filter_bank_and_tells_what_it_costs(crnn):
    folder, exports = crnn
    small = exports.files["int8"]
    assert 0 < small.difference.logits < 0.5
    kinds = {value.name: value.data_type for value in onnx.load(small.path).graph.initializer}
    quantised = [name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8]
    assert any("lstm" in name for name in quantised)
    assert kinds["model.front_end.features.filters"] == onnx.TensorProto.FLOAT
    facts = OnnxSession(small.path).facts
    assert not facts["padding_safe"], "of all activations of a batch one range is taken"
    assert (facts["quantized"], facts["id2label"]) == ("int8 weights, dynamic", dict(zip("0123", LABELS, strict=True)))


def test_the_script_beside_it_runs_without_torch(crnn, tmp_path):
    folder, _ = crnn
    clip = clips(22050, seed=2)[0]
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "a.wav", clip, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.stack([tone, tone], axis=1), 44100, subtype="FLOAT")
    script = folder / "out" / "run_onnx.py"
    assert len(script.read_text().splitlines()) <= 20
    blocked = "import sys\nfor name in ('torch', 'transformers', 'ser_hf', 'scipy'): sys.modules[name] = None\n"
    blocked += f"sys.argv[:] = sys.argv[1:]\nexec(compile(open({str(script)!r}).read(), {str(script)!r}, 'exec'))"
    command = [sys.executable, "-I", "-c", blocked, "script", str(folder / "out" / "crnn.int8.onnx"), "a.wav", "b.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.pop("file") for row in rows] == ["a.wav", "b.wav"]
    expected = predict(folder / "out" / "crnn.int8.onnx", [tmp_path / "a.wav", tmp_path / "b.wav"]).probabilities
    found = np.array([[row[label] for label in LABELS] for row in rows])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-2)  # resampled by another filter


def test_predict_asks_a_file_as_it_asks_a_model(crnn, tmp_path, capsys):
    folder, _ = crnn
    for number, clip in enumerate(GIVEN):
        soundfile.write(tmp_path / f"{number}.wav", clip, RATE, subtype="FLOAT")
    for asked in ({}, {"window": 0.5}, {"timeline": True, "window": 0.7}):
        files = predict(folder / "out" / "crnn.onnx", tmp_path, **asked)
        model = predict(folder / "model", tmp_path, device="cpu", **asked)
        if not asked:  # of longer ones windows are cut after silence is trimmed off, and here before it
            np.testing.assert_allclose(files.logits, model.logits, atol=1e-5)
        assert files.ids == model.ids or asked
        assert files.labels == LABELS
    assert cli.main(["predict", str(folder / "out" / "crnn.onnx"), str(tmp_path), "--embeddings", "e.parquet"]) == 2
    assert "has no linear layer of 4 labels" in capsys.readouterr().err


def test_a_program_of_torch_takes_any_length(crnn, tmp_path, capsys):
    folder, _ = crnn
    for number, clip in enumerate(GIVEN):
        soundfile.write(tmp_path / f"{number}.wav", clip, RATE, subtype="FLOAT")
    given = ["--clips", *map(str, sorted(tmp_path.glob("*.wav")))]
    output = ["--format", "torch", "--output", str(folder / "c.pt2")]
    assert cli.main(["export", str(folder / "model"), *output, *given]) == 0
    program, expert = TorchProgram(folder / "c.pt2"), load_expert(folder / "model", device="cpu")
    others = clips(1, 8000, 4001, 50000, seed=1)
    expected = own_answers(expert, others)
    np.testing.assert_allclose(program.alone(others), expected, atol=1e-5)
    np.testing.assert_allclose(program.together(others), expected, atol=1e-5)
    assert program.facts["in_graph"] == ["silence trimmed off at 20 dB", "peak set to -1 dBFS"]
    told = capsys.readouterr().out
    with zipfile.ZipFile(folder / "c.pt2") as program:
        assert not any(paths_in(program.read(name)) for name in program.namelist())
    assert f"compared on {len(GIVEN)} clips that were given:" in told
    assert "c.pt2: " in told


def test_an_encoder_whose_extractor_computes_features(encoder_folder, tmp_path):
    folder = write_encoder(tmp_path / "whisper", encoder_folder("whisper"))
    exports = export_model(folder, tmp_path / "whisper.onnx", clips=GIVEN)
    assert exports.files["onnx"].difference.logits < 1e-4
    facts = OnnxSession(tmp_path / "whisper.onnx").facts
    assert facts["in_graph"] == ["the features of WhisperFeatureExtractor"]
    assert (facts["longest_seconds"], facts["padding_safe"]) == (1.0, True)


def test_what_answers_otherwise_does_not_stand(crnn, monkeypatch, tmp_path):
    folder, _ = crnn

    def spoilt(model, path, extractor, facts):
        file = onnx.load(folder / "out" / "crnn.onnx")
        (bias,) = (value for value in file.graph.initializer if value.name == "model.classifier.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        path.parent.mkdir()
        onnx.save(file, path)

    monkeypatch.setattr(model_file, "export_onnx", spoilt)
    with pytest.raises(UserError, match=r"not written: its logits are 0\.01 away"):
        export_model(folder / "model", tmp_path / "out" / "crnn.onnx")
    assert not list((tmp_path / "out").iterdir())


def test_the_cost_on_a_corpus(crnn, ravdess_root, tmp_path, capsys):
    folder, _ = crnn
    exports = []
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:  # the file of before, in place of another export that takes as long
        patched.setattr(model_file, "export_onnx", lambda *_: _copied(folder, tmp_path / "m.unchecked.onnx"))
        patched.setattr(
            "ser_hf.export.model_file.export_model",
            lambda *a, own=export_model, **k: exports.append(own(*a, **k)) or exports[0],
        )
        corpus = ["--corpus", "ravdess", "--root", str(ravdess_root)]
        assert (
            cli.main(["export", str(folder / "model"), "--int8", "--output", str(tmp_path / "m.onnx"), *corpus]) == 0
        )
    cost = exports[0].files["onnx"].cost
    assert (cost.changed, cost.uar) == (0, exports[0].cost.uar)
    assert cost.largest < 1e-5 < exports[0].files["int8"].cost.largest < 0.2
    assert f"on {cost.clips} clips: the model has UAR {cost.uar:.4f}" in capsys.readouterr().out


def _copied(folder: Path, path: Path) -> Path:
    path.write_bytes((folder / "out" / "crnn.onnx").read_bytes())
    return path


def test_a_run_is_compared_on_the_clips_that_it_keeps(tmp_path):
    assert model_file._reference(tmp_path, RATE)[1] == "built-in speech-like signals"
    own = {f"clip_{number}": clip for number, clip in enumerate(GIVEN)}
    np.savez(tmp_path / "reference.npz", logits=np.zeros((len(GIVEN), 4)), sampling_rate=RATE, **own)
    kept, told = model_file._reference(tmp_path, RATE)
    assert [len(clip) for clip in kept] == [len(clip) for clip in GIVEN]
    assert told == "clips of its run's judged part"


def test_a_script_of_the_users_own_is_left(crnn, tmp_path):
    (tmp_path / "run_onnx.py").write_text("print('mine')\n")
    assert model_file._script(tmp_path / "m.onnx") is None
    assert (tmp_path / "run_onnx.py").read_text() == "print('mine')\n"


def test_mistakes_are_told_in_a_line(crnn, tmp_path, capsys):
    folder, _ = crnn
    model, file = str(folder / "model"), str(folder / "out" / "crnn.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    sound = str(tmp_path / "a.wav")
    soundfile.write(sound, GIVEN[0], RATE)
    other = onnx.load(file)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    for words, told in (
        (["export", model, "--output", "x.bin"], "--output: x.bin does not end with .onnx"),
        (["export", model, "--output", "x.onnx", "--format", "torch"], "does not end with .pt2"),
        (["export", model, "--format", "torch", "--int8"], "--int8: belongs to --format onnx"),
        (["export", file], "exported already"),
        (["export", model, "some.wav"], "name recordings with --clips"),
        (["export", model, "song=true"], "belongs to a corpus"),
        (["export", model, "--root", str(tmp_path)], "tells of no recipe"),
        (["predict", str(tmp_path / "none.onnx"), sound], "none.onnx: no such file"),
        (["predict", str(tmp_path / "broken.onnx"), sound], "no ONNX file that onnxruntime can run"),
        (["predict", str(tmp_path / "other.onnx"), sound], "written by another exporter"),
    ):
        assert cli.main(words) == 2, words
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, words
        assert told in errors[0], errors


def test_what_no_file_can_hold_is_told_at_once(crnn, tmp_path, monkeypatch):
    folder, _ = crnn
    model = load_expert(folder / "model", device="cpu").model
    monkeypatch.setattr(model, "state_dict", lambda: {"w": torch.empty(LARGEST // 4, device="meta")})
    with pytest.raises(UserError, match="takes 2.1 GB, and an ONNX file holds 2"):
        export_onnx(model, tmp_path / "x.onnx")
