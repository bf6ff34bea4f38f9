"""Synthesis of speech-like signals: a glottal source, a vocal tract and consonants.

The source is Rosenberg's glottal pulse (A. E. Rosenberg, "Effect of glottal pulse shape on the
quality of natural vowels", JASA 49, 1971), the vocal tract a cascade of resonators (D. H. Klatt,
"Software for a cascade/parallel formant synthesizer", JASA 67, 1980).
"""

from dataclasses import dataclass

import numpy as np
import scipy  # scipy.signal is loaded where it is used

from .sentences import SENTENCES, Syllable, timed_syllables
from .voices import EMOTIONS, Prosody, clip_prosody, voice

SAMPLING_RATE = 16000
GENERATOR_VERSION = 1  # increase it with any change that alters a single sample

# The first number of the seeds of the random details of a sound; see `voices`.
_SOUND_STREAM = 3


@dataclass(frozen=True)
class _Hiss:
    """The filtered noise of a fricative or plosive consonant."""

    centre_hz: float
    bandwidth_hz: float
    gain: float  # relative to the voice
    share: float  # share of the consonant's duration


_HISSES = {
    "s": _Hiss(centre_hz=5500.0, bandwidth_hz=1800.0, gain=0.5, share=0.9),
    "f": _Hiss(centre_hz=4000.0, bandwidth_hz=6000.0, gain=0.25, share=0.9),
    "t": _Hiss(centre_hz=4200.0, bandwidth_hz=2500.0, gain=0.7, share=0.35),
    "k": _Hiss(centre_hz=2000.0, bandwidth_hz=1000.0, gain=0.7, share=0.4),
}

# Five formants of a man's vowels in Hz; the highest two hardly depend on the vowel.
_FORMANTS = {
    "a": (730.0, 1200.0, 2450.0, 3400.0, 4400.0),
    "e": (500.0, 1850.0, 2500.0, 3450.0, 4400.0),
    "i": (290.0, 2250.0, 2950.0, 3500.0, 4400.0),
    "o": (480.0, 880.0, 2400.0, 3350.0, 4400.0),
    "u": (320.0, 850.0, 2250.0, 3300.0, 4400.0),
}
_BANDWIDTHS = np.array([70.0, 90.0, 130.0, 180.0, 250.0])
_OPEN_QUOTIENT = 0.65  # share of a cycle during which the glottis is open


def utterance(
    speaker: int, emotion: str, take: int, seed: int, sampling_rate: int = SAMPLING_RATE
) -> np.ndarray:
    """Synthesize one clip with sentence ``take % len(SENTENCES)``.

    Args:
        speaker: number of the speaker; even numbers are women, odd numbers men.
        emotion: one of `EMOTIONS`.
        take: number of the clip of this speaker and emotion.
        seed: the seed of the voices and of all details; equal arguments give equal samples.
        sampling_rate: the sampling rate in Hz, at least 8000.

    Returns:
        float32 (samples,) within ±1, one to three seconds long.
    """
    prosody = clip_prosody(speaker, emotion, take, seed)
    speaker_voice = voice(speaker, seed)
    rng = np.random.default_rng((_SOUND_STREAM, seed, speaker, EMOTIONS.index(emotion), take))
    syllables = timed_syllables(SENTENCES[take % len(SENTENCES)], prosody.tempo, rng, sampling_rate)
    samples = syllables[-1].stop + int(0.08 * sampling_rate)

    pitch = _pitch_contour(syllables, samples, prosody, rng, sampling_rate)
    source = _glottal_source(pitch, prosody, rng, sampling_rate)
    source = source * _loudness_contour(syllables, samples, rng)
    speech = _vocal_tract(source, syllables, speaker_voice.tract_scale, sampling_rate)
    _add_consonants(speech, syllables, rng, sampling_rate)

    spoken = speech[syllables[0].start : syllables[-1].stop]
    speech *= _amplitude(prosody.level_db) / _rms(spoken)
    speech += _amplitude(speaker_voice.noise_db) * _noise(rng, samples)
    # Clipping would add a distortion that depends on the emotion.
    return speech * np.float32(min(1.0, 0.98 / np.abs(speech).max()))


def _pitch_contour(
    syllables: list[Syllable],
    samples: int,
    prosody: Prosody,
    rng: np.random.Generator,
    sampling_rate: int,
) -> np.ndarray:
    """Fundamental frequency in Hz, shape ``(samples,)``.

    Accents on the stressed syllables are added to a straight line.
    """
    middles = np.array([(syllable.nucleus + syllable.stop) / 2 for syllable in syllables])
    accents = np.array([0.5 if syllable.stressed else -0.5 for syllable in syllables])
    accents += rng.normal(0.0, 0.15, len(syllables))
    semitones = prosody.range_st * (accents - accents.mean())
    semitones += prosody.slope_st_per_s * (middles - middles.mean()) / sampling_rate
    pitch = prosody.pitch_hz * 2.0 ** (semitones / 12.0)
    return np.interp(np.arange(samples, dtype=float), middles, pitch)


