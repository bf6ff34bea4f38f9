"""Synthetic: a built-in corpus of speech-like signals that needs no files.

Any number of speakers, half of them female, say six invented sentences in six emotions. The corpus
is for first experiments with the toolkit, for tests and for controls. A model that is trained on it
does not recognize emotions in real speech.

License: CC0 1.0. File names: the fields of `s03_angry_007.wav` are speaker, emotion and take.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import scipy  # scipy.signal is loaded where it is used
import soundfile
from pydantic import Field, model_validator
from tqdm.auto import tqdm

from ..utils.cache import built_once, cache_root, key_of
from .schema import Clip, Listing
from .settings import CorpusSettings, refuse

LICENSE = "cc0-1.0"
LANGUAGE = None
TITLE = "Synthetic"
URL = None
CITATION = None
ACTED = False

SAMPLING_RATE = 16000
MOST = 100_000  # the largest product of speakers and takes, which is days of audio
GENERATOR_VERSION = 1  # increase it with any change that alters a single sample

# Two letters make a syllable; the first syllable of a word is stressed. All sentences are made of
# the same sounds.
SENTENCES: tuple[str, ...] = (
    "sato mina kelu fa",
    "lami fako seta nu",
    "niko tase mulafa",
    "kuma safi lota ne",
    "tani melo fasu ka",
    "mefa luka sito na",
)


class Expression(NamedTuple):
    """The change of a speaker's habitual voice by an emotion, for an expressivity of 1.

    The fields called factor are multiplied, the other fields are added.
    """

    pitch_st: float = 0.0
    range_factor: float = 1.0
    slope_st_per_s: float = 0.0
    level_db: float = 0.0
    tempo_factor: float = 1.0
    tilt_db: float = 0.0
    jitter_factor: float = 1.0
    shimmer_factor: float = 1.0
    breath_db: float = 0.0


# The expressions and the spread between clips are chosen so that a classifier of the latent
# parameters has a recall of about 90 % for unseen speakers.
_EXPRESSIONS: dict[str, Expression] = {
    "angry": Expression(3.0, 1.50, -1.0, 7.0, 1.10, -6.0, 1.40, 1.30, -4.0),
    "disgust": Expression(-1.5, 0.85, -0.8, -1.0, 0.84, 3.0, 1.60, 1.50, -5.0),
    "fear": Expression(5.5, 0.80, 1.2, -1.0, 1.20, -2.0, 1.60, 1.30, 6.0),
    "happy": Expression(4.5, 1.60, 1.2, 4.5, 1.08, -3.5, 1.00, 1.00, 1.0),
    "neutral": Expression(),
    "sad": Expression(-2.0, 0.65, -1.2, -6.0, 0.82, 6.0, 1.20, 1.20, 6.0),
}
EMOTIONS: tuple[str, ...] = tuple(_EXPRESSIONS)

# Standard deviation of each field between clips of the same speaker and emotion. For factors it is
# the standard deviation of their natural logarithm.
_CLIP_SPREAD = Expression(1.5, 0.30, 1.3, 1.6, 0.11, 1.4, 0.40, 0.40, 1.6)
_INTENSITY_SPREAD = 0.2  # standard deviation of the strength of an emotion between clips


class Voice(NamedTuple):
    """The properties of a speaker's voice, which are the same in all clips."""

    sex: str  # "female" or "male"
    pitch_hz: float  # habitual fundamental frequency
    tract_scale: float  # factor on all formant frequencies; 1 is the vocal tract of an average man
    tempo: float  # syllables per second
    breath_db: float  # aspiration noise relative to the glottal pulses
    level_db: float  # level of neutral speech relative to full scale, set by the recording gain
    noise_db: float  # background noise relative to full scale
    expressivity: float  # factor on the change of the voice by emotions


class Prosody(NamedTuple):
    """The latent parameters of one clip in absolute units, for its speaker and its emotion."""

    pitch_hz: float  # mean fundamental frequency
    range_st: float  # semitones between stressed and unstressed syllables
    slope_st_per_s: float  # slope of the pitch contour over the sentence
    level_db: float  # root mean square relative to full scale
    tempo: float  # syllables per second
    tilt_db: float  # attenuation of the source at 3 kHz
    jitter: float  # relative standard deviation of the length of a glottal cycle
    shimmer: float  # relative standard deviation of the amplitude of a glottal cycle
    breath_db: float  # aspiration noise relative to the glottal pulses


class _Hiss(NamedTuple):
    """The filtered noise of a fricative or plosive consonant."""

    centre_hz: float
    bandwidth_hz: float
    gain: float  # relative to the voice
    share: float  # share of the consonant's duration


