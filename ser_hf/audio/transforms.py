"""Signal processing of augmentation: telephone and level, noise, reverberation, speed and pitch."""

import functools
import io
from collections.abc import Sequence

import numpy as np
import scipy  # scipy.signal takes half a second, which the check of a recipe does not wait for
import soundfile
import soxr

TELEPHONE_RATE = 8000  # Hz
# libsndfile's names of the codecs: ITU-T G.711 (both laws), GSM 06.10 full rate, IMA ADPCM of 4
# bits.
_SUBTYPES = {"mu_law": "ULAW", "a_law": "ALAW", "gsm": "GSM610", "adpcm": "IMA_ADPCM"}
# The peak before a codec, of 16 bits: as the gain control of telephones, with headroom for the
# codec.
_CODEC_PEAK = 1 << 14


@functools.cache
def _telephone_band() -> np.ndarray:
    """The filter from 300 to 3400 Hz, as second-order sections."""
    return scipy.signal.butter(4, (300.0, 3400.0), "bandpass", fs=TELEPHONE_RATE, output="sos")


def telephone(waveform: np.ndarray, codec: str, sampling_rate: int) -> np.ndarray:
    """Limit (samples,) to 300 to 3400 Hz and 8 kHz, and apply a codec of `_SUBTYPES` at a fixed
    peak.
    """
    narrow = soxr.resample(waveform, sampling_rate, TELEPHONE_RATE)
    # A clip of one or two samples may become empty; it is then silence.
    narrow = narrow if len(narrow) else np.zeros(1, dtype=np.float32)
    # scipy's default padding against transients must not be longer than the clip.
    band = _telephone_band()
    padding = min(3 * (2 * len(band) + 1), len(narrow) - 1)
    # Forward and backward, without delay.
    narrow = scipy.signal.sosfiltfilt(band, narrow, padlen=padding).astype(np.float32)
    peak = np.abs(narrow).max()
    if peak > 0:
        narrow = _coded(narrow / peak, codec) * peak
    return _fitted(soxr.resample(narrow, TELEPHONE_RATE, sampling_rate), len(waveform))


def _coded(samples: np.ndarray, codec: str) -> np.ndarray:
    """Samples within [-1, 1] through a codec and back, float32 (samples,); block codecs pad the
    last block.
    """
    # As integers, because libsndfile's G.711 reads outside its tables for samples that are not
    # finite.
    integers = np.rint(samples * _CODEC_PEAK).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, integers, TELEPHONE_RATE, format="WAV", subtype=_SUBTYPES[codec])
    file.seek(0)
    return soundfile.read(file, dtype="int16")[0][: len(samples)] / np.float32(_CODEC_PEAK)