def _loudness_contour(
    syllables: list[Syllable], samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Amplitude of the voice, shape ``(samples,)``.

    It is zero during plosives and fricatives, and low during m, n and l.
    """
    times = [0]
    gains = [0.0]
    for syllable in syllables:
        onset = 0.3 if syllable.consonant in "mnl" else 0.0
        peak = (1.0 if syllable.stressed else 0.75) * rng.uniform(0.9, 1.1)
        rise = (syllable.stop - syllable.nucleus) // 5
        fall = (syllable.stop - syllable.nucleus) // 3
        attack = syllable.start + (syllable.nucleus - syllable.start) // 4
        times += [syllable.start, attack, syllable.nucleus]
        # The last part of the fall is silent, so that the resonances fade out before the formants
        # change for the next vowel.
        times += [syllable.nucleus + rise, syllable.stop - fall, syllable.stop - fall // 2]
        gains += [0.0, onset, onset, peak, 0.8 * peak, 0.0]
    return np.interp(np.arange(samples, dtype=float), times, gains).astype(np.float32)


def _glottal_source(
    pitch: np.ndarray, prosody: Prosody, rng: np.random.Generator, sampling_rate: int
) -> np.ndarray:
    """Derivative of the glottal flow with aspiration noise, shape ``(samples,)``.

    Args:
        pitch: in Hz, shape ``(samples,)``.
    """
    cycle = (np.cumsum(pitch) / sampling_rate).astype(np.int32)
    jitter = prosody.jitter * _noise(rng, cycle[-1] + 1)
    phase = np.cumsum(pitch * (1.0 + jitter[cycle])) / sampling_rate
    cycle = phase.astype(np.int32)
    opening = np.minimum((phase - cycle).astype(np.float32) / _OPEN_QUOTIENT, 1.0)
    shimmer = 1.0 + prosody.shimmer * _noise(rng, cycle[-1] + 1)
    # Rosenberg's polynomial for the flow, 1 at its peak. Its differences alias far less than the
    # sampled derivative.
    flow = 6.75 * opening * opening * (1.0 - opening)
    pulses = np.zeros_like(flow)
    pulses[1:] = np.diff(flow * shimmer[cycle]) * (sampling_rate / prosody.pitch_hz)
    pulses = _tilted(pulses, prosody.tilt_db, sampling_rate)
    # Air is turbulent mostly while the glottis is open.
    turbulence = (0.3 + 0.7 * flow) * _noise(rng, len(pitch))
    return pulses + _amplitude(prosody.breath_db) * _rms(pulses) * turbulence


def _tilted(signal: np.ndarray, tilt_db: float, sampling_rate: int) -> np.ndarray:
    """Apply the one-pole low-pass that attenuates 3 kHz by ``tilt_db`` and does not change 0 Hz."""
    power = _amplitude(-tilt_db) ** 2
    half = (1.0 - power * np.cos(2.0 * np.pi * 3000.0 / sampling_rate)) / (1.0 - power)
    pole = half - np.sqrt(half**2 - 1.0)
    return scipy.signal.lfilter(
        np.array([1.0 - pole], signal.dtype), np.array([1.0, -pole], signal.dtype), signal
    )


def _vocal_tract(
    source: np.ndarray, syllables: list[Syllable], scale: float, sampling_rate: int
) -> np.ndarray:
    """Filter the source with the formants of each vowel in turn.

    The formants change where the voice is silent.
    """
    speech = np.empty_like(source)
    state = np.zeros((len(_BANDWIDTHS), 2))
    radius = np.exp(-np.pi * _BANDWIDTHS / sampling_rate)
    begin = 0
    for syllable in syllables:
        end = len(source) if syllable is syllables[-1] else syllable.stop
        frequencies = scale * np.array(_FORMANTS[syllable.vowel])
        angle = 2.0 * np.pi * np.minimum(frequencies / sampling_rate, 0.45)
        # Klatt's digital resonators in cascade, with unit gain at 0 Hz.
        sections = np.zeros((len(frequencies), 6))
        sections[:, 3] = 1.0
        sections[:, 4] = -2.0 * radius * np.cos(angle)
        sections[:, 5] = radius**2
        sections[:, 0] = sections[:, 3:].sum(axis=1)
        speech[begin:end], state = scipy.signal.sosfilt(sections, source[begin:end], zi=state)
        begin = end
    return speech


def _add_consonants(
    speech: np.ndarray, syllables: list[Syllable], rng: np.random.Generator, sampling_rate: int
) -> None:
    """Add, in place, a hiss for each fricative and, after a silence, a burst for each plosive."""
    loudness = _rms(speech)
    for syllable in syllables:
        if syllable.consonant not in _HISSES:
            continue
        hiss = _HISSES[syllable.consonant]
        length = int(hiss.share * (syllable.nucleus - syllable.start))
        angle = 2.0 * np.pi * min(hiss.centre_hz / sampling_rate, 0.45)
        radius = np.exp(-np.pi * hiss.bandwidth_hz / sampling_rate)
        noise = scipy.signal.lfilter(
            [1.0, 0.0, -1.0], [1.0, -2.0 * radius * np.cos(angle), radius**2], _noise(rng, length)
        )
        noise *= np.hanning(length) * hiss.gain * loudness / _rms(noise)
        speech[syllable.nucleus - length : syllable.nucleus] += noise


def _amplitude(decibel: float) -> float:
    """Convert decibels to a factor on the amplitude."""
    return float(10.0 ** (decibel / 20.0))


def _rms(signal: np.ndarray) -> float:
    """The root mean square of a signal."""
    return float(np.sqrt(np.mean(signal * signal)))


def _noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """White noise of unit variance, shape ``(samples,)``.

    The noise is uniform: it is several times faster to draw than normal noise and sounds the same.
    """
    return (rng.random(samples, dtype=np.float32) - np.float32(0.5)) * np.float32(12.0**0.5)
