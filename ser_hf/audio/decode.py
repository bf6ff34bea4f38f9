"""Decoding of one audio file or byte string to mono float32 samples.

There is a clear error for each kind of bad file. soundfile reads and soxr resamples in blocks, so
that memory contains little more than the result. Loaders that decode a whole file at once need more
memory.
"""

import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import xxhash

from ..utils.errors import UserError
from ..utils.files import require_utf8

SHORTEST = 0.1  # the shortest clip for a prediction, in seconds
# Suffixes of audio files.
SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"}
# Programs that write WAV to a pipe, such as ffmpeg, do not know the length and write one of these
# sizes to the RIFF header.
_UNKNOWN_RIFF_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_BLOCK = 2**20  # samples to read at once; one hour of stereo at 44.1 kHz would be 1.3 GB
# The lowest and highest accepted sampling rate in Hz. At 1 Hz each sample would become 16,000
# samples, and at 10^9 Hz the resampling filter would be very long.
_LOWEST_RATE = 1000
_HIGHEST_RATE = 1_000_000
_MOST_SAMPLES = 24 * 3600 * 16000  # the largest result, 5.5 GB; a longer one must be a mistake


class AudioError(UserError):
    """The error for a file without a usable recording; the message names the file."""


class NotAudioError(AudioError):
    """The error for a file whose format libsndfile does not recognize."""


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded recording.

    Args:
        samples: the mono samples, float32 (samples,).
        sampling_rate: the sampling rate of the samples, in Hz.
        content_hash: a hash of the samples before resampling, which is equal for the same recording
            in any lossless format.
        channels: the number of channels of the file.
    """

    samples: np.ndarray
    sampling_rate: int
    content_hash: str
    channels: int


@dataclasses.dataclass(frozen=True, eq=False)
class _ReadSamples:
    """The samples of a file.

    Args:
        samples: the mono samples at the requested rate, float32 (samples,).
        count: the number of samples before resampling.
        content_hash: a hash of the samples before resampling.
        finite: whether no sample is NaN or infinite.
    """

    samples: np.ndarray
    count: int
    content_hash: str
    finite: bool


def decode(
    path: str | None, data: bytes | None = None, sampling_rate: int | None = None
) -> Decoded:
    """Decode a file, mix it to mono by the mean, and resample it with soxr (HQ).

    Args:
        path: the path of the file, also for messages.
        data: the bytes of the file, which are decoded instead of reading the file.
        sampling_rate: the sampling rate of the result, in Hz (default: that of the recording).

    Raises:
        NotAudioError: if the file is not audio.
        AudioError: if the file is missing, empty, truncated, or has NaN or infinite samples; if its
            path is not UTF-8; if its rate is not from 1 kHz to 1 MHz; or if the result would have
            more samples than 24 hours at 16 kHz.
    """
    name = str(path)
    size = _file_size(name, data)
    try:
        # The mean of two huge floats may overflow. The check for finite samples below finds this.
        with np.errstate(all="ignore"), soundfile.SoundFile(_readable(name, data)) as file:
            announced = file.frames
            file_format = file.format
            channels = file.channels
            rate = sampling_rate or file.samplerate
            _check_announced(name, file, rate)
            read = _read_mono(file, announced, rate)
    # soundfile raises a TypeError for .raw files, which have no header.
    except (RuntimeError, TypeError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".") or "unknown"
        raise NotAudioError(
            f"{name}: not readable as audio ({reason}); restore or remove this file"
        ) from None

    if read.count == 0:
        raise AudioError(f"{name}: holds no samples; restore or remove this file")
    if read.count < announced or (file_format == "WAV" and _riff_size(name, data) > size):
        raise AudioError(
            f"{name}: truncated, its header announces more than the file holds; copy it again"
        )
    if not read.finite:
        raise AudioError(f"{name}: holds NaN or infinite samples; restore or remove this file")
    if len(read.samples) == 0:
        raise AudioError(
            f"{name}: too short for a single sample at {sampling_rate} Hz; remove this file"
        )
    return Decoded(read.samples, rate, read.content_hash, channels)


def read_header(path: str, data: bytes | None = None) -> Any:
    """Read the header of a file with `soundfile.info`: frames, samplerate, channels, duration.

    Returns:
        The header, or None if it cannot be read.
    """
    if data is None and not os.path.isfile(path):  # opening a pipe would wait
        return None
    try:
        return soundfile.info(_readable(path, data))
    except (RuntimeError, OSError, TypeError, ValueError):
        return None


def _readable(path: str, data: bytes | None) -> str | io.BytesIO:
    """The bytes as a file object if there are some, otherwise the path, for libsndfile."""
    return path if data is None else io.BytesIO(data)


def _file_size(name: str, data: bytes | None) -> int:
    """The size of a file in bytes; an AudioError if the file is missing or empty."""
    try:
        require_utf8(name)
        size = len(data) if data is not None else os.path.getsize(name)
    except UserError as error:
        raise AudioError(str(error)) from None
    except (OSError, ValueError):  # a ValueError is for a NUL in the path
        raise AudioError(f"{name}: no such file") from None
    if size == 0:
        raise AudioError(f"{name}: an empty file (0 bytes); restore or remove it")
    return size


def _check_announced(name: str, file: soundfile.SoundFile, rate: int) -> None:
    """Raise an AudioError if the header has an impossible rate, or too many samples at `rate`."""
    possible_rate = _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE
    if not possible_rate or file.frames * rate > _MOST_SAMPLES * file.samplerate:
        raise AudioError(
            f"{name}: its header announces {file.frames:,} samples at {file.samplerate:,} Hz; "
            f"rates are from 1 kHz to 1 MHz, and {_MOST_SAMPLES:,} samples at {rate:,} Hz is the "
            "most; restore or cut it"
        )


def _read_mono(file: soundfile.SoundFile, frames: int, rate: int) -> _ReadSamples:
    """Read the next `frames` frames of a file, mix them to mono and resample them to `rate` Hz."""
    resampled = rate != file.samplerate
    stream = None
    if resampled and frames > _BLOCK:
        # A stream gives the same samples as `soxr.resample`, but is slower for a single block.
        stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")

    # The system only provides memory for the samples that are written, so that a damaged header
    # that announces too many samples needs no memory for them.
    length = frames if stream is None else frames * rate // file.samplerate + 2
    result = np.empty(length, dtype=np.float32)
    content_hash = xxhash.xxh3_128()
    frames_per_block = max(_BLOCK // file.channels, 1)
    count = 0
    written = 0
    finite = True
    while count < frames:
        block = file.read(min(frames_per_block, frames - count), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        count += len(block)
        mono = np.ascontiguousarray(block[:, 0]) if file.channels == 1 else block.mean(axis=1)
        finite = finite and bool(np.isfinite(mono).all())
        content_hash.update(mono)
        if stream is not None:
            mono = stream.resample_chunk(mono, last=count == frames)
        result[written : written + len(mono)] = mono
        written += len(mono)

    samples = result[:written]
    if resampled and stream is None and count:
        samples = soxr.resample(samples, file.samplerate, rate)
    return _ReadSamples(samples, count, content_hash.hexdigest(), finite)


def _riff_size(name: str, data: bytes | None) -> int:
    """The file size according to the RIFF header; 0 without a header or without a size in it."""
    with io.BytesIO(data) if data is not None else Path(name).open("rb") as file:
        head = file.read(8)
    announced = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or announced in _UNKNOWN_RIFF_SIZES:
        return 0
    # libsndfile accepts a chunk of odd size without its padding byte.
    return announced + 8 - (announced & 1)
