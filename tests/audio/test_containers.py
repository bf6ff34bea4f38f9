"""Files whose header states no length, or a wrong one: read to the end and named, or refused."""

import io

import numpy as np
import pytest
import soundfile

from ser_hf.audio import AudioError, decode
from ser_hf.audio.decode import read_header
from ser_hf.audio.remarks import RemarkKind

RATE = 16000
NOISE = np.random.default_rng(0).integers(-9000, 9000, RATE, dtype=np.int16)
# Formats with equal samples in the file, and the encodings that are tried.
LOSSLESS = ["WAV", "AIFF", "FLAC", "AU", "W64", "CAF", "NIST", "RF64"]


def encoded(file_format, samples=NOISE, subtype=None, endian=None):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=file_format, subtype=subtype, endian=endian)
    return bytearray(file.getvalue())


def kinds(decoded):
    return [remark.kind for remark in decoded.remarks]


def with_number(content, mark, offset, value, size=4, order="little"):
    """The content with a number at `offset` bytes from the first `mark`."""
    place = content.index(mark) + offset
    content[place : place + size] = value.to_bytes(size, order)
    return content


def require_all_samples(content, kind):
    decoded = decode("x", bytes(content))
    assert decoded.content_hash == decode("x", bytes(encoded("WAV"))).content_hash
    assert kinds(decoded) == [kind]
    header = read_header("x", bytes(content))
    assert (header.frames, header.samplerate, header.channels) == (RATE, RATE, 1)


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_a_good_file_has_no_remark(file_format):
    assert not decode("x", bytes(encoded(file_format))).remarks
    assert read_header("x", bytes(encoded(file_format))).duration == 1


@pytest.mark.parametrize("file_format", [*LOSSLESS, "OGG", "MP3"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.9999])
def test_a_cut_file_is_refused_alike(file_format, share, tmp_path):
    content = encoded(file_format)
    cut = bytes(content[: int(share * len(content))])
    (tmp_path / "cut.x").write_bytes(cut)
    for data in (cut, None):
        with pytest.raises(AudioError, match=r"cut.x: truncated"):
            decode(str(tmp_path / "cut.x"), data)


@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_a_wave_file_without_a_size_is_read(stated, endian):
    order = endian.lower()
    content = encoded("WAV", endian=endian)
    content = with_number(content, b"WAVE", -4, 0, order=order)
    require_all_samples(with_number(content, b"data", 4, stated, order=order), RemarkKind.NO_LENGTH)


@pytest.mark.parametrize("stated", [2, 1000, 31998 - 320])
def test_a_wave_file_with_an_early_size_is_read(stated):
    content = with_number(encoded("WAV"), b"data", 4, stated)
    require_all_samples(content, RemarkKind.OTHER_LENGTH)
    content = with_number(content, b"RIFF", 4, 36 + stated)
    require_all_samples(content, RemarkKind.OTHER_LENGTH)


def test_a_wave_file_whose_size_is_too_large_but_whole_is_read():
    require_all_samples(with_number(encoded("WAV"), b"data", 4, 99999), RemarkKind.OTHER_LENGTH)


@pytest.mark.parametrize("stated", [0, 2**64 - 1])
def test_rf64_without_a_size_is_read(stated):
    content = with_number(encoded("RF64"), b"ds64", 16, stated, size=8)
    require_all_samples(content, RemarkKind.NO_LENGTH)


@pytest.mark.parametrize(
    "rest",
    [
        b"LIST\x04\0\0\0abcd",
        bytes(600),
        b"TAG" + bytes(125),
        b"\n",
        b"abc",
        b"bext\x02\0\0\0ab" * 9,
    ],
    ids=["chunk", "zeros", "ID3", "newline", "three bytes", "chunks"],
)
def test_what_follows_the_samples_is_not_read(rest):
    content = bytes(encoded("WAV") + rest)
    decoded = decode("x", content)
    assert len(decoded.samples) == RATE
    assert not decoded.remarks


def test_an_empty_wave_file_with_a_chunk_behind_is_empty():
    with pytest.raises(AudioError, match="holds no samples"):
        decode("x", bytes(encoded("WAV", NOISE[:0]) + b"LIST\x04\0\0\0abcd"))


def test_aiff_without_a_size_is_read():
    content = with_number(encoded("AIFF"), b"FORM", 4, 0, order="big")
    content = with_number(content, b"COMM", 10, 0, order="big")
    content = with_number(content, b"SSND", 4, 0, order="big")
    require_all_samples(content, RemarkKind.NO_LENGTH)


