"""Decoding of one audio file or byte string to mono float32 samples.

There is a clear error for each kind of bad file. A file is read to its end whatever its header
states (`ser_hf.audio.containers`): what differs is a remark, and a file that certainly lacks
samples is refused. soundfile reads and soxr resamples in blocks, so that memory contains little
more than the result. Loaders that decode a whole file at once need more memory.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr
import xxhash

from ..utils.errors import UserError
from ..utils.files import require_utf8
from .containers import Content, Layout, Part, SplicedFile, layout_of
from .remarks import Remark, RemarkKind, is_silent

SHORTEST = 0.1  # the shortest clip for a prediction, in seconds
# Suffixes of audio files.
SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"}
_BLOCK = 2**20  # samples to read at once; one hour of stereo at 44.1 kHz would be 1.3 GB
# The lowest and highest accepted sampling rate in Hz. At 1 Hz each sample would become 16,000
# samples, and at 10^9 Hz the resampling filter would be very long.
_LOWEST_RATE = 1000
_HIGHEST_RATE = 1_000_000
_MOST_SAMPLES = 24 * 3600 * 16000  # the largest result, 5.5 GB; a longer one must be a mistake
# Channels cancel each other if the power of their mean is below this share (-20 dB) of the power
# that the mean of independent channels has.
_CANCELLED_SHARE = 0.01
_LEVEL_SAMPLES = 1 << 13  # of a block, from which these powers are computed


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
        remarks: what a user should know: a header that differs from the file, channels that cancel
            each other, silence, a very short clip.
    """

    samples: np.ndarray
    sampling_rate: int
    content_hash: str
    channels: int
    remarks: tuple[Remark, ...] = ()


@dataclasses.dataclass(frozen=True)
class Header:
    """The size of a recording; for MPEG audio without a length it is counted, not decoded.

    Args:
        frames: the number of samples of one channel.
        samplerate: the sampling rate in Hz.
        channels: the number of channels.
    """

    frames: int
    samplerate: int
    channels: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.samplerate


@dataclasses.dataclass(frozen=True, eq=False)
class ReadSamples:
    """The samples of one stream of a file.

    Args:
        samples: the mono samples at the requested rate, float32 (samples,).
        count: the number of samples before resampling.
        sampling_rate: the requested rate, or that of the stream.
        channels: the number of channels.
        content_hash: the hash of the samples of this and of all earlier streams.
        finite: whether no sample is NaN or infinite.
        loudest: the loudest channel if the channels cancel each other; otherwise None.
    """

    samples: np.ndarray
    count: int
    sampling_rate: int
    channels: int
    content_hash: xxhash.xxh3_128
    finite: bool
    loudest: int | None


