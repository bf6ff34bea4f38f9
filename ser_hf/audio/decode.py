"""One audio file or byte string to mono float32 samples, with every way that a file can be bad told by name."""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import xxhash

from ..errors import UserError

# What libsndfile calls a format, and the suffixes that tell the truth about it.
SUFFIXES = {
    "WAV": {".wav"},
    "WAVEX": {".wav"},
    "RF64": {".wav"},
    "FLAC": {".flac"},
    "OGG": {".ogg"},
    "MP3": {".mp3"},
    "MPEG": {".mp3"},
    "AIFF": {".aiff", ".aif"},
    "AU": {".au"},
}
# WAV writers that stream (ffmpeg to a pipe) cannot know the length and leave one of these in the RIFF header.
_UNKNOWN_RIFF_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)


class AudioError(UserError):
    """A file that is no usable recording; the message names it."""


class Decoded(NamedTuple):
    """Mono samples, float32 within about [-1, 1], shape (samples,), at `sampling_rate` Hz, and the hash of the
    samples as decoded (before resampling), equal for the same recording in any lossless container. `format` is
    libsndfile's name for the container, whatever the file's suffix says."""

    samples: np.ndarray
    sampling_rate: int
    content_hash: str
    source_rate: int
    channels: int
    format: str


def decode(path: str | None, data: bytes | None = None, sampling_rate: int | None = None) -> Decoded:
    """Decodes `data` (bytes of a file) or the file at `path`, mixes to mono by the mean, resamples by soxr (HQ).

    Raises:
        AudioError: if the file is missing, empty, truncated, not audio, or holds NaN or infinite samples.
    """
    name = str(path)
    size = _size(name, data)
    try:
        with soundfile.SoundFile(io.BytesIO(data) if data is not None else name) as file:
            announced, source_rate, kind = file.frames, file.samplerate, file.format
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".") or "unknown"
        raise AudioError(f"{name}: not readable as audio ({reason}); restore or remove this file") from None
    if len(samples) == 0:
        raise AudioError(f"{name}: holds no samples; restore or remove this file")
    if len(samples) < announced or (kind == "WAV" and _riff_size(name, data) > size):
        raise AudioError(f"{name}: truncated, its header announces more than the file holds; copy it again")
    channels = samples.shape[1]
    mono = samples[:, 0] if channels == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; restore or remove this file")
    content_hash = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(mono))
    if sampling_rate not in (None, source_rate):
        mono = soxr.resample(mono, source_rate, sampling_rate)
        if len(mono) == 0:
            raise AudioError(f"{name}: too short for a single sample at {sampling_rate} Hz; remove this file")
    return Decoded(np.ascontiguousarray(mono), sampling_rate or source_rate, content_hash, source_rate, channels, kind)


def honest_suffix(path: str | Path, format: str) -> bool:
    """Whether a file's suffix belongs to its format, as libsndfile names that. A rarer format is only told where the
    suffix is another's."""
    suffix = Path(path).suffix.lower()
    return suffix in SUFFIXES.get(format, set()) or (
        format not in SUFFIXES and suffix not in set().union(*SUFFIXES.values())
    )


def _size(name: str, data: bytes | None) -> int:
    try:
        size = len(data) if data is not None else os.path.getsize(name)
    except OSError:
        raise AudioError(f"{name}: no such file") from None
    if size == 0:
        raise AudioError(f"{name}: an empty file (0 bytes); restore or remove it")
    return size


def _riff_size(name: str, data: bytes | None) -> int:
    """The file size that a RIFF header announces; 0 where it announces none."""
    if data is None:
        with Path(name).open("rb") as file:
            head = file.read(8)
    else:
        head = data[:8]
    announced = int.from_bytes(head[4:8], "little")
    # libsndfile itself reads on where only the padding byte of an odd chunk is missing.
    return 0 if head[:4] != b"RIFF" or announced in _UNKNOWN_RIFF_SIZES else announced + 8 - (announced & 1)
