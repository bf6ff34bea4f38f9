"""ser-hf evaluate --reference: the emotions of recordings over time against true turns."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from support.commands import complaint
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, two recordings of two synthetic voices each, and their true turns."""
    folder = tmp_path_factory.mktemp("over-time")
    recipe = {
        "name": "tiny",
        "output_dir": str(folder / "run"),
        "corpus": {"name": "synthetic", "speakers": 4, "takes": 1},
        "model": TINY_CRNN,
        "training": {"num_train_epochs": 1, "seeds": [1]},
        "evaluation": {"bootstrap": 100},
    }
    ser_hf.run_recipe(recipe)
    clips = ser_hf.load_corpus("synthetic", speakers=3, takes=1)
    names = clips.features["label"].names
    lines = ["path,start,end,speaker,label\n"]
    for recording, rows in {"one": (0, 4), "two": (1, 5)}.items():
        parts = [np.zeros(8000, dtype=np.float32)]
        for row in rows:
            samples, rate = soundfile.read(clips["audio"][row]["path"], dtype="float32")
            start = sum(map(len, parts)) / rate
            end = start + len(samples) / rate
            label = names[clips["label"][row]]
            lines.append(f"{recording}.wav,{start},{end},s{row},{label}\n")
            parts += [samples, np.zeros(rate, dtype=np.float32)]
        soundfile.write(folder / f"{recording}.wav", np.concatenate(parts), rate)
    (folder / "truth.csv").write_text("".join(lines))
    return folder


def evaluated(folder, output, *options, files=("one.wav", "two.wav")):
    """The exit code."""
    recordings = [str(folder / name) for name in files]
    command = ["evaluate", str(folder / "run"), *recordings, "--device", "cpu"]
    command += ["--reference", str(folder / "truth.csv"), "--output", str(output)]
    return cli.main([*command, *options])


@pytest.mark.parametrize("segments", ["reference", "windows", "speech"])
def test_recordings_are_evaluated(folder, tmp_path, capsys, segments):
    if segments == "speech":
        pytest.importorskip("silero_vad")
    output = tmp_path / "out"
    assert evaluated(folder, output, "--segments", segments) == 0
    result = json.loads((output / "over_time.json").read_text())
    assert "EDER" in capsys.readouterr().out
    seconds = result["seconds"]
    wrong = sum(seconds[kind] for kind in ("false_alarm", "missed", "confusion", "overlap"))
    assert result["eder"] == pytest.approx(wrong / seconds["duration"])
    assert np.sum(result["confusion_seconds"]) == pytest.approx(seconds["duration"], abs=0.05)
    assert len(result["recordings"]) == 2
    low, high = result["eder_interval"]
    assert low <= result["eder"] <= high
    assert {path.name for path in output.iterdir()} == {
        "over_time.json",
        "predictions.csv",
        "confusion.png",
    }
    if segments == "reference":
        # Each true turn has one prediction, so the whole turn is right or wrong.
        assert seconds["missed"] >= 0
        assert (output / "predictions.csv").read_text().count("\n") == 5


def test_one_recording_has_no_interval(folder, tmp_path):
    truth = (folder / "truth.csv").read_text().splitlines(keepends=True)
    only_one = tmp_path / "one"
    only_one.mkdir()
    shutil.copy(folder / "one.wav", only_one / "one.wav")
    (only_one / "truth.csv").write_text("".join(line for line in truth if "two" not in line))
    shutil.copytree(folder / "run", only_one / "run")
    assert evaluated(only_one, tmp_path / "out", "--segments", "reference", files=["one.wav"]) == 0
    result = json.loads((tmp_path / "out" / "over_time.json").read_text())
    assert result["eder_interval"] == [None, None]


def test_an_evaluation_is_replaced_on_request_only(folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluated(folder, output, "--segments", "reference") == 0
    assert evaluated(folder, output, "--segments", "reference") == 2
    assert "--overwrite" in complaint(capsys)
    assert evaluated(folder, output, "--segments", "reference", "--overwrite") == 0


def test_wrong_references_are_one_line(folder, tmp_path, capsys):
    truth = (folder / "truth.csv").read_text()
    wrong = tmp_path / "wrong.csv"
    for text, message in {
        truth.replace(",label", ",emotion"): "has no label",
        truth.replace("one.wav", "three.wav"): "--reference: ",
    }.items():
        wrong.write_text(text)
        command = [
            "evaluate",
            str(folder / "run"),
            str(folder / "one.wav"),
            str(folder / "two.wav"),
        ]
        command += ["--reference", str(wrong), "--segments", "reference"]
        assert cli.main([*command, "--output", str(tmp_path / "out")]) == 2
        assert message in complaint(capsys)
        assert not (tmp_path / "out").exists()
    assert cli.main(["evaluate", str(folder / "run"), "--segments", "speech"]) == 2
    assert "--reference" in complaint(capsys)
    assert cli.main(["evaluate", str(folder / "run"), "--reference", str(wrong)]) == 2
    assert "name the recordings" in complaint(capsys)
