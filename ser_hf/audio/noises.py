"""Noises, generated or taken from recordings, and their mixing with a clip at a signal-to-noise ratio.

The ratio is that of mean powers, both over the whole clip: pauses count, so that the ratio while somebody speaks is
higher by what pauses take (some 3 dB where half of a clip is silence).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import scipy.fft

AUDIBLE = 20.0  # Hz: what lies below it nobody hears, and brown noise would have nearly all its power there
VOICES = (3, 8)  # in babble, the fewest and the most
_LEAST_SECONDS = 0.1  # of what is generated, so that a clip of few samples has a spectrum to shape all the same


class Waveforms(Protocol):
    """What is indexed by a row and gives float32 samples, as `WaveformStore` does."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> np.ndarray: ...


def mean_power(samples: np.ndarray) -> float:
    """The mean square of the samples, summed in double precision."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """The waveform, float32 (samples,), and `noise` of the same shape at `snr` dB below it.

    With a silent clip, or silent noise, the ratio is undefined: nothing is added.
    """
    signal, other = mean_power(waveform), mean_power(noise)
    if signal == 0 or other == 0:
        return waveform
    return waveform + noise * np.float32(np.sqrt(signal / other) * 10 ** (-snr / 20))


def gaussian(length: int, rng: np.random.Generator) -> np.ndarray:
    """White noise of unit power, float32 (length,)."""
    return rng.standard_normal(length, dtype=np.float32)


def coloured(length: int, exponent: float, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power density falls with frequency as 1 / f ** `exponent`, float32 (length,): white noise, its
    spectrum shaped; nothing below 20 Hz."""
    size = scipy.fft.next_fast_len(max(length, round(_LEAST_SECONDS * sampling_rate)), real=True)
    spectrum = scipy.fft.rfft(gaussian(size, rng))
    frequencies = np.fft.rfftfreq(size, 1 / sampling_rate)
    shape = np.zeros(len(frequencies), dtype=np.float32)
    audible = frequencies >= AUDIBLE
    shape[audible] = (frequencies[audible] / AUDIBLE) ** (-exponent / 2)
    return scipy.fft.irfft(spectrum * shape, size)[:length]


def speech_shaped(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Steady noise with the clip's own long-term spectrum, float32 (samples,): its spectrum with random phases."""
    size = scipy.fft.next_fast_len(len(waveform), real=True)
    spectrum = scipy.fft.rfft(waveform, size)
    phases = rng.uniform(0, 2 * np.pi, len(spectrum)).astype(np.float32)
    return scipy.fft.irfft(spectrum * np.exp(1j * phases), size)[: len(waveform)]


def piece(recordings: Waveforms, rows: Sequence[int], length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` samples from a random place of one of the recordings, which begins anew where it is too short."""
    recording = recordings[int(rows[rng.integers(len(rows))])]
    latest = len(recording) - length
    if latest >= 0:
        start = rng.integers(latest + 1)
        return recording[start : start + length]
    return np.resize(np.roll(recording, -rng.integers(len(recording))), length)


def babble(clips: Waveforms, rows: Sequence[int], length: int, rng: np.random.Generator) -> np.ndarray:
    """Three to eight voices at once, of equal power, float32 (length,): pieces of clips among `rows`.

    The clip that it is for may be among them, as may be its speaker.
    """
    total = np.zeros(length, dtype=np.float32)
    for _ in range(rng.integers(VOICES[0], VOICES[1], endpoint=True)):
        voice = piece(clips, rows, length, rng)
        power = mean_power(voice)
        if power > 0:
            total += voice / np.float32(np.sqrt(power))
    return total