_HISSES = {
    "s": _Hiss(5500.0, 1800.0, 0.5, 0.9),
    "f": _Hiss(4000.0, 6000.0, 0.25, 0.9),
    "t": _Hiss(4200.0, 2500.0, 0.7, 0.35),
    "k": _Hiss(2000.0, 1000.0, 0.7, 0.4),
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


class _Syllable(NamedTuple):
    """A syllable of a consonant and a vowel, with its position in samples."""

    consonant: str
    vowel: str
    stressed: bool
    start: int  # sample at which the consonant begins
    nucleus: int  # sample at which the vowel begins
    stop: int


# The first number of each seed of a random generator. NumPy pads short seeds with zeros: without
# these numbers, a speaker and the first clip of this speaker would have the same seed.
_VOICE_STREAM = 1
_PROSODY_STREAM = 2
_SOUND_STREAM = 3


def voice(speaker: int, seed: int) -> Voice:
    """Draw the voice of a speaker; even numbers are women, odd numbers are men."""
    rng = np.random.default_rng((_VOICE_STREAM, seed, speaker))
    sex = "female" if speaker % 2 == 0 else "male"
    lowest, highest = (165.0, 255.0) if sex == "female" else (85.0, 150.0)
    return Voice(
        sex=sex,
        pitch_hz=lowest * (highest / lowest) ** rng.uniform(),
        tract_scale=(1.15 if sex == "female" else 1.0) * rng.uniform(0.97, 1.03),
        tempo=rng.uniform(4.7, 5.7),
        breath_db=rng.uniform(-21.0, -18.0),
        level_db=rng.uniform(-34.0, -29.0),
        noise_db=rng.uniform(-82.0, -68.0),
        expressivity=float(np.clip(rng.normal(1.0, 0.18), 0.6, 1.4)),
    )


def clip_prosody(speaker: int, emotion: str, take: int, seed: int) -> Prosody:
    """Draw the latent parameters of a clip: the voice, changed by the emotion and at random."""
    rng = np.random.default_rng((_PROSODY_STREAM, seed, speaker, EMOTIONS.index(emotion), take))
    habit = voice(speaker, seed)
    shift = _EXPRESSIONS[emotion]
    spread = _CLIP_SPREAD
    strength = habit.expressivity * max(0.2, rng.normal(1.0, _INTENSITY_SPREAD))

    def moved(name: str) -> float:
        return strength * getattr(shift, name) + rng.normal(0.0, getattr(spread, name))

    def scaled(name: str) -> float:
        return float(
            getattr(shift, name) ** strength * np.exp(rng.normal(0.0, getattr(spread, name)))
        )

    return Prosody(
        pitch_hz=habit.pitch_hz * 2.0 ** (moved("pitch_st") / 12.0),
        range_st=4.0 * scaled("range_factor"),
        slope_st_per_s=-1.5 + moved("slope_st_per_s"),
        level_db=habit.level_db + moved("level_db"),
        tempo=habit.tempo * scaled("tempo_factor"),
        tilt_db=max(1.0, 9.0 + moved("tilt_db")),
        jitter=min(0.1, 0.008 * scaled("jitter_factor")),
        shimmer=min(0.4, 0.05 * scaled("shimmer_factor")),
        breath_db=habit.breath_db + moved("breath_db"),
    )


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
    habit = voice(speaker, seed)
    rng = np.random.default_rng((_SOUND_STREAM, seed, speaker, EMOTIONS.index(emotion), take))
    syllables = _timing(SENTENCES[take % len(SENTENCES)], prosody.tempo, rng, sampling_rate)
    samples = syllables[-1].stop + int(0.08 * sampling_rate)

    pitch = _pitch_contour(syllables, samples, prosody, rng, sampling_rate)
    source = _glottal_source(pitch, prosody, rng, sampling_rate)
    source = source * _loudness_contour(syllables, samples, rng)
    speech = _vocal_tract(source, syllables, habit.tract_scale, sampling_rate)
    _add_consonants(speech, syllables, rng, sampling_rate)

    spoken = speech[syllables[0].start : syllables[-1].stop]
    speech *= _amplitude(prosody.level_db) / _rms(spoken)
    speech += _amplitude(habit.noise_db) * _noise(rng, samples)
    # Clipping would add a distortion that depends on the emotion.
    return speech * np.float32(min(1.0, 0.98 / np.abs(speech).max()))


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


def _timing(
    sentence: str, tempo: float, rng: np.random.Generator, sampling_rate: int
) -> list[_Syllable]:
    """Place the syllables of a sentence on the time axis.

    There is a pause between words, and the last syllable is longer.
    """
    words = sentence.split()
    clock = 0.08  # seconds
    syllables = []
    for word_number, word in enumerate(words):
        for letter in range(0, len(word), 2):
            stressed = letter == 0
            final = word_number == len(words) - 1 and letter == len(word) - 2
            stress_factor = 1.1 if stressed else 0.9
            final_factor = 1.3 if final else 1.0
            length = stress_factor * final_factor * rng.uniform(0.88, 1.12) / tempo
            syllable = _Syllable(
                consonant=word[letter],
                vowel=word[letter + 1],
                stressed=stressed,
                start=int(clock * sampling_rate),
                nucleus=int((clock + 0.32 * length) * sampling_rate),
                stop=int((clock + length) * sampling_rate),
            )
            syllables.append(syllable)
            clock += length
        clock += rng.uniform(0.1, 0.3) / tempo
    return syllables


def _pitch_contour(
    syllables: list[_Syllable],
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
    syllables: list[_Syllable], samples: int, rng: np.random.Generator
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
    source: np.ndarray, syllables: list[_Syllable], scale: float, sampling_rate: int
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
    speech: np.ndarray, syllables: list[_Syllable], rng: np.random.Generator, sampling_rate: int
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


class SyntheticSettings(CorpusSettings):
    """Settings of the synthetic corpus. The clips are generated below the root or in the cache."""

    name: Annotated[Literal["synthetic"], Field(description="generated speech")] = "synthetic"
    speakers: Annotated[
        int, Field(ge=3, description="number of speakers; even numbers are balanced by sex")
    ] = 24
    takes: Annotated[int, Field(ge=1, description="clips of each speaker and emotion")] = 8
    seed: Annotated[
        int, Field(ge=0, description="seed of the voices and of every random detail of the clips")
    ] = 0
    shuffle_labels: Annotated[
        bool, Field(description="exchange the labels among the clips of each speaker, as a control")
    ] = False

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.speakers * self.takes > MOST:
            message = (
                f"expected at most {MOST:,} speakers times takes, "
                f"got {self.speakers} x {self.takes}"
            )
            refuse(self.speakers, message, "speakers")
        return self


def parse(settings: SyntheticSettings) -> Listing:
    """List the clips, and generate their files unless they exist.

    Equal settings give equal samples.
    """
    parts_of_name = {}
    for speaker in range(settings.speakers):
        for emotion in EMOTIONS:
            for take in range(settings.takes):
                name = f"s{speaker:02d}_{emotion}_{take:03d}"
                parts_of_name[name] = (speaker, emotion, take)

    folder = _folder(settings)
    with built_once(folder) as fresh:
        if fresh is not None:
            progress = tqdm(
                parts_of_name.items(), desc="generating speech", unit="clip", disable=None
            )
            for name, (speaker, emotion, take) in progress:
                samples = utterance(speaker, emotion, take, settings.seed)
                soundfile.write(fresh / f"{name}.wav", samples, SAMPLING_RATE, subtype="PCM_16")

    clips = []
    for name, (speaker, emotion, take) in parts_of_name.items():
        clip = Clip(
            path=str(folder / f"{name}.wav"),
            emotion=emotion,
            speaker=f"synthetic:{speaker:02d}",
            id=f"synthetic/{name}",
            sex=voice(speaker, settings.seed).sex,
            sentence=f"sentence {take % len(SENTENCES) + 1}",
            take=take,
        )
        clips.append(clip)
    if settings.shuffle_labels:
        clips = _shuffled(clips, settings.seed)
    return Listing("synthetic", clips)


def _folder(settings: SyntheticSettings) -> Path:
    """The folder of the clips; its name has a hash of everything that the samples depend on."""
    parent = cache_root() / "synthetic" if settings.root is None else Path(settings.root)
    values = {
        "generator": GENERATOR_VERSION,
        "speakers": settings.speakers,
        "takes": settings.takes,
        "seed": settings.seed,
    }
    return parent / key_of(values)


def _shuffled(clips: list[Clip], seed: int) -> list[Clip]:
    """Permute the emotions among the clips of each speaker."""
    generator = np.random.default_rng(seed)
    shuffled = list(clips)
    for speaker in sorted({clip.speaker for clip in clips}):
        positions = [i for i, clip in enumerate(clips) if clip.speaker == speaker]
        for i, j in zip(positions, generator.permutation(positions), strict=True):
            shuffled[i] = replace(clips[i], emotion=clips[j].emotion)
    return shuffled
