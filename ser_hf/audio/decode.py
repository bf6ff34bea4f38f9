"""Decoding of one audio file or byte string to mono float32 samples, with a clear error for each
kind of bad file.
"""

import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
import xxhash

from ..utils.errors import UserError
from ..utils.files import require_utf8

SHORTEST = 0.1  # seconds of a clip for a prediction
# libsndfile's name of a format -> its suffixes.
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


class Decoded(NamedTuple):
    """Mono samples, float32 (samples,), at `sampling_rate` Hz, and a hash of the samples before
    resampling, equal for the same recording in any lossless container."""

    samples: np.ndarray
    sampling_rate: int
    content_hash: str
    channels: int


def decode(
    path: str | None, data: bytes | None = None, sampling_rate: int | None = None
) -> Decoded:
    """Decode `data` (bytes of a file) or the file at `path`, mix to mono by the mean and resample
    with soxr (HQ), in blocks, so that memory holds little more than the result.

    Raises:
        NotAudioError: if it is no audio.
        AudioError: if the file is missing, empty, truncated, or has NaN or infinite samples; if its
            path is not UTF-8; if the rate is not 1 kHz to 1 MHz or the result would have more
            samples than 24 hours at 16 kHz.
    """
    name = str(path)
    try:
        require_utf8(name)
        size = len(data) if data is not None else os.path.getsize(name)
    except UserError as error:
        raise AudioError(str(error)) from None
    except (OSError, ValueError):  # a NUL in the path
        raise AudioError(f"{name}: no such file") from None
    if size == 0:
        raise AudioError(f"{name}: an empty file (0 bytes); restore or remove it")
    try:
        # The mean of two huge floats may overflow, which is found below.
        with (
            np.errstate(all="ignore"),
            soundfile.SoundFile(io.BytesIO(data) if data is not None else name) as file,
        ):
            announced = file.frames
            source_rate = file.samplerate
            kind = file.format
            own = sampling_rate or source_rate
            if (
                not _LOWEST_RATE <= source_rate <= _HIGHEST_RATE
                or announced * own > _MOST_SAMPLES * source_rate
            ):
                raise AudioError(
                    f"{name}: its header announces {announced:,} samples at {source_rate:,} Hz; rates are from 1 kHz "
                    f"to 1 MHz, and {_MOST_SAMPLES:,} samples at {own:,} Hz is the most; restore or cut it"
                )
            mono, count, content_hash, finite = _mono(file, announced, own)
            channels = file.channels
    except (RuntimeError, TypeError) as error:  # a TypeError for .raw, which has no header
        reason = str(error).rpartition(": ")[2].rstrip(".") or "unknown"
        raise NotAudioError(
            f"{name}: not readable as audio ({reason}); restore or remove this file"
        ) from None
    if count == 0:
        raise AudioError(f"{name}: holds no samples; restore or remove this file")
    if count < announced or (kind == "WAV" and _riff_size(name, data) > size):
        raise AudioError(
            f"{name}: truncated, its header announces more than the file holds; copy it again"
        )
    if not finite:
        raise AudioError(f"{name}: holds NaN or infinite samples; restore or remove this file")
    if len(mono) == 0:
        raise AudioError(
            f"{name}: too short for a single sample at {sampling_rate} Hz; remove this file"
        )
    return Decoded(mono, own, content_hash, channels)


def read_header(path: str, data: bytes | None = None) -> Any:
    """What a header announces (frames, samplerate, channels, duration); None if it cannot be read."""
    if data is None and not os.path.isfile(path):  # opening a pipe would wait
        return None
    try:
        return soundfile.info(path if data is None else io.BytesIO(data))
    except (RuntimeError, OSError, TypeError, ValueError):
        return None


def _mono(file: soundfile.SoundFile, frames: int, rate: int) -> tuple[np.ndarray, int, str, bool]:
    """The next frames as mono float32 (samples,), the number read, a hash of them, and whether all
    are finite.
    """
    hashed = xxhash.xxh3_128()
    count = 0
    written = 0
    finite = True
    rates = (file.samplerate, rate)
    stream = None
    if rate != file.samplerate and frames > _BLOCK:
        # The same samples as below, but slower for a single block.
        stream = soxr.ResampleStream(*rates, 1, dtype="float32")
    # The system gives memory only where something is written, however much a damaged header
    # announces.
    result = np.empty(
        frames if stream is None else frames * rate // file.samplerate + 2, dtype=np.float32
    )
    most = max(_BLOCK // file.channels, 1)
    while count < frames and len(
        samples := file.read(min(most, frames - count), dtype="float32", always_2d=True)
    ):
        count += len(samples)
        mono = np.ascontiguousarray(samples[:, 0]) if file.channels == 1 else samples.mean(axis=1)
        finite = finite and bool(np.isfinite(mono).all())
        hashed.update(mono)
        block = mono if stream is None else stream.resample_chunk(mono, last=count == frames)
        result[written : written + len(block)] = block
        written += len(block)
    samples = result[:written]
    if rate != file.samplerate and stream is None and count:
        samples = soxr.resample(samples, *rates)
    return samples, count, hashed.hexdigest(), finite


def _riff_size(name: str, data: bytes | None) -> int:
    """The file size in a RIFF header; 0 without one."""
    with io.BytesIO(data) if data is not None else Path(name).open("rb") as file:
        head = file.read(8)
    announced = int.from_bytes(head[4:8], "little")
    # libsndfile accepts a missing padding byte of an odd chunk.
    return (
        0
        if head[:4] != b"RIFF" or announced in _UNKNOWN_RIFF_SIZES
        else announced + 8 - (announced & 1)
    )
