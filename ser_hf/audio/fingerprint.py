"""Fingerprints of sound: bits that stay when a clip is cut, re-encoded or changed in level.

J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002: each bit of a
frame is the sign of a difference of energies, between neighboring bands and between two frames.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr

RATE = 8000  # Hz: the analysis covers the band of a telephone
BAND = (300.0, 3200.0)  # Hz
BITS = 32  # of one frame
FRAME = 1024  # samples
HOP = 64  # samples
HOP_SECONDS = HOP / RATE
# A frame is active from this level on, relative to the loud frames of its clip.
ACTIVE_DB = 30.0

# Between the two frames whose difference gives the bits: half a frame, which a Hann window makes
# nearly independent.
_LAG = 8
# A band that far below the loud frames is rounding and dither; a floor keeps its logarithm
# constant.
_FLOOR_DB = 60.0
_BLOCK_FRAMES = 128  # frames at once: half a megabyte, which stays in a core's cache
_WINDOW = np.hanning(FRAME).astype(np.float32)
# The first bins of the bands, one more than bits because a bit compares two bands, and the end.
_EDGES = np.rint(np.geomspace(*BAND, BITS + 2) * FRAME / RATE).astype(int)


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a clip, with one frame each `HOP_SECONDS`.

    Attributes:
        bits: uint32 (frames,).
        active: bool (frames,); False where the clip is too quiet for the bits to mean anything.
    """

    bits: np.ndarray
    active: np.ndarray


def fingerprint(samples: np.ndarray, sampling_rate: int) -> Fingerprint:
    """Compute the fingerprint of a clip.

    Args:
        samples: mono, (samples,).
        sampling_rate: Hz.

    Returns:
        The fingerprint, which is empty for clips under 0.19 s.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if sampling_rate != RATE:
        samples = soxr.resample(samples, sampling_rate, RATE)
    if len(samples) < FRAME + _LAG * HOP:
        return Fingerprint(bits=np.zeros(0, np.uint32), active=np.zeros(0, bool))

    energies = _band_energies(samples)
    totals = energies.sum(axis=1)
    loud = np.quantile(totals, 0.95)
    floor = np.float32(loud * 10 ** (-_FLOOR_DB / 10))
    levels = np.log(energies + floor + np.finfo(np.float32).tiny)

    slopes = np.diff(levels, axis=1)
    rising = slopes[_LAG:] > slopes[:-_LAG]
    bits = np.packbits(rising, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)

    # Both frames of a difference must be active.
    active = totals > loud * 10 ** (-ACTIVE_DB / 10)
    return Fingerprint(bits=bits, active=active[_LAG:] & active[:-_LAG])


def _band_energies(samples: np.ndarray) -> np.ndarray:
    """Energies of the bands at `RATE`: (samples,) -> float32 (frames, `BITS` + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    blocks = []
    for begin in range(0, len(frames), _BLOCK_FRAMES):
        windowed = frames[begin : begin + _BLOCK_FRAMES] * _WINDOW
        spectra = scipy.fft.rfft(windowed, axis=1)[:, : _EDGES[-1]]
        powers = spectra.real**2 + spectra.imag**2
        blocks.append(np.add.reduceat(powers, _EDGES[:-1], axis=1))
    return np.concatenate(blocks)
