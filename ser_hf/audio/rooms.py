"""Reverberation: impulse responses of rooms, generated, and the convolution with any."""

import numpy as np
from scipy.signal import fftconvolve

from .noises import gaussian, mean_power

# Before it no reflection arrives: the time that measurements of the direct-to-reverberant ratio count as direct sound
# (P. Zahorik, "Direct-to-reverberant energy ratio sensitivity", JASA 112, 2002).
DIRECT_SECONDS = 0.0025


def generated_response(
    decay: float, direct_to_reverberant: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """An impulse response by the statistical model of Polack (thesis, Le Mans 1988): the direct impulse, and from
    2.5 ms on Gaussian noise that decays exponentially.

    Args:
        decay: seconds in which the tail falls by 60 dB; it ends there.
        direct_to_reverberant: ratio of the energies of impulse and tail, in dB.

    Returns:
        float32 (samples,), the first of them the direct impulse, 1.
    """
    length = max(1, round(decay * sampling_rate))
    before = max(1, round(DIRECT_SECONDS * sampling_rate))
    fall = np.power(10, -3 / (decay * sampling_rate) * np.arange(length), dtype=np.float32)
    tail = gaussian(length, rng) * fall
    tail *= np.float32(np.sqrt(10 ** (-direct_to_reverberant / 10) / (length * mean_power(tail))))
    response = np.zeros(before + length, dtype=np.float32)
    response[0] = 1
    response[before:] = tail
    return response


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The waveform, float32 (samples,), in the room of the impulse `response`, as long and as loud as it was.

    The largest sample of the response is taken for the direct sound: what it carries stays in its place in time, and
    its gain is one before the clip's root mean square is restored. A silent clip or response leaves the clip alone.
    """
    direct = int(np.argmax(np.abs(response)))
    if response[direct] == 0:
        return waveform
    length = len(waveform)
    # What comes later than the clip is long reaches none of the samples that are kept.
    response = response[: direct + length] / response[direct]
    wet = fftconvolve(waveform, response)[direct : direct + length]
    before, after = mean_power(waveform), mean_power(wet)
    if before == 0 or after == 0:
        return waveform
    return (wet * np.float32(np.sqrt(before / after))).astype(np.float32, copy=False)
