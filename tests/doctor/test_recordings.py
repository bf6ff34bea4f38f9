"""Silence, levels, rates and pitch of recordings, with planted faults."""

import numpy as np
import pytest
from support.doctor import case_of, faults, made_case

from ser_hf.doctor import recordings
from ser_hf.doctor.recordings import check_pitch, check_recordings


@pytest.fixture(autouse=True)
def few_pitches(monkeypatch):
    """Pitch tracking is slow."""
    monkeypatch.setattr(recordings, "_PITCH_CLIPS", 24)


def test_healthy_recordings_and_voices_pass(tmp_path):
    case = case_of(tmp_path)
    recordings = check_recordings(case)
    pitch = check_pitch(case)
    assert faults(recordings) == faults(pitch) == []
    assert recordings.values["clips"] == 96
    assert recordings.values["sampling_rates"] == {"16000": 96}
    assert 75 < pitch.values["median_pitch"] < 300


def test_silent_clips_are_named(tmp_path):
    def silence(samples, rate, row):
        return (samples * 0 if row["speaker"] == "03" else samples), rate

    outcome = check_recordings(made_case(tmp_path, speakers=4, change=silence))
    assert faults(outcome) == ["silent-clips"]
    assert outcome.problems[0].text.startswith("12 clips of 48 silent")
    assert "corpus.exclude" in outcome.problems[0].remedy


def test_a_silent_class_is_named_however_small_it_is(tmp_path):
    def silence(samples, rate, row):
        return (samples * 0 if row["label"] == "sad" else samples), rate

    outcome = check_recordings(made_case(tmp_path, speakers=3, takes=1, change=silence))
    assert "silent-clips" in faults(outcome)
    assert "all clips of sad are silent" in outcome.problems[0].text


@pytest.mark.parametrize(
    ("gain", "fault", "key"),
    [(0.025, "quiet-clips", "audio.level"), (60.0, "clipped-clips", "augment.clipping")],
)
def test_a_wrong_gain_is_named(tmp_path, gain, fault, key):
    def amplify(samples, rate, row):
        return np.clip(samples * gain, -1, 1), rate

    outcome = check_recordings(made_case(tmp_path, speakers=3, takes=1, change=amplify))
    assert faults(outcome) == [fault]
    assert key in outcome.problems[0].remedy


def test_a_rate_that_tells_the_label_is_named(tmp_path):
    def telephone(samples, rate, row):
        return (samples[::2], rate // 2) if row["label"] in ("sad", "neutral") else (samples, rate)

    outcome = check_recordings(made_case(tmp_path, speakers=5, change=telephone))
    assert faults(outcome) == ["rate-tells-label"]


def test_silence_before_the_clips_of_a_label_is_named(tmp_path):
    def late(samples, rate, row):
        return (np.pad(samples, (rate, 0)) if row["label"] == "sad" else samples), rate

    outcome = check_recordings(made_case(tmp_path, speakers=5, change=late))
    assert faults(outcome) == ["recording-tells-label"]
    assert "leading silence" in outcome.problems[0].text


@pytest.mark.parametrize("speed", [0.5, 2])
def test_a_header_with_a_wrong_rate_is_named(tmp_path, speed):
    def mistaken(samples, rate, row):
        return samples, round(rate * speed)

    outcome = check_pitch(made_case(tmp_path, speakers=6, change=mistaken))
    assert faults(outcome) == ["wrong-speed"]
    assert "sampling rate" in outcome.problems[0].remedy


def test_some_files_at_half_speed_are_named_by_their_rate(tmp_path):
    def mistaken(samples, rate, row):
        return samples, rate // 2 if int(row["speaker"]) < 2 else rate

    outcome = check_pitch(
        made_case(tmp_path, speakers=8, change=mistaken, edit=lambda row: row | {"sex": ""})
    )
    assert faults(outcome)[-1] == "wrong-speed"
    assert any("files of 8000 Hz" in problem.text for problem in outcome.problems)
