"""Descriptors of voices: known signals, and the bounds of the sample."""

import numpy as np
import pytest
import soundfile

from ser_hf.corpora.schema import Clip
from ser_hf.inspection.measure import AudioFile, Measurement
from ser_hf.inspection.voice import (
    MOST_CLIPS,
    RATE,
    SECONDS,
    ClipVoice,
    VoiceSample,
    describe_clip,
    describe_voices,
    sample_clips,
    speech_of,
)


def clip(number, label="angry", path=None, duration=1.0, silent=False):
    name = f"{number:04d}.wav"
    known = Clip(path=name, emotion=label, speaker="a", id=name)
    measured = Measurement(duration=duration, silent=silent)
    return AudioFile(str(path or name), name, role="clip", clip=known, measured=measured)


def harmonics(pitch, seconds):
    """A tone with ten harmonics."""
    times = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * pitch * n * times) / n for n in range(1, 11)) / 4


@pytest.fixture
def recorded(tmp_path):
    """A function from samples to a clip of them."""

    def record(samples, number=0):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, samples, RATE)
        return clip(number, path=path, duration=len(samples) / RATE)

    return record


@pytest.mark.parametrize("pitch", [110, 250])
def test_the_pitch_of_a_tone(recorded, pitch):
    voice = describe_clip(recorded(harmonics(pitch, 1.5)))
    assert voice.pitch == pytest.approx(pitch, rel=0.02)
    assert voice.speech_share == pytest.approx(1, abs=0.05)


def test_noise_has_no_pitch(recorded):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    assert describe_clip(recorded(noise)).pitch is None


def test_pauses_are_no_speech_and_each_tone_is_an_onset(recorded):
    tone = harmonics(150, 0.25)
    pause = np.zeros(RATE // 4)
    voice = describe_clip(recorded(np.concatenate([tone, pause] * 4 + [tone])))
    assert voice.speech_share == pytest.approx(5 / 9, abs=0.15)
    assert 2 <= voice.onset_rate <= 8


def test_the_first_seconds_after_silence_are_described(recorded):
    samples = np.concatenate([np.zeros(2 * RATE), harmonics(150, 5)])
    speech = speech_of(recorded(samples))
    assert len(speech) == SECONDS * RATE
    assert np.abs(speech[: RATE // 4]).max() > 0.1


def test_a_very_short_clip_is_described(recorded):
    voice = describe_clip(recorded(harmonics(200, 0.1)))
    assert 0 <= voice.speech_share <= 1


def test_the_sample_is_bounded_and_has_all_labels_alike():
    clips = [clip(i, ("angry", "happy", "sad")[i % 3]) for i in range(600)]
    sampled = sample_clips(clips[::-1])
    assert len(sampled) == MOST_CLIPS
    assert [file.clip.emotion for file in sampled].count("sad") == MOST_CLIPS // 3
    assert sampled == sample_clips(clips)
    numbers = [int(file.shown[:4]) for file in sampled if file.clip.emotion == "sad"]
    assert numbers[0] < 100
    assert numbers[-1] > 500


def test_a_rare_label_has_all_its_clips_in_the_sample():
    clips = [clip(i) for i in range(100)] + [clip(100, "sad")]
    labels = [file.clip.emotion for file in sample_clips(clips)]
    assert labels.count("angry") == MOST_CLIPS // 2
    assert labels.count("sad") == 1


def test_many_labels_do_not_exceed_the_bound():
    clips = [clip(i, f"label {i:03d}") for i in range(MOST_CLIPS + 10)]
    assert len(sample_clips(clips)) == MOST_CLIPS


def test_silent_and_very_short_clips_are_not_sampled():
    clips = [clip(0, silent=True), clip(1, duration=0.05), clip(2)]
    assert sample_clips(clips) == clips[2:]
    assert describe_voices(clips[:2]).to_dict()["clips"] == 0


def test_medians_by_label():
    voices = [
        ClipVoice(clip(0), 100.0, 0.5, 2.0),
        ClipVoice(clip(1), 300.0, 0.7, 4.0),
        ClipVoice(clip(2, "sad"), None, 0.9, 6.0),
    ]
    facts = VoiceSample(tuple(voices)).to_dict()
    assert facts["by_label"]["angry"] == {
        "clips": 2,
        "pitch": 200.0,
        "speech_share": pytest.approx(0.6),
        "onset_rate": 3.0,
    }
    assert facts["by_label"]["sad"]["pitch"] is None
    assert facts["all"]["clips"] == 3
    assert facts["all"]["pitch"] == 200.0
