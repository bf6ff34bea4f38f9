"""Decoding of one audio file or byte string to mono float32 samples.

There is a clear error for each kind of bad file. soundfile reads and soxr resamples in blocks:
memory holds little more than the result, which loaders that decode a whole file at once cannot do.
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

SHORTEST = 0.1  # seconds of a clip for a prediction
# Suffixes of audio files.
SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"}
# Streaming WAV writers (ffmpeg to a pipe) do not know the length and leave one of these in the RIFF
# header.
_UNKNOWN_RIFF_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_BLOCK = 2**20  # samples read at once: one hour in stereo at 44.1 kHz would be 1.3 GB
# Hz. A second at 1 Hz would become 16,000 samples for each one, and filters at 10^9 Hz would be as
# long.
_LOWEST_RATE = 1000
_HIGHEST_RATE = 1_000_000
_MOST_SAMPLES = 24 * 3600 * 16000  # of a result, 5.5 GB; more cannot be meant


class AudioError(UserError):
    """A file without a usable recording; the message names it."""


class NotAudioError(AudioError):
    """A file in a format that libsndfile does not know, or too damaged to recognize."""


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A recording.

    Args:
        samples: float32 (samples,), mono.
        sampling_rate: of the samples, in Hz.
        content_hash: of the samples before resampling, equal for the same recording in any lossless
            container.
        channels: of the file.
    """

    samples: np.ndarray
    sampling_rate: int
    content_hash: str
    channels: int


@dataclasses.dataclass(frozen=True, eq=False)
class _ReadSamples:
    """What was read of a file.

    Args:
        samples: float32 (samples,), mono, at the requested rate.
        count: samples before resampling.
        content_hash: of them.
        finite: whether none is NaN or infinite.
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
        path: of the file, also for messages.
        data: the file's bytes, which are read in place of the file.
        sampling_rate: of the result, in Hz (default: as recorded).

    Raises:
        NotAudioError: if it is no audio.
        AudioError: if the file is missing, empty, truncated, or has NaN or infinite samples; if its
            path is not UTF-8; if the rate is not 1 kHz to 1 MHz or the result would have more
            samples than 24 hours at 16 kHz.
    """
    name = str(path)
    size = _file_size(name, data)
    try:
        # The mean of two huge floats may overflow, which is found below.
        with np.errstate(all="ignore"), soundfile.SoundFile(_opened(name, data)) as file:
            announced = file.frames
            file_format = file.format
            channels = file.channels
            rate = sampling_rate or file.samplerate
            _check_announced(name, file, rate)
            read = _read_mono(file, announced, rate)
    except (RuntimeError, TypeError) as error:  # a TypeError for .raw, which has no header
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
    """What a header announces, as `soundfile.info`: frames, samplerate, channels, duration.

    Returns:
        None if it cannot be read.
    """
    if data is None and not os.path.isfile(path):  # opening a pipe would wait
        return None
    try:
        return soundfile.info(_opened(path, data))
    except (RuntimeError, OSError, TypeError, ValueError):
        return None


def _opened(path: str, data: bytes | None) -> str | io.BytesIO:
    """What libsndfile opens."""
    return path if data is None else io.BytesIO(data)


def _file_size(name: str, data: bytes | None) -> int:
    """Size in bytes; an AudioError for a file that is missing or empty."""
    try:
        require_utf8(name)
        size = len(data) if data is not None else os.path.getsize(name)
    except UserError as error:
        raise AudioError(str(error)) from None
    except (OSError, ValueError):  # a NUL in the path
        raise AudioError(f"{name}: no such file") from None
    if size == 0:
        raise AudioError(f"{name}: an empty file (0 bytes); restore or remove it")
    return size


def _check_announced(name: str, file: soundfile.SoundFile, rate: int) -> None:
    """Refuse a header that announces an impossible rate, or too many samples at `rate`."""
    possible_rate = _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE
    if not possible_rate or file.frames * rate > _MOST_SAMPLES * file.samplerate:
        raise AudioError(
            f"{name}: its header announces {file.frames:,} samples at {file.samplerate:,} Hz; "
            f"rates are from 1 kHz to 1 MHz, and {_MOST_SAMPLES:,} samples at {rate:,} Hz is the "
            "most; restore or cut it"
        )


def _read_mono(file: soundfile.SoundFile, frames: int, rate: int) -> _ReadSamples:
    """Read the next `frames` frames as mono samples at `rate` Hz."""
    resampled = rate != file.samplerate
    stream = None
    if resampled and frames > _BLOCK:
        # The same samples as from `soxr.resample`, but slower for a single block.
        stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")

    # The system gives memory only where something is written, however much a damaged header
    # announces.
    length = frames if stream is None else frames * rate // file.samplerate + 2
    result = np.empty(length, dtype=np.float32)
    hashed = xxhash.xxh3_128()
    most = max(_BLOCK // file.channels, 1)
    count = 0
    written = 0
    finite = True
    while count < frames:
        block = file.read(min(most, frames - count), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        count += len(block)
        mono = np.ascontiguousarray(block[:, 0]) if file.channels == 1 else block.mean(axis=1)
        finite = finite and bool(np.isfinite(mono).all())
        hashed.update(mono)
        if stream is not None:
            mono = stream.resample_chunk(mono, last=count == frames)
        result[written : written + len(mono)] = mono
        written += len(mono)

    samples = result[:written]
    if resampled and stream is None and count:
        samples = soxr.resample(samples, file.samplerate, rate)
    return _ReadSamples(samples, count, hashed.hexdigest(), finite)


def _riff_size(name: str, data: bytes | None) -> int:
    """The file size in a RIFF header; 0 without one."""
    with io.BytesIO(data) if data is not None else Path(name).open("rb") as file:
        head = file.read(8)
    announced = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or announced in _UNKNOWN_RIFF_SIZES:
        return 0
    # libsndfile accepts a missing padding byte of an odd chunk.
    return announced + 8 - (announced & 1)