def decode(
    path: str | None, data: bytes | None = None, sampling_rate: int | None = None
) -> Decoded:
    """Decode a file to its end, mix it to mono by the mean, and resample it with soxr (HQ).

    Joined recordings are read one after the other. If the channels cancel each other, the loudest
    one is used in place of their mean.

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
    require_content(name, data)
    # The mean of two huge floats may overflow. The check for finite samples below finds this.
    with errors_of_file(name), np.errstate(all="ignore"), Content(name, data) as content:
        layout = layout_of(content)
        if layout.shortfall is not None:
            raise truncated(name, layout.shortfall)
        streams = _read_streams(content, layout, sampling_rate)
        if layout.may_go_on and content.unread:
            layout = layout_of(content, thorough=True)
            if layout.parts:
                streams = _read_streams(content, layout, sampling_rate)
    return checked(name, streams, layout)


@contextlib.contextmanager
def errors_of_file(name: str) -> Iterator[None]:
    """Raise errors of libsndfile and of the system as an AudioError that names the file."""
    try:
        yield
    except AudioError:
        raise
    # soundfile raises a TypeError for .raw files, which have no header.
    except (RuntimeError, TypeError) as error:
        raise NotAudioError(
            f"{name}: not readable as audio ({reason_of(error)}); restore or remove this file"
        ) from None
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({error.strerror})") from None


def checked(name: str, streams: list[ReadSamples], layout: Layout) -> Decoded:
    """The streams as one recording with its remarks; an AudioError if it is of no use."""
    if all(stream.count == 0 for stream in streams):
        raise AudioError(f"{name}: holds no samples; restore or remove this file")
    if not all(stream.finite for stream in streams):
        raise AudioError(f"{name}: holds NaN or infinite samples; restore or remove this file")

    rate = streams[0].sampling_rate
    samples = streams[0].samples
    if len(streams) > 1:
        samples = np.concatenate([stream.samples for stream in streams])
    if len(samples) == 0:
        raise AudioError(f"{name}: too short for a single sample at {rate} Hz; remove this file")

    remarks = list(layout.remarks)
    used_channels = [stream.loudest for stream in streams if stream.loudest is not None]
    if used_channels:
        detail = f"channel {used_channels[0] + 1} is used"
        remarks.append(Remark(RemarkKind.CANCELLING_CHANNELS, detail))
    if is_silent(samples):
        remarks.append(Remark(RemarkKind.SILENT))
    if len(samples) < SHORTEST * rate:
        remarks.append(Remark(RemarkKind.SHORT, f"{len(samples) / rate:.3g} s"))
    return Decoded(
        samples=samples,
        sampling_rate=rate,
        content_hash=streams[-1].content_hash.hexdigest(),
        channels=streams[0].channels,
        remarks=tuple(remarks),
    )


def read_header(path: str, data: bytes | None = None) -> Header | None:
    """Read the size of a recording without decoding it.

    Returns:
        The size, or None if the header cannot be read.
    """
    if data is None and not os.path.isfile(path):  # opening a pipe would wait
        return None
    headers = []
    try:
        with Content(path, data) as content:
            for part in layout_of(content).parts or (None,):
                with opened(content, Layout(), part) as file:
                    frames = file.frames if part is None or part.frames is None else part.frames
                    headers.append(Header(frames, file.samplerate, file.channels))
    except (RuntimeError, OSError, TypeError, ValueError):
        return None
    frames = sum(header.frames for header in headers)
    return dataclasses.replace(headers[0], frames=frames)


class _ForwardFile(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end.

    After each block soundfile seeks to the position that it has reached, if the file allows it.
    This fails at the end of some FLAC files, and a decoder does the same work again.
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def opened(content: Content, layout: Layout, part: Part | None) -> Iterator[soundfile.SoundFile]:
    """Open a part of a file, or the file itself, with libsndfile."""
    if part is not None:
        source = SplicedFile(content, part.pieces)
    elif layout.may_go_on:
        source = content.rewound()
    elif content.data is not None:
        source = io.BytesIO(content.data)
    else:
        source = content.path
    with _ForwardFile(source, closefd=False) as file:
        yield file
    if part is not None:
        source.close()


def reason_of(error: Exception) -> str:
    """The reason in an error of libsndfile."""
    return str(error).rpartition(": ")[2].rstrip(".") or "unknown"


def truncated(name: str, shortfall: str) -> AudioError:
    """The error for a file that certainly lacks samples."""
    return AudioError(
        f"{name}: truncated, {shortfall}; copy it again (to use the rest of it, convert it with "
        "ffmpeg)"
    )


def require_content(name: str, data: bytes | None) -> None:
    """Raise an AudioError if the file is missing or empty."""
    try:
        require_utf8(name)
        size = len(data) if data is not None else os.path.getsize(name)
    except UserError as error:
        raise AudioError(str(error)) from None
    except (OSError, ValueError):  # a ValueError is for a NUL in the path
        raise AudioError(f"{name}: no such file") from None
    if size == 0:
        raise AudioError(f"{name}: an empty file (0 bytes); restore or remove it")


def check_announced(name: str, file: soundfile.SoundFile, frames: int, rate: int) -> None:
    """Raise an AudioError if the header has an impossible rate, or too many samples at `rate`."""
    possible_rate = _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE
    if not possible_rate or frames * rate > _MOST_SAMPLES * file.samplerate:
        raise AudioError(
            f"{name}: its header announces {frames:,} samples at {file.samplerate:,} Hz; "
            f"rates are from 1 kHz to 1 MHz, and {_MOST_SAMPLES:,} samples at {rate:,} Hz is the "
            "most; restore or cut it"
        )


def _read_streams(content: Content, layout: Layout, sampling_rate: int | None) -> list[ReadSamples]:
    """Read all streams of a file, at the same rate."""
    content_hash = xxhash.xxh3_128()
    streams = []
    for part in layout.parts or (None,):
        stream = _read_part(content, layout, part, sampling_rate, content_hash)
        sampling_rate = stream.sampling_rate
        content_hash = stream.content_hash
        streams.append(stream)
    return streams


def _read_part(
    content: Content,
    layout: Layout,
    part: Part | None,
    sampling_rate: int | None,
    hash_before: xxhash.xxh3_128,
) -> ReadSamples:
    """Read one stream of a file.

    If its channels cancel each other, it is read once more, without mixing.
    """
    name = content.path
    with opened(content, layout, part) as file:
        frames = file.frames if part is None or part.frames is None else part.frames
        rate = sampling_rate or file.samplerate
        check_announced(name, file, frames, rate)
        stream = read_mono(name, file, frames, rate, hash_before)
    if stream.count < frames and not layout.is_estimate:
        raise truncated(name, "its header announces more than the file holds")
    if stream.loudest is None:
        return stream

    with opened(content, layout, part) as file:
        alone = read_mono(name, file, frames, rate, hash_before, channel=stream.loudest)
    return dataclasses.replace(alone, loudest=stream.loudest)


def read_mono(
    name: str,
    file: soundfile.SoundFile,
    frames: int,
    rate: int,
    hash_before: xxhash.xxh3_128,
    channel: int | None = None,
) -> ReadSamples:
    """Read the next `frames` frames of a file, mix them to mono and resample them to `rate` Hz.

    If there is a `channel`, only this one is read.
    """
    resampled = rate != file.samplerate
    stream = None
    if resampled and frames > _BLOCK:
        # A stream gives the same samples as `soxr.resample`, but is slower for a single block.
        stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")

    # The system only provides memory for the samples that are written, so that a damaged header
    # that announces too many samples needs no memory for them.
    length = frames if stream is None else frames * rate // file.samplerate + 2
    result = np.empty(length, dtype=np.float32)
    content_hash = hash_before.copy()
    levels = None if channel is not None or file.channels == 1 else _Levels(file.channels)
    count = 0
    written = 0
    finite = True
    for block in _blocks(name, file, frames):
        count += len(block)
        if levels is None:
            mono = np.ascontiguousarray(block[:, channel or 0])
        else:
            mono = block.mean(axis=1)
            levels.add(block, mono)
        finite = finite and bool(np.isfinite(mono).all())
        content_hash.update(mono)
        if stream is not None:
            mono = stream.resample_chunk(mono, last=count == frames)
        result[written : written + len(mono)] = mono
        written += len(mono)

    samples = result[:written]
    if resampled and stream is None and count:
        samples = soxr.resample(samples, file.samplerate, rate)
    return ReadSamples(
        samples=samples,
        count=count,
        sampling_rate=rate,
        channels=file.channels,
        content_hash=content_hash,
        finite=finite,
        loudest=None if levels is None else levels.loudest_if_cancelled(),
    )


def _blocks(name: str, file: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    """Yield the next `frames` frames of a file in blocks, float32 (samples, channels).

    The blocks end earlier if the file does.

    Raises:
        AudioError: if the file is damaged; the message says how many seconds can be decoded.
    """
    frames_per_block = max(_BLOCK // file.channels, 1)
    count = 0
    while count < frames:
        try:
            block = file.read(
                min(frames_per_block, frames - count), dtype="float32", always_2d=True
            )
        except RuntimeError as error:
            seconds = count / file.samplerate
            raise AudioError(
                f"{name}: truncated or damaged, it can be decoded up to {seconds:.2f} s only "
                f"({reason_of(error)}); copy it again"
            ) from None
        if len(block) == 0:
            return
        yield block
        count += len(block)


class _Levels:
    """The powers of the channels of a recording and of their mean.

    They are computed from some samples of each block, because all would take as long as decoding.
    """

    def __init__(self, channels: int):
        self.channels = np.zeros(channels)
        self.mean = 0.0

    def add(self, block: np.ndarray, mono: np.ndarray) -> None:
        """Add a block (samples, channels) and its mean (samples,)."""
        step = max(len(block) // _LEVEL_SAMPLES, 1)
        some_samples = block[::step]
        self.channels += step * np.einsum("ij,ij->j", some_samples, some_samples)
        some_samples = mono[::step]
        self.mean += step * float(np.dot(some_samples, some_samples))

    def loudest_if_cancelled(self) -> int | None:
        """The loudest channel if the channels cancel each other, otherwise None."""
        independent = self.channels.sum() / len(self.channels) ** 2
        if self.mean < _CANCELLED_SHARE * independent:
            return int(self.channels.argmax())
        return None
