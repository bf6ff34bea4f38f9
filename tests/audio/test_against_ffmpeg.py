"""Compressed files give as many samples as ffmpeg decodes, and the same ones, or are refused."""

import shutil
import subprocess

import numpy as np
import pytest
import scipy.signal

from ser_hf.audio import AudioError, decode

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

# The delay and the padding of an MP3 encoder, which a decoder removes if the file states them, and
# the samples of one more frame.
TOLERANCE = 2400
MIN_CORRELATION = 0.97


def speech(seconds, rate):
    """A tone whose pitch and level move, with noise and quiet parts for a variable bit rate."""
    time = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (150 + 40 * np.sin(8 * time)) * time)
    noise = np.random.default_rng(0).standard_normal(len(time))
    level = np.where(np.sin(9 * time) > 0, 1, 0.02)
    return ((0.3 * tone + 0.03 * noise) * level).astype(np.float32)


def encode(path, samples, rate, *options):
    source = ["-f", "f32le", "-ar", str(rate), "-ac", "1", "-i", "-"]
    command = ["ffmpeg", "-y", "-v", "error", *source, *options, str(path)]
    subprocess.run(command, input=samples.tobytes(), check=True)
    return path


def by_ffmpeg(path, rate):
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-f", "f32le"]
    command += ["-ac", "1", "-ar", str(rate), "-"]
    output = subprocess.run(command, capture_output=True, check=False).stdout
    return np.frombuffer(output, np.float32)


def correlation(piece, signal):
    """The largest correlation of a piece with a place in a longer signal."""
    products = scipy.signal.correlate(signal, piece, mode="valid")
    sums = np.concatenate([[0], np.cumsum(signal.astype(np.float64) ** 2)])
    energies = sums[len(piece) :] - sums[: -len(piece)]
    scale = np.sqrt(np.maximum(energies, 1e-9)) * np.linalg.norm(piece)
    return (products / scale).max()


def require_same(path):
    decoded = decode(str(path))
    expected = by_ffmpeg(path, decoded.sampling_rate)
    assert len(decoded.samples) == pytest.approx(len(expected), abs=TOLERANCE)
    # Joined recordings may be shifted against each other, so their pieces are compared.
    third = len(decoded.samples) // 3
    for begin in (third // 4, 2 * third):
        piece = decoded.samples[begin : begin + third // 2]
        place = slice(max(begin - TOLERANCE, 0), begin + third + TOLERANCE)
        assert correlation(piece, expected[place]) > MIN_CORRELATION
    return decoded


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("xing", ["0", "1"])
@pytest.mark.parametrize(
    "options", [["-b:a", "32k"], ["-b:a", "64k", "-ac", "2"], ["-q:a", "2"], ["-q:a", "9"]]
)
@pytest.mark.parametrize("seconds", [0.4, 2.5])
def test_mp3(rate, xing, options, seconds, tmp_path):
    path = tmp_path / "a.mp3"
    encode(path, speech(seconds, rate), rate, *options, "-write_xing", xing)
    decoded = require_same(path)
    assert not decoded.remarks


@pytest.mark.parametrize("options", [["-b:a", "48k"], ["-b:a", "64k", "-ac", "2"]])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_mp2(rate, options, tmp_path):
    assert not require_same(encode(tmp_path / "a.mp2", speech(2, rate), rate, *options)).remarks


@pytest.mark.parametrize("suffix", ["ogg", "flac", "wav", "aiff", "au"])
def test_other_formats(suffix, tmp_path):
    assert not require_same(encode(tmp_path / f"a.{suffix}", speech(2, 16000), 16000)).remarks


@pytest.mark.parametrize("xing", [("0", "0"), ("1", "1"), ("1", "0"), ("0", "1")])
@pytest.mark.parametrize("options", [["-b:a", "32k"], ["-q:a", "5"]])
def test_joined_mp3(xing, options, tmp_path):
    parts = []
    for seconds, flag in zip((1, 2.5), xing, strict=True):
        path = tmp_path / f"{seconds}.mp3"
        encode(path, speech(seconds, 16000), 16000, *options, "-write_xing", flag)
        parts.append(path.read_bytes())
    path = tmp_path / "joined.mp3"
    path.write_bytes(b"".join(parts))
    decoded = require_same(path)
    assert len(decoded.samples) >= 3.5 * 16000


CUT = {
    "constant.mp3": ["-b:a", "32k", "-write_xing", "0"],
    "info.mp3": ["-b:a", "32k"],
    "variable.mp3": ["-q:a", "5", "-write_xing", "0"],
    "layer2.mp2": ["-b:a", "64k"],
    "vorbis.ogg": ["-c:a", "libvorbis"],
    "opus.opus": ["-c:a", "libopus"],
    "lossless.flac": [],
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_is_refused_or_has_what_ffmpeg_decodes(name, tmp_path):
    """A cut between two frames of MPEG audio without a length leaves no trace in the file."""
    whole = encode(tmp_path / name, speech(2, 16000), 16000, *CUT[name]).read_bytes()
    path = tmp_path / f"cut-{name}"
    refused = 0
    places = np.linspace(200, len(whole) - 1, 40).astype(int).tolist()
    for place in places:
        path.write_bytes(whole[:place])
        try:
            decoded = decode(str(path))
        except AudioError:
            refused += 1
            continue
        expected = by_ffmpeg(path, decoded.sampling_rate)
        assert len(decoded.samples) >= len(expected) - TOLERANCE, place
    assert refused >= len(places) - 3
