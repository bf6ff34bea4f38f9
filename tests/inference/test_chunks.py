"""Decoding into chunks: formats, undecodable files, long recordings."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import soundfile
from tiny_models import RATE

from ser_hf import predict
from ser_hf.inference import chunks as reading
from ser_hf.inference.recordings import Recording, from_paths
from ser_hf.inference.timeline import Grid
from ser_hf.models.preparation import Preparation

FORMATS = [
    ("wav", "PCM_U8", RATE, 1),
    ("wav", "PCM_24", RATE, 2),
    ("wav", "ULAW", 8000, 1),
    ("wav", "FLOAT", 48000, 2),
    ("flac", "PCM_24", RATE, 1),
    ("mp3", "MPEG_LAYER_III", 44100, 2),
    ("ogg", "VORBIS", 22050, 1),
    ("opus", "OPUS", 48000, 1),
    ("aiff", "PCM_24", RATE, 2),
    ("caf", "ALAC_16", RATE, 1),
    *((suffix, "PCM_16", RATE, 1) for suffix in ("w64", "rf64", "au", "voc", "sph")),
]


def test_every_format_of_libsndfile_is_decoded(published, tmp_path):
    def voice(rate):
        time = np.arange(rate) / rate
        return np.sin(2 * np.pi * 200 * time + 8 * np.cos(2 * np.pi * 3 * time)) * 0.5

    kinds = {"opus": "OGG", "sph": "NIST"}
    for number, (suffix, encoding, rate, channels) in enumerate(FORMATS):
        samples = np.stack([voice(rate)] * channels, axis=1)
        path = tmp_path / f"{number:02d}.{suffix}"
        soundfile.write(
            path, samples, rate, subtype=encoding, format=kinds.get(suffix, suffix.upper())
        )
    recordings = from_paths([tmp_path])
    chunk = next(reading.read_chunks(recordings, RATE, Preparation()))
    for form, waveform in zip(FORMATS, chunk.waveforms, strict=True):
        assert len(waveform) == pytest.approx(RATE, rel=0.1), form
        length = min(len(waveform), RATE)
        assert np.corrcoef(waveform[:length], voice(RATE)[:length])[0, 1] > 0.99, form
    assert len(predict(published("crnn"), tmp_path)) == len(FORMATS)


def test_long_recordings_are_read_one_by_one(recordings, monkeypatch):
    begun = []
    plain = reading.decode
    monkeypatch.setattr(
        reading, "decode", lambda path, *given: begun.append(path) or plain(path, *given)
    )
    monkeypatch.setattr(reading, "CHUNK_SAMPLES", RATE // 2)
    rows = [Recording(str(i), str(recordings / "b.wav")) for i in range(20)]
    rows[1:1] = [Recording("bytes", "row", data=(recordings / "b.wav").read_bytes())]
    chunks = reading.read_chunks(rows, RATE, Preparation())
    assert len(next(chunks)) == 1
    assert len(begun) <= 2
    assert sum(len(chunk) for chunk in chunks) == 20
    samples = [
        reading._samples_in_memory([reading._Item(row, None)], 8000)
        for row in (rows[0], rows[1], Recording("", "/no/file"))
    ]
    assert samples == [pytest.approx(0.61 * RATE), pytest.approx(0.61 * RATE), 0]
    no_audio = reading._Item(Recording("", __file__), None)
    assert reading._samples_in_memory([no_audio], RATE) == 0


def windows_of(path, stretch, monkeypatch, **options):
    """The windows of a recording that is decoded in stretches of some seconds."""
    monkeypatch.setattr(reading, "_STRETCH_SECONDS", stretch)
    chunks = list(
        reading.read_chunks(
            [Recording("call", str(path))],
            RATE,
            Preparation(),
            grid=Grid(2 * RATE, RATE // 3),
            **options,
        )
    )
    positions = [position for chunk in chunks for position in chunk.positions]
    return [waveform for chunk in chunks for waveform in chunk.waveforms], positions


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "tolerance"),
    [
        ("wav", RATE, 1, 0.0),
        ("flac", RATE, 2, 0.0),
        ("flac", 44100, 2, 1e-5),
        ("wav", 8000, 1, 1e-5),
        ("wav", 11025, 1, 1e-5),
        ("mp3", 44100, 1, 2e-3),
        ("ogg", 22050, 1, 2e-3),
    ],
)
def test_windows_of_a_long_recording_are_decoded_in_stretches(
    tmp_path, monkeypatch, suffix, rate, channels, tolerance
):
    generator = np.random.default_rng(0)
    samples = np.cumsum(generator.standard_normal((round(25.3 * rate), channels)), axis=0)
    samples -= scipy.ndimage.uniform_filter1d(samples, rate // 100, axis=0)
    path = tmp_path / f"call.{suffix}"
    soundfile.write(path, samples / np.abs(samples).max() / 2, rate)

    whole, whole_positions = windows_of(path, 1000, monkeypatch)
    decoded = []
    plain = reading.decode_segments

    def counted(path, segments, *others):
        decoded.append(segments)
        return plain(path, segments, *others)

    monkeypatch.setattr(reading, "decode_segments", counted)
    parts, part_positions = windows_of(path, 3, monkeypatch)

    assert sum(len(segments) for segments in decoded) > 5
    assert len(parts) == len(whole) > 60
    assert all(position.windows == len(whole) for position in part_positions)
    for part, position in zip(part_positions, whole_positions, strict=True):
        assert part.number == position.number
        assert part.start == pytest.approx(position.start, abs=1.5 / RATE)
    # The last window is aligned with the end, which rounding may move by a sample.
    for part, window in zip(parts[:-1], whole[:-1], strict=True):
        np.testing.assert_allclose(part, window, atol=tolerance)


def test_a_long_recording_that_is_damaged_is_skipped_once(tmp_path, monkeypatch):
    path = tmp_path / "call.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 25 * RATE), RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60000] = bytes(60000)
    path.write_bytes(content)
    skipped = []
    windows_of(path, 3, monkeypatch, skipped=lambda recording, why: skipped.append(why))
    assert len(skipped) == 1
    assert str(path) in skipped[0]


def test_undecodable_files_of_a_folder_are_named_when_read(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("b.wav", "a/2.flac", "a/1.mp3"):
        (tmp_path / name).touch()
    (tmp_path / "a/0.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    (tmp_path / "d.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    reasons = {}
    found = from_paths([tmp_path])

    def skip(recording, reason):
        reasons[Path(recording.id).name] = reason

    assert not list(reading.read_chunks(found, 16000, Preparation(), skip))
    assert list(reasons) == ["0.m4a", "1.mp3", "2.flac", "b.wav", "d.wav"], (
        "opening a pipe would wait"
    )
    assert "0.m4a: .m4a is not supported; convert it: ffmpeg -i" in reasons["0.m4a"]
    assert "d.wav: no such file" in reasons["d.wav"]
