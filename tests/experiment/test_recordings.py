"""The recordings that augmentation uses belong to a run: it is resumed and reproduced with the same ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.reports import typed, whole_report

import ser_hf
from ser_hf import cli
from ser_hf.cli.compare import summary
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.experiment.reproduce import Saved, compare

KEY = "augment.background_noise.folder"
RECIPE = {
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "speaker_independent", "validation": 0.2, "near_duplicates": "skip"},
    "audio": {"max_duration": 0.5},
    "model": {
        "architecture": "crnn",
        "channels": [4],
        "time_pooling": [8],
        "band_pooling": [8],
        "lstm_hidden": 4,
    },
    "augment": {"background_noise": {"probability": 0.5}},
    "training": {"num_train_epochs": 1, "seeds": [3, 4], "use_cpu": True},
    "evaluation": {"bootstrap": 20},
}

pytestmark = pytest.mark.slow


class Stopped(Exception):
    """What a stopped run ends with."""


def stop(place, epoch, metrics):
    raise Stopped


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "noises").mkdir()
    for name in ("a", "b"):
        write(tmp_path / "noises" / f"{name}.wav", 0.1 if name == "a" else 0.2)
    return tmp_path / "noises"


def write(path, level):
    soundfile.write(path, np.full(4000, level), 16000)


def recordings(folder):
    return load_experiment_data(read_recipe(RECIPE, [f"{KEY}={folder}"])).recordings


def test_the_digest_is_of_what_is_there_in_its_order(folder):
    first = recordings(folder)
    assert first == {KEY: {"clips": 2, "sha": first[KEY]["sha"]}}
    (folder / "b.wav").rename(folder / "c.wav")
    assert recordings(folder) == first, "names do not matter"
    (folder / "a.wav").rename(folder / "d.wav")
    assert recordings(folder) != first, "their order does"
    (folder / "d.wav").rename(folder / "a.wav")
    write(folder / "c.wav", 0.3)
    assert recordings(folder) != first
    (folder / "c.wav").unlink()
    assert recordings(folder)[KEY]["clips"] == 1
    unused = read_recipe(RECIPE, [f"{KEY}={folder}", "augment.background_noise.probability=0"])
    assert load_experiment_data(unused).recordings == {}


def test_a_run_goes_on_and_is_reproduced_with_the_same_recordings(folder, tmp_path, capsys):
    run, own = tmp_path / "run", [f"{KEY}={folder}", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(Stopped):
        ser_hf.run_recipe(RECIPE, own, watch=stop)
    first = json.loads((run / "split.json").read_text())["recordings"]
    assert first == json.loads((run / "seed-3" / "split.json").read_text())["recordings"] == recordings(folder)
    write(folder / "c.wav", 0.3)
    with pytest.raises(ser_hf.UserError, match=rf"{KEY}: .* changed since this run began \(2 then, 3 now\); restore"):
        ser_hf.run_recipe(RECIPE, own, resume=True)
    (folder / "c.wav").unlink()
    ser_hf.run_recipe(RECIPE, own, resume=True)
    capsys.readouterr()

    write(folder / "b.wav", 0.4)
    arguments = ["reproduce", str(run), "--output", str(tmp_path / "again"), "--tolerance=1"]
    assert cli.main([*arguments, "training.seeds=[3]"]) == 0
    printed = capsys.readouterr().out
    now = recordings(folder)
    assert f"  other recordings: {KEY} {first[KEY]} -> {now[KEY]}" in printed
    comparison = json.loads((tmp_path / "again" / "report" / "reproduction.json").read_text())
    assert comparison["recordings"] == {KEY: {"saved": first[KEY], "now": now[KEY]}}

    missing = f"{KEY}={tmp_path / 'nowhere'}"
    assert cli.main(["reproduce", str(run), "--output", str(tmp_path / "other"), missing]) == 2
    assert "(as in the saved recipe; override it" in capsys.readouterr().err


def test_other_recordings_are_not_the_last_digit_but_a_cause():
    def report(**recordings):
        values = {key: {"clips": 1, "sha": sha} for key, sha in recordings.items()}
        return typed(whole_report(recordings=values))

    def compared(saved, now):
        recipe = read_recipe(RECIPE, [f"{KEY}=noises"])
        return compare(Saved("s", recipe.to_dict(), saved, None, Path()), recipe, now, 0.1)

    assert compared(report(a="1"), report(a="1"))["verdict"] == "reproduced to the last digit"
    other = compared(report(a="1", b="1"), report(a="2", c="1"))
    assert other["recordings"] == {"a": {"saved": {"clips": 1, "sha": "1"}, "now": {"clips": 1, "sha": "2"}}}
    assert other["verdict"] == "reproduced within 0.1"
    printed = summary(other)
    assert "recordings: a {'clips': 1, 'sha': '1'} -> {'clips': 1, 'sha': '2'}" in printed
