"""Programme loudness of one recording, after ITU-R BS.1770-5 (the measure behind LUFS and EBU R 128)."""

import math

import numpy as np
from scipy.signal import sosfilt

_BLOCK_SECONDS = 0.4
_HOP_SECONDS = 0.1
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
# The analogue filters whose bilinear transform at 48 kHz gives the recommendation's own table of coefficients; other
# rates take the same prototypes (Hz, dB, quality).
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)


def integrated_loudness(samples: np.ndarray, sampling_rate: int) -> float | None:
    """Gated loudness in LUFS of mono samples, shape (samples,); a full-scale 997 Hz sine measures -3.01.

    Blocks of 400 ms every 100 ms; those below -70 LUFS, then those 10 LU below the mean of the rest, do not count. A
    recording shorter than a block is one block, which the recommendation leaves undefined.

    Returns:
        None where no block is above -70 LUFS, or the rate is too low for the weighting filter.
    """
    if sampling_rate < 4 * _SHELF[0]:
        return None
    power = np.square(sosfilt(k_weighting(sampling_rate), samples.astype(np.float64)))
    block, hop = round(_BLOCK_SECONDS * sampling_rate), round(_HOP_SECONDS * sampling_rate)
    if len(power) <= block:
        means = np.array([power.mean()])
    else:
        sums = np.concatenate([[0.0], np.cumsum(power)])
        starts = np.arange(0, len(power) - block + 1, hop)
        means = (sums[starts + block] - sums[starts]) / block
    means = means[means > _power(_ABSOLUTE_GATE)]
    if len(means) == 0:
        return None
    means = means[means > _power(_level(means.mean()) + _RELATIVE_GATE)]
    return _level(means.mean())


def k_weighting(sampling_rate: int) -> np.ndarray:
    """The recommendation's two filters (head shelf, then high-pass) as second-order sections, shape (2, 6)."""
    frequency, gain, quality = _SHELF
    k = math.tan(math.pi * frequency / sampling_rate)
    high = 10 ** (gain / 20)
    band = high**0.4996667741545416
    norm = 1 + k / quality + k * k
    shelf = [(high + band * k / quality + k * k) / norm, 2 * (k * k - high) / norm]
    shelf += [(high - band * k / quality + k * k) / norm, 1, 2 * (k * k - 1) / norm, (1 - k / quality + k * k) / norm]
    frequency, quality = _HIGH_PASS
    k = math.tan(math.pi * frequency / sampling_rate)
    norm = 1 + k / quality + k * k
    high_pass = [1, -2, 1, 1, 2 * (k * k - 1) / norm, (1 - k / quality + k * k) / norm]
    return np.array([shelf, high_pass])


def _level(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(level: float) -> float:
    return 10 ** ((level + 0.691) / 10)
