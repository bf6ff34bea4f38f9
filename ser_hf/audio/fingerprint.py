"""Audio fingerprints: 32 bits for each 8 ms of a clip that survive a codec, another level and another sampling rate.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002: heavily overlapping frames,
33 logarithmic bands, and of each pair of neighbouring bands and frames the sign of the difference of differences of
energy. Changed for clips of speech of a few seconds:

- frames of 128 ms rather than 370 ms, so that a second holds several independent ones;
- bands from 300 to 3200 Hz rather than 2000 Hz: what a telephone leaves of a voice;
- energies in logarithms, so that neither a gain nor a filter moves a bit, and differences over 64 ms rather than over
  one hop, which stand out further from a codec's noise;
- frames far below the clip's loud ones do not count: in pauses the bits are those of the noise.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import soxr

RATE = 8000  # Hz: the analysis hears what a telephone transmits
BAND = (300.0, 3200.0)  # Hz
BITS = 32  # of a sub-fingerprint
FRAME = 1024  # samples
HOP = 64  # samples
HOP_SECONDS = HOP / RATE
# Between the two frames whose difference gives the bits: half a frame, which a Hann window makes nearly independent.
_LAG = 8
ACTIVE_DB = 30.0
# A band that far below the loud frames is rounding and dither; a floor keeps its logarithm still.
_FLOOR_DB = 60.0
_BLOCK = 128  # frames at once: half a megabyte, which stays in a core's cache
_WINDOW = np.hanning(FRAME).astype(np.float32)
_EDGES = np.rint(np.geomspace(*BAND, BITS + 2) * FRAME / RATE).astype(int)


class Fingerprint(NamedTuple):
    """Sub-fingerprints of a clip, one each `HOP_SECONDS`: `bits` uint32 (frames,), `active` bool (frames,), False
    where the clip is too quiet for the bits to mean anything."""

    bits: np.ndarray
    active: np.ndarray


def fingerprint(samples: np.ndarray, sampling_rate: int) -> Fingerprint:
    """The fingerprint of mono samples, shape (samples,), at `sampling_rate` Hz.

    Frames lie wholly within the clip, so that a cut by whole hops takes bits away and changes hardly any that stay.
    Clips under 0.19 s give an empty fingerprint.
    """
    energies = _band_energies(np.asarray(samples, dtype=np.float32), sampling_rate)
    if len(energies) <= _LAG:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, bool))
    totals = energies.sum(axis=1)
    loud = np.quantile(totals, 0.95)
    levels = np.log(energies + np.float32(loud * 10 ** (-_FLOOR_DB / 10)) + np.finfo(np.float32).tiny)
    slopes = levels[:, 1:] - levels[:, :-1]
    rising = slopes[_LAG:] > slopes[:-_LAG]
    bits = np.packbits(rising, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
    active = totals > loud * 10 ** (-ACTIVE_DB / 10)
    # Both frames of a difference have to be heard.
    return Fingerprint(bits, active[_LAG:] & active[:-_LAG])


def _band_energies(samples: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Energy in each band of each frame, float32 (frames, BITS + 1)."""
    if sampling_rate != RATE:
        samples = soxr.resample(samples, sampling_rate, RATE)
    if len(samples) < FRAME:
        return np.zeros((0, BITS + 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    blocks = []
    for begin in range(0, len(frames), _BLOCK):
        spectra = scipy.fft.rfft(frames[begin : begin + _BLOCK] * _WINDOW, axis=1)
        spectra = spectra[:, : _EDGES[-1]]
        powers = spectra.real**2 + spectra.imag**2
        blocks.append(np.add.reduceat(powers, _EDGES[:-1], axis=1))
    return np.concatenate(blocks)
