"""Parts of recordings and bytes inside tables become files in the cache, once, and to the last bit."""

import hashlib
import logging
import os
import shutil

import numpy as np
import pytest
import soundfile

from ser_hf.corpora import segments
from ser_hf.corpora.segments import Segment, content_sha256, cut_segments, unpack
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
    with pytest.raises(UserError, match=r"long.flac: no segment from .* s; expected finite times"):
        cut_segments([Segment(recording, *times)])


@pytest.fixture
def table(tmp_path):
    """A file that stands for a table, whose content is the test's own."""
    path = tmp_path / "train 1.parquet"
    path.write_text(str(tmp_path), encoding="utf-8")
    return path


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
def test_bytes_are_files_named_for_where_they_are_from_and_what_they_are(table, name, content, suffix):
    ((row, path),) = unpack(table, "audio", [(7, name, content)], len(content)).items()
    assert (row, path.name) == (7, f"row_0000007{suffix}")
    assert path.parent.name.startswith("train_1-")
    assert path.read_bytes() == content


def forbidden():
    raise AssertionError("read again")
    yield


CLIPS = [(0, "a.wav", b"RIFF one"), (2, "b.wav", b"RIFF two")]


def test_bytes_are_unpacked_once_and_their_size_is_told(table, caplog):
    with caplog.at_level(logging.INFO, "ser_hf"):
        first = unpack(table, "audio", CLIPS, 2_500_000)
    assert f"the audio inside {table}: about 2.50 MB to be written to" in caplog.text
    assert list(first) == [0, 2]
    assert unpack(table, "audio", forbidden(), 8) == first
    assert unpack(table, "clean", CLIPS, 8) != first


def test_a_table_is_known_by_its_content(table, tmp_path):
    first = unpack(table, "audio", CLIPS, 8)
    os.utime(table, ns=(1, 1))
    assert unpack(table, "audio", forbidden(), 8) == first
    (tmp_path / "copy").mkdir()
    copy = shutil.copy(table, tmp_path / "copy")
    assert unpack(tmp_path / "copy" / table.name, "audio", forbidden(), 8) == first, copy
    before = table.stat()
    table.write_text(str(tmp_path)[::-1], encoding="utf-8")
    assert table.stat().st_size == before.st_size
    assert unpack(table, "audio", CLIPS, 8) != first


def test_digests_are_remembered_and_rest_on_no_note(table, monkeypatch):
    expected = hashlib.sha256(table.read_bytes()).hexdigest()
    assert content_sha256(table) == expected
    monkeypatch.setattr(segments, "_sha256", lambda path: pytest.fail("read again"))
    assert content_sha256(table) == expected
    monkeypatch.undo()
    for note in (segments.cache_root() / "unpacked" / "digests").iterdir():
        note.write_text("?", encoding="utf-8")
    assert content_sha256(table) == expected
    with pytest.raises(UserError, match=r"gone.parquet: cannot be read \(No such file"):
        content_sha256(table.with_name("gone.parquet"))


def another(path):
    """Another file of the same size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), another, lambda path: path.write_bytes(b"RIFF")])
def test_a_file_that_is_missing_or_another_is_noticed(table, recording, caplog, harm):
    wanted = [Segment(recording, 0.25, 0.5), Segment(recording, 0.5, 0.75)]
    for build in (lambda: unpack(table, "audio", CLIPS, 8), lambda: dict(enumerate(cut_segments(wanted)))):
        caplog.clear()
        files = build()
        contents = [path.read_bytes() for path in files.values()]
        harm(next(iter(files.values())))
        assert build() == files
        assert "is damaged (" in caplog.text
        assert [path.read_bytes() for path in files.values()] == contents


def test_a_cache_that_cannot_be_written_to_is_told_what_helps(table, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SER_HF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError) as error:
        unpack(table, "audio", CLIPS, 8)
    assert "set the environment's SER_HF_CACHE (audio.cache_dir is for waveforms alone) to another" in str(error.value)
