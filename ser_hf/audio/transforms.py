"""Signal processing of augmentation and of the conditions of `--robustness`.

torchaudio changes speed and level, adds noise and limits the band of frequencies. Other libraries
do the rest better. Measured with
torchaudio 2.11 and librosa 0.11 on clips of 3 s at 16 kHz, in time of one core:

- Pitch and tempo: `pitch` takes 13 ms and keeps the level to 0.2 dB. librosa takes 27 ms,
  `torchaudio.functional.pitch_shift` 15 s, because it computes a filter for each sample of a ratio
  such as 16000 / 17959 (1.1 s where the filters are kept). Neither locks phases: the level falls by
  2.3 to 2.8 dB. `librosa.effects.time_stretch` takes 18 ms, `tempo` 5 ms.
- Convolution: the results agree to 2e-7, but scipy takes 1.6 ms and
  `torchaudio.functional.fftconvolve` 21 ms (5.6 ms where a clip is padded to a length with small
  factors; the last digit then depends on the number of threads, but a clip must be the same in a
  worker of a DataLoader).
- The band of a telephone: scipy filters forward and backward in 1.0 ms;
  `torchaudio.functional.filtfilt` takes 1.6 ms, with equal samples except at the ends, beyond which
  scipy continues the clip. soxr halves the rate in 0.3 ms, torchaudio in 2 ms with a filter as
  steep.
- Codecs: libsndfile has the code words of G.711, GSM and ADPCM. `mu_law_encoding` of torchaudio
  rounds the curve that G.711 approximates by straight lines. It is as fast (0.4 and 0.5 ms), but
  3 % of the decoded samples are equal, and the difference is louder than the codec's own noise.

Every function has an equal result for equal arguments, in any thread and process.
"""

import functools
import io
from collections.abc import Callable, Sequence

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
    """Limit a clip to 300 to 3400 Hz and 8 kHz, and apply a codec.

    Args:
        waveform: float32 (samples,).
        codec: ``"mu_law"``, ``"a_law"``, ``"gsm"`` or ``"adpcm"``. It sees the clip at a fixed
            peak.
        sampling_rate: Hz.

    Returns:
        float32 (samples,).
    """
    narrow = soxr.resample(waveform, sampling_rate, TELEPHONE_RATE)
    if len(narrow) == 0:  # of one or two samples; it is then silence
        narrow = np.zeros(1, dtype=np.float32)

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
    """Encode samples within [-1, 1] with a codec and decode them again, float32 (samples,).

    Codecs that work in blocks pad the last one.
    """
    # As integers, because libsndfile's G.711 reads outside its tables for samples that are not
    # finite.
    integers = np.rint(samples * _CODEC_PEAK).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, integers, TELEPHONE_RATE, format="WAV", subtype=_SUBTYPES[codec])
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="int16")
    return decoded[: len(samples)] / np.float32(_CODEC_PEAK)


# MP3 (MPEG-2 layer III) at its rate for speech. libsndfile maps compression levels from 0 to 1
# linearly to its bit rates (kbit/s), and does not accept 1.
_MP3_RATE = 16000  # Hz
_MP3_BIT_RATES = (8, 160)
_MOST_COMPRESSION = 0.999
# Samples by which encoder and decoder delay the clip: 576 and 529.
_MP3_DELAY = 1105


def has_mp3() -> bool:
    """Whether the installed libsndfile was built with an encoder and a decoder of MP3."""
    return "MP3" in soundfile.available_formats()


def mp3(waveform: np.ndarray, kilobits: float, sampling_rate: int) -> np.ndarray:
    """Encode a clip as MP3 with a constant bit rate at 16 kHz, and decode it again.

    Args:
        waveform: float32 (samples,). A clip beyond full scale is encoded at full scale and gets its
            level back.
        kilobits: kbit/s, one of the bit rates of MPEG-2 layer III: 8, 16, 24, 32, 40 and so on.
        sampling_rate: Hz.

    Returns:
        float32 (samples,), without delay.
    """
    peak = max(np.float32(1), np.abs(waveform).max())
    samples = soxr.resample(waveform / peak, sampling_rate, _MP3_RATE)
    if len(samples) == 0:  # of one or two samples; it is then silence
        samples = np.zeros(1, dtype=np.float32)

    least, most = _MP3_BIT_RATES
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        _MP3_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=min((most - kilobits) / (most - least), _MOST_COMPRESSION),
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    # From 40 kbit/s on, the file has a header with the delay, which the decoder then removes.
    if len(decoded) > len(samples):
        decoded = decoded[_MP3_DELAY:]
    decoded = _fitted(decoded, len(samples))
    return _fitted(soxr.resample(decoded, _MP3_RATE, sampling_rate), len(waveform)) * peak


