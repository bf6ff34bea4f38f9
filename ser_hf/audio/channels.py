"""What becomes of a clip on its way into a recording: cut, moved, limited in band, telephoned, clipped, amplified."""

import functools
import io

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfiltfilt

TELEPHONE_RATE = 8000  # Hz
TELEPHONE_BAND = (300.0, 3400.0)  # Hz
# What libsndfile calls the codecs: ITU-T G.711 (both laws), GSM 06.10 full rate, IMA ADPCM of 4 bits.
_SUBTYPES = {"mu_law": "ULAW", "a_law": "ALAW", "gsm": "GSM610", "adpcm": "IMA_ADPCM"}
# The peak that a codec is given, of 16 bits: the gain control of telephones, and room for what the codec adds.
_CODEC_PEAK = 1 << 14
_ORDER = 4  # of the Butterworth filters, each run forth and back
_LEAST_EDGE = 1.0  # Hz: a lower edge would cost precision and take nothing
_MOST_EDGE = 0.98  # of the Nyquist frequency, likewise


def crop(waveform: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A piece of `share` of the clip from a random place, a view (share * samples,), one sample at the least."""
    length = max(1, round(share * len(waveform)))
    start = rng.integers(len(waveform) - length + 1)
    return waveform[start : start + length]


def time_shift(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """Later (or earlier, where negative) by so many seconds, (samples,): silence comes in, what leaves is lost. At
    least half of the clip stays."""
    most = len(waveform) // 2
    shift = int(np.clip(round(seconds * sampling_rate), -most, most))
    shifted = np.zeros_like(waveform)
    if shift >= 0:
        shifted[shift:] = waveform[: len(waveform) - shift]
    else:
        shifted[:shift] = waveform[-shift:]
    return shifted


def band_limit(waveform: np.ndarray, low: float, high: float, sampling_rate: int) -> np.ndarray:
    """Only frequencies between `low` and `high` Hz, float32 (samples,), without delay: 6 dB less at the edges, and 48
    dB an octave beyond. An edge that the sampling rate cannot hold, or under 1 Hz, takes nothing."""
    low = low if low >= _LEAST_EDGE else None
    high = high if high <= _MOST_EDGE * sampling_rate / 2 else None
    if low is None and high is None:
        return waveform
    sections = _filter(low, high, sampling_rate)
    # What is put before and after the clip against transients, scipy's own choice, must not be longer than the clip.
    padding = min(3 * (2 * len(sections) + 1), len(waveform) - 1)
    return sosfiltfilt(sections, waveform, padlen=padding).astype(np.float32)


def telephone(waveform: np.ndarray, codec: str, sampling_rate: int) -> np.ndarray:
    """As a telephone transmits it, float32 (samples,): 300 to 3400 Hz, at 8 kHz, coded and decoded.

    Args:
        codec: a key of `_SUBTYPES`. Coded at a fixed peak, so that the clip's level does not matter.
    """
    narrow = soxr.resample(waveform, sampling_rate, TELEPHONE_RATE)
    # A clip of a sample or two may vanish on the way; it comes back as silence.
    narrow = band_limit(narrow if len(narrow) else np.zeros(1, dtype=np.float32), *TELEPHONE_BAND, TELEPHONE_RATE)
    peak = np.abs(narrow).max()
    if peak > 0:
        narrow = _coded(narrow / peak, codec) * peak
    wide = soxr.resample(narrow, TELEPHONE_RATE, sampling_rate)[: len(waveform)]
    return np.pad(wide, (0, len(waveform) - len(wide)))


def clip(waveform: np.ndarray, share: float) -> np.ndarray:
    """The loudest `share` of the samples cut off at one level, (samples,). Where only silence would be left, as of a
    clip padded with zeros, it stays as it is."""
    limit = np.quantile(np.abs(waveform), 1 - share)
    return np.clip(waveform, -limit, limit) if limit > 0 else waveform


def gain(waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Louder by so many decibels, (samples,). Nothing is limited to full scale."""
    return waveform * np.float32(10 ** (decibels / 20))


@functools.lru_cache(maxsize=8)
def _filter(low: float | None, high: float | None, sampling_rate: int) -> np.ndarray:
    """Second-order sections of a band, a high or a low pass; the telephone's is asked for again and again."""
    if low is None or high is None:
        return butter(_ORDER, low or high, "highpass" if high is None else "lowpass", fs=sampling_rate, output="sos")
    return butter(_ORDER, [low, high], "bandpass", fs=sampling_rate, output="sos")


def _coded(samples: np.ndarray, codec: str) -> np.ndarray:
    """Samples within [-1, 1] through a codec and back, float32 (samples,); codecs of blocks fill up the last one."""
    # As whole numbers: of floating-point samples that are not finite libsndfile's G.711 reads beyond its tables.
    whole = np.rint(samples * _CODEC_PEAK).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, TELEPHONE_RATE, format="WAV", subtype=_SUBTYPES[codec])
    file.seek(0)
    return soundfile.read(file, dtype="int16")[0][: len(samples)] / np.float32(_CODEC_PEAK)
