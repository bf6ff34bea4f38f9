"""Decoding into chunks: formats, undecodable files, long recordings."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import RATE

from ser_hf import predict
from ser_hf.inference import chunks as reading
from ser_hf.inference.recordings import Recording, from_paths
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
        reading._samples_in_memory([row], 8000)
        for row in (rows[0], rows[1], Recording("", "/no/file"))
    ]
    assert samples == [pytest.approx(0.61 * RATE), pytest.approx(0.61 * RATE), 0]
    assert reading._samples_in_memory([Recording("", __file__)], RATE) == 0


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
