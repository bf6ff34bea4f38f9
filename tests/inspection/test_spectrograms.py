"""Clips to look at and listen to: a few of each label and finding, bounded, described."""

import base64
import io

import numpy as np
import pytest
import soundfile

from ser_hf.corpora.schema import Clip
from ser_hf.inspection.finding import Finding
from ser_hf.inspection.measure import AudioFile, Measurement
from ser_hf.inspection.spectrograms import (
    CLIPS_PER_FINDING,
    CLIPS_PER_LABEL,
    MOST_CLIPS_OF_FINDINGS,
    MOST_LABELS,
    MOST_PAGE_BYTES,
    MOST_SECONDS,
    sound_of,
    sounds_by_label,
    sounds_of_findings,
    typical,
)
from ser_hf.inspection.voice import RATE, ClipVoice, VoiceSample


@pytest.fixture
def voices(tmp_path):
    """A function from labels to a sample with a clip of each."""

    def sample(*labels):
        clips = []
        for number, label in enumerate(labels):
            path = tmp_path / f"{number}.wav"
            soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, RATE // 2), RATE)
            clips.append(ClipVoice(audio_file(path, label), None, 1.0, 1.0))
        return VoiceSample(tuple(clips))

    return sample


def audio_file(path, label="angry", duration=0.5):
    clip = Clip(path=str(path), emotion=label, speaker="a", id=str(path))
    measured = Measurement(duration=duration)
    return AudioFile(str(path), str(path), role="clip", clip=clip, measured=measured)


def bytes_of(address):
    """The content of a data URI."""
    return base64.b64decode(address.partition("base64,")[2])


def test_each_label_has_clips_with_the_label_in_the_alternative_text(voices):
    sounds = sounds_by_label(voices("sad", "angry", "sad"))
    assert {label: len(clips) for label, clips in sounds.items()} == {"angry": 1, "sad": 2}
    (angry,) = sounds["angry"]
    assert "1.wav, a clip of the label angry" in angry.picture.alt
    assert angry.shown.endswith("1.wav")
    drawn = bytes_of(angry.picture.source)
    assert b"<image" in drawn, "the spectrogram is one picture in the drawing, not polygons"


def test_players_have_the_first_seconds(tmp_path):
    path = tmp_path / "long.wav"
    time = np.arange(8 * RATE) / RATE
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * time), RATE)
    sound = sound_of(audio_file(path))
    samples, rate = soundfile.read(io.BytesIO(bytes_of(sound.audio)))
    assert rate == RATE
    assert len(samples) / rate == pytest.approx(MOST_SECONDS, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)
    assert sound_of(audio_file(path), audio=False).audio is None


def test_the_largest_page_is_below_its_limit(tmp_path):
    path = tmp_path / "noise.wav"
    noise = np.random.default_rng(0).uniform(-1, 1, round(MOST_SECONDS * RATE))
    soundfile.write(path, noise, RATE)
    sound = sound_of(audio_file(path))
    clips = MOST_LABELS * CLIPS_PER_LABEL + MOST_CLIPS_OF_FINDINGS
    tables = 500_000
    assert clips * (len(sound.picture.source) + len(sound.audio)) + tables < MOST_PAGE_BYTES


def test_the_number_of_labels_is_bounded(voices, monkeypatch):
    monkeypatch.setattr("ser_hf.inspection.spectrograms.MOST_LABELS", 2)
    assert list(sounds_by_label(voices("a", "b", "c"))) == ["a", "b"]
    assert sounds_by_label(VoiceSample()) == {}


def test_findings_have_their_first_clips(voices, tmp_path, monkeypatch):
    files = [voice.file for voice in voices("sad", "sad", "sad", "angry").clips]
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF")
    files.append(audio_file(damaged))
    paths = [(file.shown, "a remark") for file in [files[-1], *files[:-1]]]
    findings = [Finding("a", "warning", "Some.", files=paths), Finding("b", "note", "None.")]
    sounds = sounds_of_findings(findings, files)
    assert [len(clips) for clips in sounds] == [CLIPS_PER_FINDING, 0]
    assert [sound.shown for sound in sounds[0]] == [files[0].shown, files[1].shown]
    assert all(sound.audio for sound in sounds[0])

    monkeypatch.setattr("ser_hf.inspection.spectrograms.MOST_CLIPS_OF_FINDINGS", 3)
    sounds = sounds_of_findings([findings[0], findings[0]], files, audio=False)
    assert [len(clips) for clips in sounds] == [2, 1]
    assert not any(sound.audio for clips in sounds for sound in clips)


def test_the_chosen_clips_are_of_typical_length():
    files = [audio_file(f"{n}.wav", duration=duration) for n, duration in enumerate((9, 2, 1))]
    assert typical(files, 2) == [files[1], files[2]]
