"""Parts of recordings and bytes inside tables become files in the cache, once, and to the last bit."""

import logging
import os

import numpy as np
import pytest
import soundfile

from ser_hf.corpora import pieces
from ser_hf.corpora.pieces import Piece, cut, files_of, unpacked
from ser_hf.errors import UserError

SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, (8000, 2)).astype(np.int16)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, SAMPLES, 8000, subtype="PCM_16")
    return path


def test_pieces_are_the_recording_s_own_samples(recording):
    first, second = cut([Piece(recording, 0.25, 0.5), Piece(recording, 0.75, None)])
    assert np.array_equal(soundfile.read(first, dtype="int16")[0], SAMPLES[2000:4000])
    assert np.array_equal(soundfile.read(second, dtype="int16")[0], SAMPLES[6000:])
    assert soundfile.info(first).samplerate == 8000


def test_pieces_are_cut_once_until_the_recording_changes(recording):
    wanted = [Piece(recording, 0.1, 0.2)]
    (first,) = cut(wanted)
    written = os.stat(first).st_mtime_ns
    assert cut(wanted) == [first]
    assert os.stat(first).st_mtime_ns == written
    soundfile.write(recording, SAMPLES[::-1], 8000, subtype="PCM_16")
    assert cut(wanted) != [first]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_whole_numbers_stay_what_they_are(tmp_path, subtype):
    samples = (np.arange(800) / 3000).astype("float32")
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype=subtype)
    (piece,) = cut([Piece(tmp_path / "x.wav", 0.05, None)])
    assert np.array_equal(soundfile.read(piece, dtype="float32")[0], samples[400:])


def test_compressed_audio_is_kept_as_it_decodes(tmp_path):
    soundfile.write(tmp_path / "x.ogg", np.sin(np.arange(8000) / 9), 8000, subtype="VORBIS")
    (piece,) = cut([Piece(tmp_path / "x.ogg", 0.5, 0.75)])
    decoded = soundfile.read(tmp_path / "x.ogg", dtype="float32")[0]
    assert np.allclose(soundfile.read(piece, dtype="float32")[0], decoded[4000:6000], atol=1e-6)


@pytest.mark.parametrize("times", [(0.5, 0.5), (0.9, 1.5), (2.0, None), (-0.5, 0.5)])
def test_a_piece_that_is_not_in_the_recording_is_refused(recording, times):
    with pytest.raises(UserError, match=r"long.flac: no piece from .* s; the recording has 1 s"):
        cut([Piece(recording, *times)])


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    with pytest.raises(UserError, match="bad.wav: cannot be read as audio"):
        cut([Piece(tmp_path / "bad.wav", 0, 1)])
    with pytest.raises(UserError, match=r"no.wav: cannot be read \(No such file"):
        cut([Piece(tmp_path / "no.wav", 0, 1)])


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("a.wav", b"fLaC...", ".flac"),
        (None, b"RIFF....WAVE", ".wav"),
        ("x/a.MP3", b"\xff\xfb", ".mp3"),
        (None, b"\xff\xfb", ".mp3"),
        ("a", b"OggS", ".ogg"),
    ],
)
def test_bytes_are_files_named_for_what_they_are(name, content, suffix):
    folder = unpacked(f"of {name} {suffix}", [(name, content)], len(content), "a table")
    (path,) = files_of(folder)
    assert path.name == f"0000000{suffix}"
    assert path.read_bytes() == content


def test_bytes_are_unpacked_once_and_their_size_is_told(caplog):
    def forbidden():
        raise AssertionError("read again")
        yield

    with caplog.at_level(logging.INFO, "ser_hf"):
        folder = unpacked("told once", [("a.wav", b"RIFF"), ("b.wav", b"RIFF")], 2_500_000, "2 parquet files")
    assert "the audio inside 2 parquet files: about 2.50 MB to be written to" in caplog.text
    assert unpacked("told once", forbidden(), 8, "2 parquet files") == folder
    assert [path.stem for path in files_of(folder)] == ["0000000", "0000001"]


def test_too_little_room_is_a_warning(caplog):
    pieces._tell(pieces.cache_root(), "much", 10**18)
    assert caplog.records[0].levelno == logging.WARNING