def clip(waveform: np.ndarray, share: float) -> np.ndarray:
    """Clip the loudest `share` of the samples (samples,) at one level.

    A clip that would become silent, such as a clip of which more is padded with zeros, is
    unchanged.
    """
    limit = np.quantile(np.abs(waveform), 1 - share)
    if limit == 0:
        return waveform
    return np.clip(waveform, -limit, limit)


# The quality factors of the two biquads of a Butterworth filter of fourth order.
_BUTTERWORTH = (0.5412, 1.3066)
_LEAST_EDGE = 1.0  # Hz; a lower edge removes nothing
_MOST_EDGE = 0.98  # of the Nyquist frequency, likewise
# torchaudio's filters clip at full scale, so they get the clip with this peak.
_FILTER_PEAK = 1 / 64


def band_limit(waveform: np.ndarray, low: float, high: float, sampling_rate: int) -> np.ndarray:
    """Limit a clip to the frequencies between two edges, by Butterworth filters of fourth order.

    At the edges, the power is halved (-3 dB). It falls by 24 dB in each octave beyond.

    Args:
        waveform: float32 (samples,).
        low: Hz; no effect below 1 Hz.
        high: Hz; no effect from 98 % of half of the sampling rate.
        sampling_rate: Hz.

    Returns:
        float32 (samples,); the waveform itself if no edge has an effect.
    """
    import torch
    from torchaudio import functional

    limits_low = low >= _LEAST_EDGE
    limits_high = high < _MOST_EDGE * sampling_rate / 2
    peak = float(np.abs(waveform).max())
    if peak == 0 or not (limits_low or limits_high):
        return waveform
    scale = peak / _FILTER_PEAK
    # In double precision: the poles of a low edge are too near to each other for single precision.
    filtered = torch.tensor(waveform, dtype=torch.float64) / scale
    for quality in _BUTTERWORTH:
        if limits_low:
            filtered = functional.highpass_biquad(filtered, sampling_rate, low, quality)
        if limits_high:
            filtered = functional.lowpass_biquad(filtered, sampling_rate, high, quality)
    return (filtered * scale).numpy().astype(np.float32)


def gain(waveform: np.ndarray, decibels: float) -> np.ndarray:
    """Raise the level of (samples,) by `decibels`; samples may exceed full scale."""
    import torch
    from torchaudio import functional

    return functional.gain(torch.tensor(waveform), decibels).numpy()


# Noise

AUDIBLE = 20.0  # Hz: brown noise would have nearly all its power below it
_LEAST_SECONDS = 0.1  # of generated noise, so that there is a spectrum for a clip of few samples
# Mean power below which a clip is silent: float32 has no squares of such samples.
_SILENT = 1e-30


def mean_power(samples: np.ndarray) -> float:
    """The mean square of the samples, summed in double precision."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio, by mean powers over the whole clip.

    Args:
        waveform: float32 (samples,).
        noise: float32 (samples,).
        snr: dB. It is undefined for a silent clip or silent noise: nothing is added then.

    Returns:
        float32 (samples,); the waveform itself if nothing is added.
    """
    import torch
    from torchaudio import functional

    if mean_power(waveform) < _SILENT or mean_power(noise) < _SILENT:
        return waveform
    noisy = functional.add_noise(torch.tensor(waveform), torch.tensor(noise), torch.tensor(snr))
    return noisy.numpy()


def gaussian(length: int, rng: np.random.Generator) -> np.ndarray:
    """White noise of unit power, float32 (length,)."""
    return rng.standard_normal(length, dtype=np.float32)


