"""Segments of recordings have the samples of files that are cut at the same times."""

import numpy as np
import pytest
import soundfile

from ser_hf.audio.build_store import open_store
from ser_hf.audio.decode import AudioError, decode
from ser_hf.audio.segment_reader import decode_segment, decode_segments, runs
from ser_hf.utils.segments import Segment

RATE = 22050
SECONDS = 12


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    times = np.arange(RATE * SECONDS) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (200 + 20 * times) * times)
    return (tone + 0.01 * generator.standard_normal(len(times))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, samples):
    """The same recording in several formats."""
    folder = tmp_path_factory.mktemp("segments")
    soundfile.write(folder / "a.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "a.flac", samples, RATE)
    soundfile.write(folder / "a.ogg", samples, RATE)
    soundfile.write(folder / "a.mp3", samples, RATE)
    stereo = np.stack([samples, -samples], axis=1)
    soundfile.write(folder / "cancelling.wav", stereo, RATE, subtype="FLOAT")
    return folder


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "cancelling.wav"])
@pytest.mark.parametrize("rate", [None, 16000])
def test_a_segment_equals_a_cut_file(folder, tmp_path, name, rate):
    segment = Segment(2.345, 4.5671)
    whole, _ = soundfile.read(folder / name, dtype="float32")
    first = round(segment.start * RATE)
    stop = round(segment.end * RATE)
    soundfile.write(tmp_path / "cut.wav", whole[first:stop], RATE, subtype="FLOAT")

    expected = decode(str(tmp_path / "cut.wav"), sampling_rate=rate)
    decoded = decode_segment(str(folder / name), segment, sampling_rate=rate)
    np.testing.assert_array_equal(decoded.samples, expected.samples)
    assert decoded.content_hash == expected.content_hash
    assert decoded.channels == expected.channels
    assert [remark.kind for remark in decoded.remarks] == [
        remark.kind for remark in expected.remarks
    ]


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_a_segment_of_a_compressed_file_has_its_samples(folder, name):
    whole = decode(str(folder / name)).samples
    segments = [Segment(0.0, 0.5), Segment(3.21, 5.0), Segment(3.5, 4.0), Segment(11.0, None)]
    results = decode_segments(str(folder / name), segments)
    for segment, decoded in zip(segments, results, strict=True):
        first = round(segment.start * RATE)
        stop = len(whole) if segment.end is None else round(segment.end * RATE)
        np.testing.assert_allclose(decoded.samples, whole[first:stop], atol=1e-5)


def test_bytes_have_segments_too(folder):
    data = (folder / "a.flac").read_bytes()
    segment = Segment(1.0, 2.0)
    from_bytes = decode_segment("row 1", segment, data)
    from_file = decode_segment(str(folder / "a.flac"), segment)
    np.testing.assert_array_equal(from_bytes.samples, from_file.samples)


def test_joined_recordings_are_one_time_line(folder, tmp_path):
    stream = (folder / "a.ogg").read_bytes()
    (tmp_path / "joined.ogg").write_bytes(stream + stream)
    whole = decode(str(tmp_path / "joined.ogg")).samples
    decoded = decode_segment(str(tmp_path / "joined.ogg"), Segment(13.0, 14.0))
    np.testing.assert_allclose(decoded.samples, whole[13 * RATE : 14 * RATE], atol=1e-6)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Segment(11.0, 13.0), r"segment 11\.000-13\.000 s: beyond the end .*\(12\.000 s\)"),
        (Segment(12.5, None), r"segment 12\.500-the end s: beyond the end"),
    ],
)
def test_a_segment_beyond_the_recording_is_an_error(folder, segment, message):
    with pytest.raises(AudioError, match=message):
        decode_segment(str(folder / "a.wav"), segment)


def test_a_rounded_end_is_the_end_of_the_recording(folder):
    assert len(decode_segment(str(folder / "a.wav"), Segment(11.0, 12.01)).samples) == RATE


def test_a_missing_file_is_an_error_of_each_segment(tmp_path):
    segments = [Segment(0.0, 1.0), Segment(1.0, 2.0)]
    results = decode_segments(str(tmp_path / "none.wav"), segments)
    assert all(isinstance(result, AudioError) for result in results)
    assert len(results) == 2


def test_segments_of_one_recording_are_read_together():
    items = [
        (0, "a", Segment(0, 1)),
        (1, "a", Segment(1, 2)),
        (2, "a", Segment(0.5, 1)),  # back again
        (3, "b", Segment(2, 3)),
        (4, "b", None),
        (5, "b", None),
        (6, "b", Segment(0, 400)),
        (7, "b", Segment(400, 401)),
        (8, "b", Segment(402, None)),
    ]
    assert list(runs(items)) == [[0, 1], [2], [3], [4], [5], [6], [7, 8]]


def test_a_store_of_segments_is_a_store_of_cut_files(folder, tmp_path, samples):
    segments = [Segment(3.0, 4.0), None, Segment(0.5, 1.25), Segment(1.25, 2.0)]
    source = {"path": str(folder / "a.wav"), "bytes": None}
    store = open_store([source] * 4, RATE, tmp_path, segments=segments)
    for row, segment in enumerate(segments):
        expected = samples
        if segment is not None:
            expected = samples[round(segment.start * RATE) : round(segment.end * RATE)]
        np.testing.assert_array_equal(store[row], expected)
    # Another order and further segments copy what is stored.
    again = open_store([source] * 2, RATE, tmp_path, segments=segments[:1] + [Segment(5.0, 6.0)])
    np.testing.assert_array_equal(again[0], store[0])
