"""The hardest clips on the page of a report: which, their parts that decided, and their audio."""

import json

import numpy as np
import pytest
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.cli import main
from ser_hf.evaluation.sections import HardClip
from ser_hf.experiment.hardest_clips import chosen_clips
from ser_hf.hub.publish import stage_report
from ser_hf.report.write import MOST_PAGE_BYTES

RECIPE = {
    "name": "tiny",
    "corpus": {
        "name": "synthetic",
        "speakers": 6,
        "takes": 1,
        "labels": ["sad", "happy", "angry"],
        "drop": ["disgust", "fear", "neutral"],
    },
    "protocol": {
        "name": "speaker_independent",
        "validation": 0.2,
        "test": 0.4,
        "near_duplicates": "skip",
    },
    "model": TINY_CRNN,
    "training": {"num_train_epochs": 1, "learning_rate": 0.02, "use_cpu": True},
    "evaluation": {"bootstrap": 20, "hardest_clips": 2, "map": None},
}


def clip(name, predicted):
    return HardClip(id=name, label="sad", predicted=predicted, probability=0.1)


def test_clips_that_are_predicted_wrongly_and_are_not_long_are_chosen():
    hardest = [clip("a", "happy"), clip("b", "sad"), clip("c", "angry"), clip("d", "angry")]
    seconds = {"a": 31.0, "b": 1.0, "c": 30.0, "d": 1.0}
    assert [chosen.id for chosen in chosen_clips(hardest, seconds, 6)] == ["c", "d"]
    assert [chosen.id for chosen in chosen_clips(hardest, seconds, 1)] == ["c"]
    assert chosen_clips(hardest, seconds, 0) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"])
    return folder


def hardest_in(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))["hardest"]


def page_of(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_shows_its_hardest_clips_and_the_parts_that_decided(run):
    hardest = hardest_in(run / "report")
    occluded = [clip for clip in hardest if clip.get("occlusion")]
    assert len(occluded) == 2
    for clip in occluded:
        assert clip["predicted"] != clip["label"]
        occlusion = clip["occlusion"]
        assert len(occlusion["starts"]) == len(occlusion["drop_by_window"])
        assert len(occlusion["edges"]) == len(occlusion["drop_by_band"]) + 1
        assert occlusion["probability"] >= 1 / 3
        assert np.abs(occlusion["drop_by_window"]).max() <= 1
    page = page_of(run / "report")
    assert page.count("data:audio/mpeg") == 2
    assert page.count('alt="Waveform and log-mel spectrogram of ') == 2
    assert len(page) < MOST_PAGE_BYTES


@pytest.mark.slow
def test_a_published_report_has_the_numbers_and_no_audio(run, tmp_path):
    stage_report(run, tmp_path / "staged", repo_id="tester/report")
    page = page_of(tmp_path / "staged")
    assert "<audio" not in page
    assert "data:audio" not in page
    assert "Waveform and log-mel spectrogram" not in page
    occluded = [clip for clip in hardest_in(tmp_path / "staged") if clip.get("occlusion")]
    assert len(occluded) == 2


@pytest.mark.slow
def test_an_evaluation_shows_its_hardest_clips_without_audio_on_request(
    run, tmp_path, default_hardest_clips
):
    folder = tmp_path / "again"
    words = ["evaluate", run, "--recipe", run, "--bootstrap", "20", "--device", "cpu"]
    words += ["--no-audio", "--map", "none", "--output", folder]
    assert main([str(word) for word in words]) == 0
    occlusions = {clip["id"]: clip.get("occlusion") for clip in hardest_in(folder)}
    for clip in hardest_in(run / "report"):
        if clip.get("occlusion"):
            drops = occlusions[clip["id"]]["drop_by_band"]
            assert drops == pytest.approx(clip["occlusion"]["drop_by_band"], abs=1e-3)
    page = page_of(folder)
    assert "<audio" not in page
    wrong = [clip for clip in hardest_in(folder) if clip["predicted"] != clip["label"]]
    assert page.count('alt="Waveform and log-mel spectrogram of ') == min(6, len(wrong))