def colored(
    length: int, exponent: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise with a power density of 1 / f ** `exponent` (f in Hz), and nothing below 20 Hz.

    Returns:
        float32 (length,).
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
    """`length` samples from a random place of one of the recordings.

    A recording that is too short is repeated.
    """
    return _cropped(recordings[int(rng.integers(len(recordings)))], length, rng)


def _cropped(recording: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` samples from a random place of a recording, which is repeated if it is too short."""
    latest = len(recording) - length
    if latest >= 0:
        start = rng.integers(latest + 1)
        return recording[start : start + length]
    return np.resize(np.roll(recording, -rng.integers(len(recording))), length)


def babble(
    voices: Sequence[np.ndarray], count: int, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Several voices that speak at once: random segments of different clips, added up.

    Args:
        voices: the clips to choose from, float32 (any samples,) each. Each gets a mean power of 1,
            over the whole clip, so that a segment with a pause is not amplified.
        count: number of voices; all clips are used if there are fewer.
        length: number of samples.
        rng: draws the clips and the places of the segments.

    Returns:
        float32 (length,).
    """
    total = np.zeros(length, dtype=np.float32)
    for index in rng.choice(len(voices), size=min(count, len(voices)), replace=False):
        voice = voices[int(index)]
        power = mean_power(voice)
        segment = _cropped(voice, length, rng)
        if power > _SILENT:
            total += segment / np.float32(np.sqrt(power))
    return total


# Reverberation

# The first reflection: measurements of the direct-to-reverberant ratio count the time before it as
# direct sound (P. Zahorik, "Direct-to-reverberant energy ratio sensitivity", JASA 112, 2002).
DIRECT_SECONDS = 0.0025


def generated_response(
    decay: float, direct_to_reverberant: float, sampling_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A room's impulse response by the model of Polack (thesis, Le Mans 1988).

    It is an impulse, then from 2.5 ms on Gaussian noise that decays by 60 dB in `decay` seconds,
    with this ratio of energies in dB.

    Returns:
        float32 (samples,).
    """
    length = max(1, round(decay * sampling_rate))
    before = max(1, round(DIRECT_SECONDS * sampling_rate))
    fall = np.power(10, -3 / (decay * sampling_rate) * np.arange(length), dtype=np.float32)
    tail = gaussian(length, rng) * fall
    tail *= np.float32(np.sqrt(10 ** (-direct_to_reverberant / 10) / (length * mean_power(tail))))
    return np.concatenate([np.float32([1]), np.zeros(before - 1, np.float32), tail])


def decay_time(response: np.ndarray, sampling_rate: int) -> float:
    """The reverberation time RT60 of an impulse response, in seconds; 0 if it has no reverberation.

    It follows from the decay from -5 to -25 dB of the energy that remains (T20 of ISO 3382-1;
    M. R. Schroeder, "New method of measuring reverberation time", JASA 37, 1965).
    """
    direct = int(np.argmax(np.abs(response)))
    energy = np.square(response[direct:], dtype=np.float64)
    remaining = np.cumsum(energy[::-1])[::-1]
    if remaining[0] == 0:
        return 0.0
    fallen = remaining <= remaining[0] * 10**-0.5  # 5 dB
    spent = remaining <= remaining[0] * 10**-2.5  # 25 dB
    first = int(np.argmax(fallen))
    last = int(np.argmax(spent)) if spent.any() else len(remaining)
    if not fallen.any() or last - first < 2:
        return 0.0
    levels = 10 * np.log10(remaining[first:last])
    slope = np.polyfit(np.arange(first, last) / sampling_rate, levels, 1)[0]
    return -60 / float(slope) if slope < 0 else 0.0


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


# Time, speed and pitch


def time_shift(waveform: np.ndarray, seconds: float, sampling_rate: int) -> np.ndarray:
    """Shift a clip later (below 0: earlier), and fill up with zeros.

    Args:
        waveform: float32 (samples,).
        seconds: limited to half of the clip, so that at least half of it remains.
        sampling_rate: Hz.

    Returns:
        float32 (samples,).
    """
    most = len(waveform) // 2
    shift = int(np.clip(round(seconds * sampling_rate), -most, most))
    shifted = np.zeros_like(waveform)
    if shift >= 0:
        shifted[shift:] = waveform[: len(waveform) - shift]
    else:
        shifted[:shift] = waveform[-shift:]
    return shifted


_OVERLAP = 4
_FRAME_SECONDS = 0.032  # three periods of a deep voice, so that its harmonics have separate peaks
# A speed is a ratio of whole numbers to this one: torchaudio has one filter for each sample of it.
_STEPS_OF_SPEED = 100
# Zero crossings on either side of torchaudio's filter, for an error of -70 dB. Its default of 6 has
# -30 dB.
_FILTER_WIDTH = 32


def speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (above 1) or slower: tempo, pitch and formants change.

    Ko et al. 2015, "Audio augmentation for speech recognition", Interspeech.

    Args:
        waveform: float32 (samples,).
        factor: rounded to hundredths.

    Returns:
        float32 (samples / factor,).
    """
    import torch

    hundredths = max(1, round(factor * _STEPS_OF_SPEED))
    faster = _resampler(hundredths)(torch.tensor(waveform)).numpy()
    return _fitted(faster, max(1, round(len(waveform) * _STEPS_OF_SPEED / hundredths)))


@functools.lru_cache(maxsize=64)
def _resampler(hundredths: int) -> Callable:
    """The resampling filters for a speed, cached because computing them takes long."""
    from torchaudio.transforms import Resample

    return Resample(hundredths, _STEPS_OF_SPEED, lowpass_filter_width=_FILTER_WIDTH)


def tempo(waveform: np.ndarray, factor: float, sampling_rate: int) -> np.ndarray:
    """Play faster or slower at the same pitch, by a phase vocoder with locked phases.

    Laroche and Dolson 1999, "Improved phase vocoder time-scale modification of audio": only the
    phases of spectral peaks advance, and all bins around a peak rotate with it. Without that, as in
    librosa and torchaudio, half of the power is lost.

    Args:
        waveform: float32 (samples,).
        factor: how many times as fast.
        sampling_rate: Hz.

    Returns:
        float32 (samples / factor,).
    """
    size = 2 ** max(4, round(np.log2(_FRAME_SECONDS * sampling_rate)))
    spectra = _spectra(waveform, size)

    # Each new frame lies between two frames of the clip.
    positions = np.arange(0, len(spectra), factor)
    before = positions.astype(int)
    share_after = (positions - before).astype(np.float32)[:, None]
    spectra = np.concatenate([spectra, np.zeros_like(spectra[:1])])
    magnitudes = np.abs(spectra)
    stretched = (1 - share_after) * magnitudes[before] + share_after * magnitudes[before + 1]

    phasors = spectra * (1 / np.maximum(magnitudes, np.finfo(np.float32).tiny))
    phasors[magnitudes == 0] = 1
    # A peak continues from the frame after its last one, but takes its phase from the present one.
    # Products of unit phasors are sums of angles, without computing or unwrapping angles.
    turns = phasors[before[:-1] + 1] * phasors[before[1:]].conj()
    peaks = _nearest_peaks(stretched)[1:]
    rotation = np.ones_like(phasors[0])
    rotated = phasors[before]
    for turn, peak, frame in zip(turns, peaks, rotated[1:], strict=True):
        rotation = (rotation * turn)[peak]
        frame *= rotation
    return _samples(rotated * stretched, size, max(1, round(len(waveform) / factor)))


def pitch(waveform: np.ndarray, semitones: float, sampling_rate: int) -> np.ndarray:
    """Shift pitch and formants by `semitones`: stretch in a phase vocoder, then resample.

    Args:
        waveform: float32 (samples,).
        semitones: any number.
        sampling_rate: Hz.

    Returns:
        float32 (samples,).
    """
    ratio = 2 ** (semitones / 12)
    stretched = tempo(waveform, 1 / ratio, sampling_rate)
    # The ratio is not one of small whole numbers, which torchaudio would need.
    return _fitted(soxr.resample(stretched, ratio, 1.0), len(waveform))


def _nearest_peaks(magnitudes: np.ndarray) -> np.ndarray:
    """The nearest peak of each bin of (frames, bins), or the first bin where there is no peak.

    A peak is larger than two neighbors on either side.
    """
    peaks = np.zeros(magnitudes.shape, dtype=bool)
    neighbors = [magnitudes[:, i : i - 4 or None] for i in (0, 1, 3, 4)]
    peaks[:, 2:-2] = magnitudes[:, 2:-2] > np.maximum.reduce(neighbors)
    peaks[~peaks.any(axis=1), 0] = True
    frames, bins = np.nonzero(peaks)

    # A peak's region ends half-way to the next peak, the last one with its frame.
    last_of_frame = np.append(frames[1:] != frames[:-1], True)
    halfway = (bins + np.append(bins[1:], 0) + 1) // 2
    ends = np.where(last_of_frame, peaks.shape[1], halfway)
    region_sizes = np.diff(frames * peaks.shape[1] + ends, prepend=0)
    return np.repeat(bins, region_sizes).reshape(peaks.shape)


def _spectra(waveform: np.ndarray, size: int) -> np.ndarray:
    """Spectra of frames centered on every quarter of a frame, beginning with the first sample.

    Returns:
        complex64 (frames, bins).
    """
    hop = size // _OVERLAP
    frames = -(-len(waveform) // hop) + 1
    padded = np.zeros((frames - 1) * hop + size, dtype=np.float32)
    padded[size // 2 : size // 2 + len(waveform)] = waveform
    cut = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return scipy.fft.rfft(cut * _window(size))


def _samples(spectra: np.ndarray, size: int, length: int) -> np.ndarray:
    """The waveform whose frames' spectra are nearest (Griffin and Lim 1984).

    Returns:
        float32 (length,).
    """
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
