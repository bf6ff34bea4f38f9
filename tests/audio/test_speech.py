"""Speech is found by Silero's detector, block by block."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf.audio import speech
from ser_hf.audio.decode import AudioError
from ser_hf.audio.speech import FRAME_SECONDS, RATE, find_speech
from ser_hf.utils.segments import Segment

pytest.importorskip("silero_vad")

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "RAVDESS"


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(20 * RATE), RATE)
    return str(path)


def with_probabilities(monkeypatch, spans, seconds=20):
    """Make the detector certain of speech in these spans (start, end)."""
    frames = np.zeros(round(seconds / FRAME_SECONDS))
    for start, end in spans:
        frames[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = 0.99
    monkeypatch.setattr(speech, "speech_probabilities", lambda *arguments: frames.tolist())


def test_segments_end_at_pauses(monkeypatch, recording):
    with_probabilities(monkeypatch, [(1.0, 3.0), (3.2, 4.0), (6.0, 8.0)])
    first, second = find_speech(recording)
    assert first == Segment(pytest.approx(1.0, abs=0.1), pytest.approx(4.0, abs=0.1))
    assert second == Segment(pytest.approx(6.0, abs=0.1), pytest.approx(8.0, abs=0.1))


def test_long_speech_is_divided(monkeypatch, recording):
    with_probabilities(monkeypatch, [(1.0, 5.0), (5.2, 10.0)])
    segments = find_speech(recording, longest=6.0)
    assert len(segments) == 2
    assert all(segment.end - segment.start <= 6.1 for segment in segments)
    assert segments[0].end == pytest.approx(5.1, abs=0.2)


def test_a_segment_ends_with_the_recording(monkeypatch, recording):
    with_probabilities(monkeypatch, [(18.0, 20.0)])
    (segment,) = find_speech(recording)
    assert segment.end <= 20.0


def test_silence_has_no_speech(recording):
    assert find_speech(recording) == []


def test_blocks_give_the_probabilities_of_the_whole(monkeypatch, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * RATE)
    soundfile.write(tmp_path / "a.wav", noise, RATE, subtype="FLOAT")
    whole = speech.speech_probabilities(str(tmp_path / "a.wav"))
    received = []
    monkeypatch.setattr(speech, "_BLOCK_FRAMES", 25)
    blocks = speech.speech_probabilities(str(tmp_path / "a.wav"), progress=received.append)
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
    assert sum(received) == pytest.approx(5.0)


def test_a_file_that_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"a\.wav"):
        find_speech(str(tmp_path / "a.wav"))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs RAVDESS in ../shared/corpora")
def test_real_voices_between_pauses_are_found(tmp_path):
    clips = sorted(CORPUS.glob("Actor_01/*.flac"))[4:7]
    parts = []
    spans = []
    position = 0
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        samples = samples.mean(axis=1)
        assert rate == RATE
        pause = np.zeros(RATE, dtype=np.float32)
        parts += [pause, samples]
        spans.append((position + RATE, position + RATE + len(samples)))
        position += RATE + len(samples)
    soundfile.write(tmp_path / "a.flac", np.concatenate([*parts, np.zeros(RATE)]), RATE)
    segments = find_speech(str(tmp_path / "a.flac"))
    assert len(segments) >= len(spans)
    for segment in segments:
        middle = (segment.start + segment.end) / 2 * RATE
        assert any(start < middle < end for start, end in spans)