def test_au_and_caf_without_a_size_are_read():
    content = with_number(encoded("AU"), b".snd", 8, 0, order="big")
    require_all_samples(content, RemarkKind.NO_LENGTH)
    content = with_number(encoded("CAF"), b"data", 4, 2**64 - 1, size=8, order="big")
    require_all_samples(content, RemarkKind.NO_LENGTH)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize(
    ("stated", "kind"), [(0, RemarkKind.NO_LENGTH), (4096, RemarkKind.OTHER_LENGTH)]
)
def test_flac_with_a_wrong_length_is_read(subtype, stated, kind):
    samples = (NOISE / 2**15).astype(np.float32)
    content = encoded("FLAC", samples, subtype)
    require_all_samples(with_number(content, b"fLaC", 22, stated, order="big"), kind)


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "FLAC", "AU", "OGG", "MP3", "RF64"])
@pytest.mark.parametrize("lengths", [(RATE, RATE), (RATE, 5000), (5000, 7000, RATE)])
def test_joined_files_are_read_one_after_the_other(file_format, lengths, tmp_path):
    parts = [bytes(encoded(file_format, NOISE[:length])) for length in lengths]
    apart = np.concatenate([decode("x", part).samples for part in parts])
    path = tmp_path / "joined.x"
    path.write_bytes(b"".join(parts))
    for data in (None, path.read_bytes()):
        decoded = decode(str(path), data)
        np.testing.assert_array_equal(decoded.samples, apart)
        assert kinds(decoded) == [RemarkKind.JOINED]
        if file_format != "FLAC":  # which is searched by decoding only
            seconds = len(apart) / RATE
            assert read_header(str(path), data).duration == pytest.approx(seconds, abs=1e-3)


def test_joined_recordings_of_two_rates_get_one_rate():
    file = io.BytesIO()
    soundfile.write(file, NOISE, 2 * RATE, format="WAV")
    decoded = decode("x", bytes(encoded("WAV")) + file.getvalue())
    assert decoded.sampling_rate == RATE
    assert len(decoded.samples) == 1.5 * RATE


def without_length_frame(content):
    """An MP3 file without its first frame, which states the length."""
    place = content.index(b"Info" if b"Info" in content else b"Xing")
    start = place - 13 if content[place - 13] == 0xFF else place - 21
    following = content.index(content[start : start + 2], start + 50)
    return content[following:]


@pytest.mark.parametrize("length", [2000, RATE])
def test_mp3_without_a_length_is_read(length):
    whole = encoded("MP3", NOISE[:length])
    decoded = decode("x", bytes(without_length_frame(whole)))
    assert length <= len(decoded.samples) <= length + 2 * 1152
    assert not decoded.remarks or kinds(decoded) == [RemarkKind.SHORT]


def test_mp3_with_damaged_bytes_is_named():
    content = bytes(without_length_frame(encoded("MP3")))
    middle = len(content) // 2
    decoded = decode("x", content[:middle] + bytes(100) + content[middle + 100 :])
    assert RemarkKind.SKIPPED_BYTES in kinds(decoded)
    assert RemarkKind.JOINED not in kinds(decoded)
    assert len(decoded.samples) == pytest.approx(RATE, abs=4 * 1152)


def test_ogg_without_its_end_mark_is_named():
    content = encoded("OGG")
    last = content.rindex(b"OggS")
    content[last + 5] &= ~4
    assert kinds(decode("x", bytes(content))) in ([RemarkKind.NO_END], [])


def test_half_of_an_mp4_file_is_refused_as_truncated():
    content = b"\0\0\0\x14ftypM4A \0\0\0\0M4A " + (5000).to_bytes(4, "big") + b"mdat" + bytes(900)
    with pytest.raises(AudioError, match=r"x: truncated"):
        decode("x", content)
    whole = content + bytes(5000 - 908)
    with pytest.raises(AudioError, match=r"x: not readable as audio"):
        decode("x", whole)


@pytest.mark.parametrize("gain", [-1.0, -0.95])
def test_of_channels_that_cancel_each_other_one_is_used(gain):
    mono = (NOISE / 2**15).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, np.stack([gain * mono, mono], axis=1), RATE, "FLOAT", format="WAV")
    decoded = decode("x", file.getvalue())
    assert kinds(decoded) == [RemarkKind.CANCELLING_CHANNELS]
    used = 0 if gain == -1 else 1
    np.testing.assert_array_equal(decoded.samples, [gain * mono, mono][used])


def test_independent_channels_are_mixed():
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (RATE, 8))
    noise[:, 2:] = 0
    file = io.BytesIO()
    soundfile.write(file, noise, RATE, "FLOAT", format="WAV")
    decoded = decode("x", file.getvalue())
    assert not decoded.remarks
    np.testing.assert_allclose(decoded.samples, noise.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.zeros(RATE), [RemarkKind.SILENT]),
        (np.full(RATE, 9e-4), [RemarkKind.SILENT]),
        (np.full(RATE, -2e-3), []),
        (np.eye(1, RATE, 777)[0], []),
        (np.array([0.5]), [RemarkKind.SHORT]),
    ],
)
def test_silent_and_short_clips_are_named(samples, expected):
    content = encoded("WAV", samples.astype(np.float32), "FLOAT")
    assert kinds(decode("x", bytes(content))) == expected
