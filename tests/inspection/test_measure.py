"""One file in numbers, against signals whose numbers are known."""

import os

import numpy as np
import pytest
import soundfile

from ser_hf.inspection import measure as module
from ser_hf.inspection.measure import clipped_share, measure, measure_all

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.float32)


def written(path, samples, rate=RATE, **keywords):
    soundfile.write(path, samples, rate, **({"subtype": "PCM_16"} | keywords))
    return measure(str(path))


def test_a_tone_between_silences(tmp_path):
    measured = written(tmp_path / "a.wav", np.concatenate([np.zeros(RATE // 2), TONE, np.zeros(RATE // 4)]))
    assert measured.error is None
    assert (measured.format, measured.subtype, measured.sampling_rate, measured.channels) == ("WAV", "PCM_16", RATE, 1)
    assert measured.honest_suffix is True
    assert measured.bytes == (tmp_path / "a.wav").stat().st_size
    assert measured.duration == 1.75
    assert measured.leading_silence == 0.5
    assert measured.trailing_silence == 0.25
    assert measured.silent_share == pytest.approx(0.75 / 1.75, abs=0.01)
    # A sine of amplitude 0.5 is -9.03 dBFS, over a share of the time.
    assert measured.rms == pytest.approx(-9.03 + 10 * np.log10(1 / 1.75), abs=0.05)
    assert measured.peak == pytest.approx(-6.02, abs=0.01)
    assert measured.floor is None
    assert measured.clipped_share == 0
    assert not measured.silent
    assert measured.mix_loss is None


def test_a_clip_that_ends_within_a_frame_has_no_trailing_silence(tmp_path):
    assert written(tmp_path / "a.wav", TONE[:-50]).trailing_silence == 0


def test_silence_has_no_level(tmp_path):
    measured = written(tmp_path / "a.wav", np.zeros(RATE))
    assert measured.silent
    assert measured.rms is measured.peak is measured.loudness is measured.floor is None
    assert (measured.leading_silence, measured.trailing_silence, measured.silent_share) == (1.0, 1.0, 1.0)
    assert written(tmp_path / "b.wav", 0.0015 * TONE).silent
    assert not written(tmp_path / "b.wav", 0.01 * TONE).silent


def test_dc_offset_and_floor(tmp_path):
    measured = written(tmp_path / "a.wav", np.concatenate([0.25 * TONE, 0 * TONE]) + 0.1)
    assert measured.dc_offset == pytest.approx(0.1, abs=1e-3)
    assert measured.floor == pytest.approx(-20, abs=0.1)


def test_only_runs_at_full_scale_are_clipping():
    single = np.zeros((1000, 1), np.float32)
    single[[0, 1, 10, 20, 21, 999]] = 1.0
    assert clipped_share(single) == 0
    single[2] = 1.0
    assert clipped_share(single) == 3 / 1000
    single[500:504] = -1.0
    assert clipped_share(single) == 7 / 1000
    # Half a run of either sign is none, nor is one that ends a channel and begins the next.
    mixed = np.zeros((10, 2), np.float32)
    mixed[[0, 1], 0], mixed[[2, 3], 0], mixed[[8, 9], 0], mixed[[0, 1], 1] = 1, -1, 1, 1
    assert clipped_share(mixed) == 0
    mixed[:, 1] = 1
    assert clipped_share(mixed) == 0.5


def test_channels_out_of_phase_cancel(tmp_path):
    alike = written(tmp_path / "a.wav", np.stack([TONE, TONE], axis=1))
    assert (alike.channels, alike.mix_loss) == (2, pytest.approx(0, abs=1e-6))
    assert written(tmp_path / "b.wav", np.stack([TONE, 0 * TONE], axis=1)).mix_loss == pytest.approx(3.01, abs=0.01)
    assert written(tmp_path / "c.wav", np.stack([TONE, -0.5 * TONE], axis=1)).mix_loss == pytest.approx(10, abs=0.01)
    assert written(tmp_path / "d.wav", np.stack([TONE, -TONE], axis=1)).silent
    # Clipping of one channel shows, though the mix is below full scale.
    square = np.stack([np.sign(TONE), 0 * TONE], axis=1)
    assert written(tmp_path / "e.wav", square, subtype="FLOAT").clipped_share == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("name", "keywords", "honest"),
    [
        ("a.flac", {}, True),
        ("a.WAV", {}, True),
        ("a.wav", {"format": "FLAC"}, False),
        ("a.flac", {"format": "WAV"}, False),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}, True),
        ("a.mp3", {"format": "MP3", "subtype": "MPEG_LAYER_III"}, True),
        ("a.aif", {"format": "AIFF"}, True),
        ("a.wav", {"format": "CAF"}, False),
    ],
)
def test_a_suffix_that_lies(tmp_path, name, keywords, honest):
    assert written(tmp_path / name, TONE, **keywords).honest_suffix is honest


def test_a_bad_file_is_measured_as_bad(tmp_path, monkeypatch):
    (tmp_path / "empty.wav").write_bytes(b"")
    assert measure(str(tmp_path / "empty.wav")).error == "an empty file (0 bytes); restore or remove it"
    assert measure(str(tmp_path / "empty.wav")).bytes == 0
    assert "No such file" in measure(str(tmp_path / "missing.wav")).error
    (tmp_path / "text.wav").write_text("not audio")
    assert measure(str(tmp_path / "text.wav")).error.startswith("not readable as audio")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    soundfile.write(tmp_path / "good.wav", TONE, RATE)
    os.rename(tmp_path / "good.wav", odd)
    assert measure(odd).error == "its path is not UTF-8, which tables of clips cannot hold; rename it"

    def greedy(path):
        raise MemoryError

    monkeypatch.setattr(module, "decode", greedy)
    assert "more samples than memory can hold" in measure(str(tmp_path / "text.wav")).error


def test_many_files_come_in_their_order(tmp_path):
    lengths = [100 * (1 + i % 7) for i in range(40)]
    for i, length in enumerate(lengths):
        soundfile.write(tmp_path / f"{i}.wav", TONE[:length], RATE)
    measured = list(measure_all([str(tmp_path / f"{i}.wav") for i in range(40)], workers=2))
    assert [round(m.duration * RATE) for m in measured] == lengths
    assert list(measure_all([])) == []
