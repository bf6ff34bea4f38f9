"""One audio file in numbers: format, length, silence, level, clipping. A bad file is measured as bad, never raised."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from ..audio.decode import decode, honest_suffix
from ..threads import in_order
from .loudness import integrated_loudness

FULL_SCALE = 0.999
CLIPPED_RUN = 3
SILENT_PEAK = 1e-3
FRAME_SECONDS = 0.01
QUIET_BELOW_LOUDEST = 40.0


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured of one file; where `error` says why it cannot be read, the rest may be None.

    Levels are in dB relative to full scale (a full-scale square wave is 0 dBFS, a full-scale sine -3.01 dBFS) of the
    mono mix, and None for digital silence. Times are in seconds, shares between 0 and 1.

    Attributes:
        bytes: size of the file.
        format, subtype: as libsndfile names them, such as ``WAV`` and ``PCM_16``.
        honest_suffix: whether the file's suffix belongs to its format.
        duration: of the audio.
        rms, peak: level of the whole file, and of its largest sample.
        loudness: gated loudness in LUFS (`integrated_loudness`).
        floor: level of the tenth part of the 10 ms frames that is quietest (the 10th percentile).
        dc_offset: mean of the samples, full scale being 1.
        clipped_share: share of the samples, over all channels, in runs of at least 3 at full scale (0.999 and above).
        leading_silence, trailing_silence, silent_share: in 10 ms frames more than 40 dB below the file's loudest one.
        silent: whether no sample reaches -60 dBFS.
        mix_loss: dB that mixing to mono takes from the channels' mean power; None for mono.
        content_hash: of the decoded samples (`ser_hf.audio.decode`).
    """

    bytes: int | None = None
    error: str | None = None
    format: str | None = None
    subtype: str | None = None
    honest_suffix: bool | None = None
    sampling_rate: int | None = None
    channels: int | None = None
    duration: float | None = None
    rms: float | None = None
    peak: float | None = None
    loudness: float | None = None
    floor: float | None = None
    dc_offset: float | None = None
    clipped_share: float | None = None
    leading_silence: float | None = None
    trailing_silence: float | None = None
    silent_share: float | None = None
    silent: bool | None = None
    mix_loss: float | None = None
    content_hash: str | None = None


def measure(path: str) -> Measurement:
    """Decodes and measures one file."""
    size = None
    try:
        size = Path(path).stat().st_size
        decoded = decode(path)
        header = soundfile.info(path)
        samples = decoded.samples
        channels = samples[:, None]
        if decoded.channels > 1:
            channels = soundfile.read(path, dtype="float32", always_2d=True)[0]
    # A header that announces terabytes is a MemoryError.
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        return Measurement(bytes=size, error=_reason(error, path))
    leading, trailing, quiet_share, floor = _silence(samples, decoded.sampling_rate)
    peak = float(np.abs(samples).max())
    return Measurement(
        bytes=size,
        format=header.format,
        subtype=header.subtype,
        honest_suffix=honest_suffix(path, header.format),
        sampling_rate=decoded.sampling_rate,
        channels=decoded.channels,
        duration=len(samples) / decoded.sampling_rate,
        rms=_decibels(_power(samples)),
        peak=_decibels(peak**2),
        loudness=integrated_loudness(samples, decoded.sampling_rate),
        floor=floor,
        dc_offset=float(samples.mean(dtype=np.float64)),
        clipped_share=clipped_share(channels),
        leading_silence=leading,
        trailing_silence=trailing,
        silent_share=quiet_share,
        silent=peak < SILENT_PEAK,
        mix_loss=_mix_loss(samples, channels),
        content_hash=decoded.content_hash,
    )


def measure_all(paths: Sequence[str], workers: int | None = None) -> Iterator[Measurement]:
    """The measurements of `paths` in their order, on threads, with a bounded number of files in memory."""
    return in_order(measure, paths, workers)


def clipped_share(channels: np.ndarray) -> float:
    """Share of the samples, shape (samples, channels), in runs of at least `CLIPPED_RUN` at either full scale."""
    # An edge of False between the channels (and at the ends) keeps runs apart.
    edged = np.zeros((channels.shape[1], len(channels) + 1), dtype=np.int8)
    clipped = 0
    for full in (channels >= FULL_SCALE, channels <= -FULL_SCALE):
        if not full.any():
            continue
        edged[:, :-1] = full.T
        steps = np.flatnonzero(np.diff(edged.ravel(), prepend=0))
        lengths = steps[1::2] - steps[::2]
        clipped += int(lengths[lengths >= CLIPPED_RUN].sum())
    return clipped / channels.size


def _silence(samples: np.ndarray, sampling_rate: int) -> tuple[float, float, float, float | None]:
    """Leading and trailing silence (seconds), the share of quiet frames, and the level of the quietest ones (dBFS)."""
    length = max(1, min(round(FRAME_SECONDS * sampling_rate), len(samples)))
    frames = len(samples) // length
    powers = np.square(samples[: frames * length].reshape(frames, length), dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (-QUIET_BELOW_LOUDEST / 10))
    floor = _decibels(float(np.percentile(powers, 10)))
    if len(loud) == 0:  # digital silence from end to end
        duration = len(samples) / sampling_rate
        return duration, duration, 1.0, floor
    leading = loud[0] * length / sampling_rate
    trailing = (len(samples) - (loud[-1] + 1) * length) / sampling_rate
    # The rest of the last frame belongs to it.
    trailing = 0.0 if loud[-1] == frames - 1 else trailing
    return float(leading), float(trailing), 1 - len(loud) / frames, floor


def _mix_loss(mono: np.ndarray, channels: np.ndarray) -> float | None:
    """How far the mono mix lies below the channels' mean power, in dB: channels out of phase cancel one another."""
    if channels.shape[1] == 1:
        return None
    before, after = _power(channels), _power(mono)
    return None if before == 0 or after == 0 else 10 * float(np.log10(before / after))


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def _decibels(power: float) -> float | None:
    return 10 * float(np.log10(power)) if power > 0 else None


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, MemoryError):
        return "its header announces more samples than memory can hold; restore or remove this file"
    shown = os.fsencode(path).decode(errors="backslashreplace")  # as `decode` tells a path that is not UTF-8
    return str(error).removeprefix(f"{shown}: ") or type(error).__name__
