"""Changes to the voice: speed, tempo, pitch, and the length of the vocal tract.

Spectra are those of frames under a Hann window, a quarter of a frame apart, by scipy.fft: on one thread, frame by
frame, so that the same samples come out in any worker. (The phase vocoders of torchaudio and librosa take longer, and
without phases locked the frames cancel each other in part: speech comes out 3 to 4 dB softer.)
"""

import functools

import numpy as np
import scipy.fft
import soxr

_OVERLAP = 4
_FRAME_SECONDS = 0.032  # three periods of a deep voice, so that its harmonics have peaks of their own
# Shorter lags of the cepstrum (s) are taken for the vocal tract's, longer ones for the glottis's. Of voices above
# 333 Hz the envelope dips between harmonics; with 2 ms first formants move half as far as they should.
_TRACT_LAG = 0.003
# Jaitly and Hinton's F_hi, 4800 Hz of 8000: the warp is straight up to there, which covers the formants that matter.
_STRAIGHT_SHARE = 0.6
_FLOOR = 1e-6  # of the largest magnitude, -120 dB: what is below has no envelope that is worth moving


def speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Played `factor` times as fast, float32 (samples / factor,): tempo, pitch and formants move together."""
    return _fitted(soxr.resample(waveform, factor, 1.0), max(1, round(len(waveform) / factor)))


def tempo(waveform: np.ndarray, factor: float, sampling_rate: int) -> np.ndarray:
    """Spoken `factor` times as fast at the same pitch, float32 (samples / factor,), by a phase vocoder.

    Phases are locked (J. Laroche and M. Dolson, "Improved phase vocoder time-scale modification of audio", IEEE
    Transactions on Speech and Audio Processing 7(3), 1999): only those of spectral peaks advance from frame to frame,
    and all bins around a peak turn as it does, which keeps them in the relation that the voice gave them.
    """
    size = _frame_size(sampling_rate)
    spectra = _spectra(waveform, size)
    steps = np.arange(0, len(spectra), factor)
    at = steps.astype(int)
    between = (steps - at).astype(np.float32)[:, None]
    spectra = np.concatenate([spectra, np.zeros_like(spectra[:1])])
    magnitudes = _magnitudes(spectra)
    phasors = spectra * (1 / np.maximum(magnitudes, np.finfo(np.float32).tiny))
    phasors[magnitudes == 0] = 1
    stretched = (1 - between) * magnitudes[at] + between * magnitudes[at + 1]
    # A peak has to go on from the frame that followed its last one, but takes its phase from the present one. Products
    # of unit phasors are sums of angles, which need neither be computed nor unwrapped.
    turns = phasors[at[:-1] + 1] * phasors[at[1:]].conj()
    rotation = np.ones_like(phasors[0])
    rotated = phasors[at]
    for turn, peak, frame in zip(turns, _nearest_peaks(stretched)[1:], rotated[1:], strict=True):
        rotation = (rotation * turn)[peak]
        frame *= rotation
    return _samples(rotated * stretched, size, max(1, round(len(waveform) / factor)))


def pitch(waveform: np.ndarray, semitones: float, sampling_rate: int) -> np.ndarray:
    """Pitch and formants moved by `semitones` at the same tempo, float32 (samples,): stretched by the phase vocoder,
    then played faster by as much."""
    ratio = 2 ** (semitones / 12)
    return _fitted(speed(tempo(waveform, 1 / ratio, sampling_rate), ratio), len(waveform))


def vocal_tract(waveform: np.ndarray, factor: float, sampling_rate: int) -> np.ndarray:
    """The voice of a vocal tract whose resonances lie `factor` times as high, float32 (samples,), after Jaitly and
    Hinton ("Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML workshop 2013).

    They warp the axis of filter banks. Of a waveform, moving the whole spectrum would move the pitch as well, so here
    the envelope (the smooth part of the cepstrum) is warped alone: each bin is multiplied by the ratio of the warped
    envelope to its own, and keeps its phase.
    """
    size = _frame_size(sampling_rate)
    spectra = _spectra(waveform, size)
    magnitudes = _magnitudes(spectra)
    loudest = magnitudes.max()
    if loudest == 0:
        return waveform
    cepstra = scipy.fft.irfft(np.log(np.maximum(magnitudes, loudest * np.float32(_FLOOR))), size)
    lags = max(1, round(_TRACT_LAG * sampling_rate))
    cepstra[:, lags : size - lags + 1] = 0
    envelope = scipy.fft.rfft(cepstra).real
    source = warped_back(np.arange(size // 2 + 1) / (size // 2), factor) * (size // 2)
    below = np.minimum(source.astype(int), size // 2 - 1)
    above = (source - below).astype(np.float32)
    moved = envelope[:, below] * (1 - above) + envelope[:, below + 1] * above
    return _samples(spectra * np.exp(moved - envelope), size, len(waveform))


def warped_back(frequencies: np.ndarray, factor: float) -> np.ndarray:
    """From which frequencies the warp by `factor` brings to `frequencies`, both as shares of the Nyquist frequency:
    times `factor` up to a corner, and from there straight on to the Nyquist frequency, which stays."""
    corner = _STRAIGHT_SHARE * min(factor, 1)  # where the corner comes to lie; it was at corner / factor
    beyond = 1 - (1 - corner / factor) / (1 - corner) * (1 - frequencies)
    return np.where(frequencies <= corner, frequencies / factor, beyond)


def _nearest_peaks(magnitudes: np.ndarray) -> np.ndarray:
    """For each bin of (frames, bins) the bin of the frame's nearest peak, one that is larger than two neighbours on
    either side; where a frame has none, its first bin."""
    centre = magnitudes[:, 2:-2]
    peaks = np.zeros(magnitudes.shape, dtype=bool)
    peaks[:, 2:-2] = (centre > magnitudes[:, 1:-3]) & (centre > magnitudes[:, 3:-1])
    peaks[:, 2:-2] &= (centre > magnitudes[:, :-4]) & (centre > magnitudes[:, 4:])
    peaks[~peaks.any(axis=1), 0] = True
    frames, at = np.nonzero(peaks)
    # A peak's region ends half-way to the next one, the last one's with its frame.
    last = np.append(frames[1:] != frames[:-1], True)
    ends = np.where(last, peaks.shape[1], (at + np.append(at[1:], 0) + 1) // 2)
    return np.repeat(at, np.diff(frames * peaks.shape[1] + ends, prepend=0)).reshape(peaks.shape)


def _frame_size(sampling_rate: int) -> int:
    return 2 ** max(4, round(np.log2(_FRAME_SECONDS * sampling_rate)))


def _spectra(waveform: np.ndarray, size: int) -> np.ndarray:
    """complex64 (frames, bins) of frames centred on every quarter of a frame, beginning with the first sample."""
    hop = size // _OVERLAP
    frames = -(-len(waveform) // hop) + 1
    padded = np.zeros((frames - 1) * hop + size, dtype=np.float32)
    padded[size // 2 : size // 2 + len(waveform)] = waveform
    return scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * _window(size))


def _samples(spectra: np.ndarray, size: int, length: int) -> np.ndarray:
    """The waveform, float32 (length,), whose frames' spectra are nearest (Griffin and Lim, 1984)."""
    hop, window = size // _OVERLAP, _window(size)
    frames = scipy.fft.irfft(spectra, size) * window
    total = np.zeros((len(frames) + _OVERLAP - 1, hop), dtype=np.float32)
    weight = np.zeros_like(total)
    for quarter in range(_OVERLAP):
        part = slice(quarter * hop, (quarter + 1) * hop)
        total[quarter : quarter + len(frames)] += frames[:, part]
        weight[quarter : quarter + len(frames)] += window[part] ** 2
    samples = total.reshape(-1)[size // 2 :] / np.maximum(weight.reshape(-1)[size // 2 :], 1e-3)
    return _fitted(samples, length)


def _magnitudes(spectra: np.ndarray) -> np.ndarray:
    return np.sqrt(spectra.real**2 + spectra.imag**2)


@functools.lru_cache(maxsize=8)
def _window(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """The first `length` samples, zeros after them where there are fewer."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
