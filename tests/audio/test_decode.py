"""Decoding: the samples of a good file, and the message about a bad one."""

import os
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from ser_hf.audio import AudioError, decode
from ser_hf.audio.decode import read_header

RATE = 16000
MODULE = sys.modules[decode.__module__]  # whose name the function has taken
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def write(path, samples=TONE, rate=RATE, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def frequency(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def test_samples_are_as_written(tmp_path):
    decoded = decode(str(write(tmp_path / "a.wav", subtype="FLOAT")))
    np.testing.assert_array_equal(decoded.samples, TONE)
    assert decoded.samples.dtype == np.float32
    assert decoded.samples.flags["C_CONTIGUOUS"]
    assert (decoded.sampling_rate, decoded.channels) == (RATE, 1)


def test_channels_are_mixed_by_their_mean(tmp_path):
    left = TONE
    right = np.full_like(TONE, 0.25)
    decoded = decode(
        str(write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT"))
    )
    assert decoded.channels == 2
    assert decoded.samples.shape == (RATE,)
    np.testing.assert_allclose(decoded.samples, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_duration_frequency_and_level(tmp_path, rate):
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    decoded = decode(str(write(tmp_path / "a.wav", tone, rate)), sampling_rate=RATE)
    assert decoded.sampling_rate == RATE
    assert len(decoded.samples) == pytest.approx(RATE, abs=1)
    assert decoded.samples.dtype == np.float32
    assert frequency(decoded.samples, RATE) == pytest.approx(440, abs=1)
    middle = decoded.samples[RATE // 4 : -RATE // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_wav_and_flac_of_the_same_samples_have_the_same_hash(tmp_path):
    noise = np.random.default_rng(0).integers(-30000, 30000, RATE, dtype=np.int16)
    hashes = {
        decode(str(write(tmp_path / f"a{suffix}", noise))).content_hash
        for suffix in (".wav", ".flac", ".aiff")
    }
    assert len(hashes) == 1
    noise[5] += 1
    other = write(tmp_path / "b.wav", noise)
    assert decode(str(other)).content_hash not in hashes
    assert (
        decode("elsewhere/a.wav", other.read_bytes()).content_hash
        == decode(str(other)).content_hash
    )


def wav(subtype="PCM_16", samples=TONE):
    return lambda path: write(path, samples, subtype=subtype)


def cut_segments(suffix, keep):
    """The first `keep` (a share) of a good file."""

    def make(path):
        content = write(path.with_suffix(suffix)).read_bytes()
        path.with_suffix(suffix).unlink()
        path.write_bytes(content[: int(keep * len(content))])

    return make


def odd_sample(value):
    samples = TONE.copy()
    samples[100] = value
    return wav("FLOAT", samples)


def header_only(path):
    path.write_bytes(write(path).read_bytes()[:44])


def announced(suffix, place, value, size=4):
    """A good file with other bytes in its header, little-endian in WAV and big-endian in FLAC."""

    def make(path):
        content = bytearray(write(path.with_suffix(suffix)).read_bytes())
        content[place : place + size] = value.to_bytes(
            size, "little" if suffix == ".wav" else "big"
        )
        path.write_bytes(content)

    return make


BAD = {
    "missing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file (0 bytes)"),
    "text": (
        lambda path: path.write_text("<html>404 not found</html>" * 20),
        "not readable as audio",
    ),
    "half a header": (cut_segments(".wav", 0.0005), "not readable as audio"),
    "header only": (header_only, ""),
    "zero samples": (wav(samples=TONE[:0]), "holds no samples"),
    "truncated WAV": (cut_segments(".wav", 0.5), "truncated"),
    "WAV without its last byte": (cut_segments(".wav", 0.99999), "truncated"),
    "truncated FLAC": (cut_segments(".flac", 0.5), ""),
    "NaN": (odd_sample(np.nan), "NaN or infinite"),
    "1 Hz": (announced(".wav", 24, 1), "16,000 samples at 1 Hz; rates are from 1 kHz"),
    "0 Hz": (announced(".wav", 24, 0), "not readable as audio"),
    "no channels": (announced(".wav", 22, 0, 2), "not readable as audio"),
    "10^9 frames": (announced(".flac", 22, 10**9), ""),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_with_its_fault(tmp_path, make, message):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(AudioError) as error:
        decode(str(path), sampling_rate=8000)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_clip_too_short_for_the_rate_is_refused_or_not_empty(tmp_path):
    """One sample at 48 kHz is a third of a sample at 16 kHz: a waveform without samples must not
    come out.
    """
    path = write(tmp_path / "short.wav", TONE[:1], 48000)
    with pytest.raises(AudioError, match="short.wav"):
        decode(str(path), sampling_rate=RATE)


@pytest.mark.parametrize("name", ["a.raw", "a\0.wav", "a" * 5000 + ".wav"])
def test_a_name_that_no_reader_takes(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(bytes(999))
    with pytest.raises(AudioError):
        decode(str(tmp_path / name))
    assert read_header(str(tmp_path / name)) is None


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_stream_header_without_a_size_is_read(tmp_path, size):
    path = write(tmp_path / "stream.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    if size == 0xFFFFFFFF:
        content[40:44] = size.to_bytes(4, "little")  # the data chunk, as ffmpeg leaves it on a pipe
    path.write_bytes(content)
    assert len(decode(str(path)).samples) == RATE


@pytest.mark.parametrize(("length", "place"), [(4044, 36), (4, 10**6), (7, 10**6)])
def test_an_extra_chunk_is_skipped(tmp_path, length, place):
    """As in official files of RAVDESS, between format and samples; at the end perhaps odd and not
    padded.
    """
    path = write(tmp_path / "chunk.wav")
    plain = decode(str(path))
    content = path.read_bytes()
    content = (
        content[:place] + b"FLLR" + length.to_bytes(4, "little") + bytes(length) + content[place:]
    )
    path.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    assert decode(str(path)).content_hash == plain.content_hash


def test_a_path_that_is_not_utf8_is_named(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"gl\xfccklich.wav")
    with open(path, "wb") as file:
        file.write(write(tmp_path / "a.wav").read_bytes())
    with pytest.raises(AudioError, match=r"gl\\xfccklich.wav: its path is not UTF-8.*rename it"):
        decode(os.fsdecode(path))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, RATE, 44100])
def test_a_long_recording_is_decoded_in_blocks_to_the_same_samples(
    rate, channels, tmp_path, monkeypatch
):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * rate + 7, channels))
    path = str(write(tmp_path / "a.wav", noise, rate))
    whole = decode(path, sampling_rate=RATE)
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "_BLOCK", 1000)
        blocks = decode(path, sampling_rate=RATE)
    np.testing.assert_array_equal(blocks.samples, whole.samples)
    assert blocks.sampling_rate == whole.sampling_rate
    assert blocks.content_hash == whole.content_hash
    assert blocks.channels == whole.channels
    noise[-5] = np.nan
    write(tmp_path / "a.wav", noise, rate, "FLOAT")
    monkeypatch.setattr(MODULE, "_BLOCK", 1000)
    with pytest.raises(AudioError, match="holds NaN"):
        decode(path)


def test_memory_of_a_long_recording_is_bounded_by_its_output(tmp_path, monkeypatch):
    """With all channels and the original rate it would need 21 MB. The output has 3.8 MB."""
    monkeypatch.setattr(MODULE, "_BLOCK", 2**16)
    path = str(write(tmp_path / "a.wav", np.zeros((60 * 44100, 2), dtype=np.int16), 44100))
    tracemalloc.start()
    try:
        samples = decode(path, sampling_rate=RATE).samples
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples.nbytes < peak < samples.nbytes + 2**21
