"""Pictures of spectrograms: one for each label, bounded, with alternative text."""

import base64

import numpy as np
import pytest
import soundfile

from ser_hf.corpora.schema import Clip
from ser_hf.inspection.measure import AudioFile, Measurement
from ser_hf.inspection.spectrograms import (
    MOST_PICTURES,
    example,
    spectrogram_figure,
    spectrograms,
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


def test_each_label_has_a_picture_with_its_clip_in_the_alternative_text(voices):
    pictures = spectrograms(voices("sad", "angry", "sad"))
    assert len(pictures) == 2
    assert "1.wav, a clip of the label angry" in pictures[0].alt
    assert "a clip of the label sad" in pictures[1].alt
    for picture in pictures:
        assert len(picture.source) < 150_000
        drawn = base64.b64decode(picture.source.partition("base64,")[2])
        assert b"<image" in drawn, "the spectrogram is one picture in the drawing, not polygons"


def test_the_number_of_pictures_is_bounded(voices, monkeypatch):
    labels = [f"label {number:02d}" for number in range(MOST_PICTURES + 2)]
    assert len(spectrograms(voices(*labels))) == MOST_PICTURES
    assert spectrograms(VoiceSample()) == []


def test_the_example_is_of_typical_length():
    files = [audio_file(f"{n}.wav", duration=duration) for n, duration in enumerate((9, 2, 1))]
    assert example(files) == files[1]


def test_a_label_is_no_formula():
    figure = spectrogram_figure(np.zeros(RATE // 4, np.float32), title="$1_$")
    title = figure.axes[0].title
    assert title.get_text() == "$1_$"
    assert not title.get_parse_math()
