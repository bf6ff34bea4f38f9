"""The robustness of a run: of the saved model, on the evaluated clips."""

import json

import numpy as np
import pytest
import soundfile
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.audio import AudioError, transforms
from ser_hf.evaluation.conditions import CONDITIONS
from ser_hf.experiment import measuring
from ser_hf.experiment.evaluated_clips import EvaluationOptions
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.robustness import open_conditions

RECIPE = {
    "name": "tiny",
    # Not in canonical order: robustness has the classes of the recipe.
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1, "labels": ["sad", "happy", "angry"]},
    "protocol": {
        "name": "speaker_independent",
        "validation": 0.2,
        "test": 0.4,
        "near_duplicates": "skip",
    },
    "audio": {"trim_silence": 30},
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 3, "learning_rate": 0.02, "use_cpu": True},
    "evaluation": {"bootstrap": 20, "robustness": True},
}


SETTINGS = dict(RECIPE, corpus=RECIPE["corpus"] | {"drop": ["disgust", "fear", "neutral"]})


@pytest.mark.slow
def test_a_run_reports_robustness(tmp_path, monkeypatch):
    robustness_of = measuring.robustness_of
    given = {}

    def watched(classifier, mapping, predictions, waveforms, **settings):
        given.update({clip: len(waveforms[i]) for i, clip in enumerate(predictions.ids)})
        return robustness_of(classifier, mapping, predictions, waveforms, **settings)

    monkeypatch.setattr(measuring, "robustness_of", watched)
    report = ser_hf.run_recipe(SETTINGS, [f"output_dir={tmp_path / 'run'}"])
    written = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    clean = report.robustness.clean
    assert clean.uar == pytest.approx(report.metrics["uar"])
    assert clean.wa == pytest.approx(report.metrics["wa"])
    assert [own["name"] for own in written["robustness"]["conditions"]] == [
        own.name for own in CONDITIONS
    ]
    assert written["robustness"]["clips"] == report.clips
    recorded = {
        row["id"]: row["audio"]["path"]
        for row in ser_hf.load_corpus("synthetic", speakers=6, takes=1)
    }
    assert given == {clip: soundfile.info(recorded[clip]).frames for clip in given}
    # The report in the model folder has it, too.
    assert (
        json.loads((tmp_path / "run" / "model" / "report.json").read_text())["robustness"]
        == written["robustness"]
    )
    # Lines of the card may break at any space.
    card = " ".join((tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8").split())
    assert f"on average over {len(CONDITIONS)} conditions" in card
    assert not (tmp_path / "run" / "model.partial").exists()


def write_noise(folder):
    folder.mkdir()
    noise = np.random.default_rng(0).standard_normal(24000) / 10
    soundfile.write(folder / "hum.wav", noise, 16000)
    return folder


def write_room(folder, decay=0.3):
    folder.mkdir()
    rng = np.random.default_rng(1)
    soundfile.write(
        folder / "office.wav", transforms.generated_response(decay, 0.0, 16000, rng) / 2, 16000
    )
    return folder


def opened(tmp_path, noise=None, rooms=None):
    return open_conditions(noise, rooms, rate=16000, cache_dir=tmp_path / "cache")


def test_folders_add_conditions_and_are_described(tmp_path, caplog):
    noise = write_noise(tmp_path / "noise")
    rooms = write_room(tmp_path / "rooms")
    both = opened(tmp_path, noise, rooms)
    added = [condition.name for condition in both.conditions if condition not in CONDITIONS]
    expected = [f"recorded noise, {snr} dB" for snr in (20, 10, 5, 0)]
    assert added == [*expected, "recorded room, up to 0.5 s"]
    assert "no impulse response for recorded room, up to 1 s" in caplog.text
    description = both.recordings["noise_folder"]
    assert (description.files, description.seconds) == (1, 1.5)
    # The fingerprint depends on the samples, not on the place of the files.
    noise.rename(tmp_path / "moved")
    moved = opened(tmp_path, tmp_path / "moved").recordings
    assert moved == {"noise_folder": description}


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        with pytest.raises(ser_hf.UserError, match=rf"^evaluation\.noise_folder: .*{name}"):
            opened(tmp_path, tmp_path / name)
        with pytest.raises(ser_hf.UserError, match=rf"^evaluation\.impulse_folder: .*{name}"):
            opened(tmp_path, None, tmp_path / name)
    broken = write_noise(tmp_path / "broken")
    (broken / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match="text.wav"):
        opened(tmp_path, broken)
    with pytest.raises(ser_hf.UserError, match=r"^evaluation\.impulse_folder: .* RT60"):
        opened(tmp_path, None, write_room(tmp_path / "cathedral", decay=4.0))


def test_a_library_without_mp3_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("soundfile.available_formats", dict)
    with pytest.raises(ser_hf.UserError, match=r"^robustness: libsndfile .* has no MP3"):
        opened(tmp_path)


@pytest.mark.parametrize("key", ["noise_folder", "impulse_folder"])
def test_a_folder_has_no_effect_without_robustness(key):
    overrides = ["evaluation.robustness=false", f"evaluation.{key}=data"]
    with pytest.raises(ser_hf.UserError, match=rf"^evaluation\.{key}: has no effect"):
        read_recipe(RECIPE, overrides)
    option = f"--{key.replace('_', '-')}"
    with pytest.raises(ser_hf.UserError, match=f"^{option}: has no effect without --robustness"):
        EvaluationOptions(**{key: "data"})


@pytest.mark.slow  # reads a corpus
def test_a_bad_folder_is_refused_before_training(tmp_path):
    folder = f"evaluation.noise_folder={tmp_path / 'nowhere'}"
    with pytest.raises(ser_hf.UserError, match=r"^evaluation\.noise_folder: .*nowhere"):
        ser_hf.run_recipe(SETTINGS, [f"output_dir={tmp_path / 'run'}", folder])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # a whole run
def test_a_run_reports_the_conditions_of_its_folders(tmp_path):
    noise = write_noise(tmp_path / "noise")
    rooms = write_room(tmp_path / "rooms")
    report = ser_hf.run_recipe(
        SETTINGS,
        [
            f"output_dir={tmp_path / 'run'}",
            f"evaluation.noise_folder={noise}",
            f"evaluation.impulse_folder={rooms}",
        ],
    )
    robustness = report.robustness
    kinds = {condition.kind for condition in robustness.conditions}
    assert kinds >= {"recorded_noise", "recorded_room", "codec", "clipping", "white_noise"}
    assert robustness.settings.noise_folder.files == 1
    assert robustness.settings.impulse_folder.files == 1
    assert {"recorded_noise", "recorded_room"} <= set(robustness.areas)
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    for name in ("recorded noise", "recorded room", "MP3", "clipping", "white noise"):
        assert name in page