def gain(waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Raise the level of (samples,) by `decibels`; samples may exceed full scale."""
    return waveform * np.float32(10 ** (decibels / 20))


# Noise

AUDIBLE = 20.0  # Hz: brown noise would have nearly all its power below it
_LEAST_SECONDS = 0.1  # of generated noise, so that there is a spectrum for a clip of few samples


def mean_power(samples: np.ndarray) -> float:
    """The mean square of the samples, summed in double precision."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio, by mean powers over the whole clip.

    Args:
        waveform, noise: float32 (samples,) of the same length.
        snr: dB. It is undefined for a silent clip or silent noise: nothing is added then.
    """
    signal = mean_power(waveform)
    other = mean_power(noise)
    if signal == 0 or other == 0:
        return waveform
    return waveform + noise * np.float32(np.sqrt(signal / other) * 10 ** (-snr / 20))


def gaussian(length: int, rng: np.random.Generator) -> np.ndarray:
    """White noise of unit power, float32 (length,)."""
    return rng.standard_normal(length, dtype=np.float32)


def colored(
    length: int, exponent: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise, float32 (length,), with a power density of 1 / f ** `exponent` (f in Hz), and nothing
    below 20 Hz.
    """
    size = scipy.fft.next_fast_len(max(length, round(_LEAST_SECONDS * sampling_rate)), real=True)
    spectrum = scipy.fft.rfft(gaussian(size, rng))
    frequencies = np.fft.rfftfreq(size, 1 / sampling_rate)
    shape = np.zeros(len(frequencies), dtype=np.float32)
    audible = frequencies >= AUDIBLE
    shape[audible] = (frequencies[audible] / AUDIBLE) ** (-exponent / 2)
    return scipy.fft.irfft(spectrum * shape, size)[:length]


def random_crop(
    recordings: Sequence[np.ndarray], length: int, rng: np.random.Generator
) -> np.ndarray:
    """`length` samples from a random place of one of the recordings, repeated if it is too short."""
    recording = recordings[int(rng.integers(len(recordings)))]
    latest = len(recording) - length
    if latest >= 0:
        start = rng.integers(latest + 1)
        return recording[start : start + length]
    return np.resize(np.roll(recording, -rng.integers(len(recording))), length)


# Reverberation

# The first reflection: measurements of the direct-to-reverberant ratio count the time before it as
# direct sound (P. Zahorik, "Direct-to-reverberant energy ratio sensitivity", JASA 112, 2002).
DIRECT_SECONDS = 0.0025


def generated_response(
    decay: float, direct_to_reverberant: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A room's impulse response, float32 (samples,), by the model of Polack (thesis, Le Mans 1988):
    an impulse, then from 2.5 ms on Gaussian noise that decays by 60 dB in `decay` seconds, with
    this ratio of energies in dB."""
    length = max(1, round(decay * sampling_rate))
    before = max(1, round(DIRECT_SECONDS * sampling_rate))
    fall = np.power(10, -3 / (decay * sampling_rate) * np.arange(length), dtype=np.float32)
    tail = gaussian(length, rng) * fall
    tail *= np.float32(np.sqrt(10 ** (-direct_to_reverberant / 10) / (length * mean_power(tail))))
    return np.concatenate([np.float32([1]), np.zeros(before - 1, np.float32), tail])


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve a clip with a room's impulse response; length and mean power stay.

    Args:
        waveform: float32 (samples,).
        response: float32 (any samples,). Its largest sample is the direct sound, which keeps its
            place in time.

    Returns:
        float32 (samples,); the clip itself if it or the response is silent.
    """
    direct = int(np.argmax(np.abs(response)))
    if response[direct] == 0:
        return waveform
    length = len(waveform)
    # Later samples of the response do not reach the samples that are kept.
    response = response[: direct + length] / response[direct]
    wet = scipy.signal.fftconvolve(waveform, response)[direct : direct + length]
    before = mean_power(waveform)
    after = mean_power(wet)
    if before == 0 or after == 0:
        return waveform
    return (wet * np.float32(np.sqrt(before / after))).astype(np.float32, copy=False)


# Speed and pitch

_OVERLAP = 4
_FRAME_SECONDS = 0.032  # three periods of a deep voice, so that its harmonics have separate peaks


def speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Play `factor` times as fast, (samples,) -> (samples / factor,): tempo and pitch change (Ko et
    al. 2015).
    """
    return _fitted(soxr.resample(waveform, factor, 1.0), max(1, round(len(waveform) / factor)))


def tempo(waveform: np.ndarray, factor: float, sampling_rate: int) -> np.ndarray:
    """`factor` times as fast at the same pitch, float32 (samples / factor,), by a phase vocoder
    with locked phases (Laroche and Dolson 1999): only those of spectral peaks advance, and all bins
    around a peak rotate with it. Without that, as in librosa and torchaudio, half of the power is
    lost."""
    size = 2 ** max(4, round(np.log2(_FRAME_SECONDS * sampling_rate)))
    spectra = _spectra(waveform, size)
    steps = np.arange(0, len(spectra), factor)
    at = steps.astype(int)
    between = (steps - at).astype(np.float32)[:, None]
    spectra = np.concatenate([spectra, np.zeros_like(spectra[:1])])
    magnitudes = np.abs(spectra)
    phasors = spectra * (1 / np.maximum(magnitudes, np.finfo(np.float32).tiny))
    phasors[magnitudes == 0] = 1
    stretched = (1 - between) * magnitudes[at] + between * magnitudes[at + 1]
    # A peak continues from the frame after its last one, but takes its phase from the present one.
    # Products of unit phasors are sums of angles, without computing or unwrapping angles.
    turns = phasors[at[:-1] + 1] * phasors[at[1:]].conj()
    rotation = np.ones_like(phasors[0])
    rotated = phasors[at]
    for turn, peak, frame in zip(turns, _nearest_peaks(stretched)[1:], rotated[1:], strict=True):
        rotation = (rotation * turn)[peak]
        frame *= rotation
    return _samples(rotated * stretched, size, max(1, round(len(waveform) / factor)))


def pitch(waveform: np.ndarray, semitones: float, sampling_rate: int) -> np.ndarray:
    """Shift pitch and formants by `semitones`, (samples,) -> (samples,): stretch in a phase
    vocoder, then resample.
    """
    ratio = 2 ** (semitones / 12)
    return _fitted(speed(tempo(waveform, 1 / ratio, sampling_rate), ratio), len(waveform))


def _nearest_peaks(magnitudes: np.ndarray) -> np.ndarray:
    """For each bin of (frames, bins) the nearest peak (larger than two neighbors on either side),
    or the first bin.
    """
    peaks = np.zeros(magnitudes.shape, dtype=bool)
    peaks[:, 2:-2] = magnitudes[:, 2:-2] > np.maximum.reduce(
        [magnitudes[:, i : i - 4 or None] for i in (0, 1, 3, 4)]
    )
    peaks[~peaks.any(axis=1), 0] = True
    frames, at = np.nonzero(peaks)
    # A peak's region ends half-way to the next peak, the last one with its frame.
    last = np.append(frames[1:] != frames[:-1], True)
    ends = np.where(last, peaks.shape[1], (at + np.append(at[1:], 0) + 1) // 2)
    return np.repeat(at, np.diff(frames * peaks.shape[1] + ends, prepend=0)).reshape(peaks.shape)


def _spectra(waveform: np.ndarray, size: int) -> np.ndarray:
    """complex64 (frames, bins) of frames centered on every quarter of a frame, beginning with the
    first sample.
    """
    hop = size // _OVERLAP
    frames = -(-len(waveform) // hop) + 1
    padded = np.zeros((frames - 1) * hop + size, dtype=np.float32)
    padded[size // 2 : size // 2 + len(waveform)] = waveform
    return scipy.fft.rfft(
        np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * _window(size)
    )


def _samples(spectra: np.ndarray, size: int, length: int) -> np.ndarray:
    """The waveform, float32 (length,), whose frames' spectra are nearest (Griffin and Lim, 1984)."""
    hop = size // _OVERLAP
    window = _window(size)
    frames = scipy.fft.irfft(spectra, size) * window
    total = np.zeros((len(frames) + _OVERLAP - 1, hop), dtype=np.float32)
    weight = np.zeros_like(total)
    for quarter in range(_OVERLAP):
        part = slice(quarter * hop, (quarter + 1) * hop)
        total[quarter : quarter + len(frames)] += frames[:, part]
        weight[quarter : quarter + len(frames)] += window[part] ** 2
    samples = total.reshape(-1)[size // 2 :] / np.maximum(weight.reshape(-1)[size // 2 :], 1e-3)
    return _fitted(samples, length)


@functools.lru_cache(maxsize=8)
def _window(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut to `length` samples, or append zeros up to it."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
