"""Parts of recordings and bytes inside tables become files in the cache, once, and to the last bit."""

import logging
import os

import numpy as np
import pytest
import soundfile

from ser_hf.corpora.segments import Segment, cut_segments, unpack
from ser_hf.utils.errors import UserError

SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, (8000, 2)).astype(np.int16)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, SAMPLES, 8000, subtype="PCM_16")
    return path


def test_pieces_are_the_recording_s_own_samples(recording):
    first, second = cut_segments([Segment(recording, 0.25, 0.5), Segment(recording, 0.75, None)])
    assert np.array_equal(soundfile.read(first, dtype="int16")[0], SAMPLES[2000:4000])
    assert np.array_equal(soundfile.read(second, dtype="int16")[0], SAMPLES[6000:])
    assert soundfile.info(first).samplerate == 8000


def test_pieces_are_cut_once_until_the_recording_changes(recording):
    wanted = [Segment(recording, 0.1, 0.2)]
    (first,) = cut_segments(wanted)
    written = os.stat(first).st_mtime_ns
    assert cut_segments(wanted) == [first]
    assert os.stat(first).st_mtime_ns == written
    soundfile.write(recording, SAMPLES[::-1], 8000, subtype="PCM_16")
    assert cut_segments(wanted) != [first]


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_whole_numbers_stay_what_they_are(tmp_path, subtype):
    samples = (np.arange(800) / 3000).astype("float32")
    soundfile.write(tmp_path / "x.wav", samples, 8000, subtype=subtype)
    (piece,) = cut_segments([Segment(tmp_path / "x.wav", 0.05, None)])
    assert np.array_equal(soundfile.read(piece, dtype="float32")[0], samples[400:])


@pytest.mark.parametrize("times", [(0.5, 0.5), (0.9, 1.5), (2.0, None), (-0.5, 0.5)])
def test_a_piece_that_is_not_in_the_recording_is_refused(recording, times):
    with pytest.raises(UserError, match=r"long.flac: no segment from .* s; the recording has 1 s"):
        cut_segments([Segment(recording, *times)])


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    with pytest.raises(UserError, match="bad.wav: cannot be read as audio"):
        cut_segments([Segment(tmp_path / "bad.wav", 0, 1)])
    with pytest.raises(UserError, match=r"no.wav: cannot be read \(No such file"):
        cut_segments([Segment(tmp_path / "no.wav", 0, 1)])


@pytest.mark.parametrize("times", [(float("nan"), 1.0), (0.0, float("inf"))])
def test_times_that_are_no_numbers_are_refused(recording, times):
    with pytest.raises(UserError, match=r"long.flac: no segment from .* s; the recording has 1 s"):
        cut_segments([Segment(recording, *times)])


@pytest.fixture
def key(tmp_path):
    """A key that no other test has: they share the cache."""
    return str(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("a.wav", b"fLaC...", ".flac"),
        (None, b"RIFF....WAVE", ".wav"),
        ("x/a.MP3", b"\xff\xfb", ".mp3"),
        (None, b"\xff\xfb", ".mp3"),
        ("a", b"OggS", ".ogg"),
        ("a.m4a/..: x", b"?", ".mp3"),
    ],
)
def test_unpacked_files_are_named_after_table_row_and_format(key, name, content, suffix):
    ((row, path),) = unpack("train 1.parquet", key, [(7, name, content)], len(content)).items()
    assert (row, path.name) == (7, f"row_0000007{suffix}")
    assert path.parent.name.startswith("train_1.parquet-")
    assert path.read_bytes() == content


def forbidden():
    raise AssertionError("read again")
    yield


CLIPS = [(0, "a.wav", b"RIFF one"), (2, "b.wav", b"RIFF two")]


def test_bytes_are_unpacked_once_and_their_size_is_logged(key, caplog):
    with caplog.at_level(logging.INFO, "ser_hf"):
        first = unpack("t.parquet", key, CLIPS, 2_500_000)
    assert "the audio of t.parquet: about 2.50 MB to be written to" in caplog.text
    assert list(first) == [0, 2]
    assert unpack("t.parquet", key, forbidden(), 8) == first
    assert unpack("t.parquet", f"{key} changed", CLIPS, 8) != first


def another(path):
    """Another file of the same size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), another, lambda path: path.write_bytes(b"RIFF")])
def test_a_file_that_is_missing_or_another_is_noticed(key, recording, caplog, harm):
    wanted = [Segment(recording, 0.25, 0.5), Segment(recording, 0.5, 0.75)]
    for build in (lambda: unpack("t.parquet", key, CLIPS, 8), lambda: dict(enumerate(cut_segments(wanted)))):
        caplog.clear()
        files = build()
        contents = [path.read_bytes() for path in files.values()]
        harm(next(iter(files.values())))
        assert build() == files
        assert "is damaged (" in caplog.text
        assert [path.read_bytes() for path in files.values()] == contents
