"""The speakers of the synthetic corpus, and how an emotion changes the voice of a clip."""

from dataclasses import dataclass

import numpy as np

# The first number of each seed of a random generator. NumPy pads short seeds with zeros: without
# these numbers, a speaker and the first clip of this speaker would have the same seed.
_VOICE_STREAM = 1
_PROSODY_STREAM = 2


@dataclass(frozen=True)
class Expression:
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
    "angry": Expression(
        pitch_st=3.0,
        range_factor=1.50,
        slope_st_per_s=-1.0,
        level_db=7.0,
        tempo_factor=1.10,
        tilt_db=-6.0,
        jitter_factor=1.40,
        shimmer_factor=1.30,
        breath_db=-4.0,
    ),
    "disgust": Expression(
        pitch_st=-1.5,
        range_factor=0.85,
        slope_st_per_s=-0.8,
        level_db=-1.0,
        tempo_factor=0.84,
        tilt_db=3.0,
        jitter_factor=1.60,
        shimmer_factor=1.50,
        breath_db=-5.0,
    ),
    "fear": Expression(
        pitch_st=5.5,
        range_factor=0.80,
        slope_st_per_s=1.2,
        level_db=-1.0,
        tempo_factor=1.20,
        tilt_db=-2.0,
        jitter_factor=1.60,
        shimmer_factor=1.30,
        breath_db=6.0,
    ),
    "happy": Expression(
        pitch_st=4.5,
        range_factor=1.60,
        slope_st_per_s=1.2,
        level_db=4.5,
        tempo_factor=1.08,
        tilt_db=-3.5,
        jitter_factor=1.00,
        shimmer_factor=1.00,
        breath_db=1.0,
    ),
    "neutral": Expression(),
    "sad": Expression(
        pitch_st=-2.0,
        range_factor=0.65,
        slope_st_per_s=-1.2,
        level_db=-6.0,
        tempo_factor=0.82,
        tilt_db=6.0,
        jitter_factor=1.20,
        shimmer_factor=1.20,
        breath_db=6.0,
    ),
}
EMOTIONS: tuple[str, ...] = tuple(_EXPRESSIONS)

# Standard deviation of each field between clips of the same speaker and emotion. For factors it is
# the standard deviation of their natural logarithm.
_CLIP_SPREAD = Expression(
    pitch_st=1.5,
    range_factor=0.30,
    slope_st_per_s=1.3,
    level_db=1.6,
    tempo_factor=0.11,
    tilt_db=1.4,
    jitter_factor=0.40,
    shimmer_factor=0.40,
    breath_db=1.6,
)
_INTENSITY_SPREAD = 0.2  # standard deviation of the strength of an emotion between clips


@dataclass(frozen=True)
class Voice:
    """The properties of a speaker's voice, which are the same in all clips."""

    sex: str  # "female" or "male"
    pitch_hz: float  # habitual fundamental frequency
    tract_scale: float  # factor on all formant frequencies; 1 is the vocal tract of an average man
    tempo: float  # syllables per second
    breath_db: float  # aspiration noise relative to the glottal pulses
    level_db: float  # level of neutral speech relative to full scale, set by the recording gain
    noise_db: float  # background noise relative to full scale
    expressivity: float  # factor on the change of the voice by emotions


@dataclass(frozen=True)
class Prosody:
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


def voice(speaker: int, seed: int) -> Voice:
    """Draw the voice of a speaker; even numbers are women, odd numbers are men.

    Equal arguments give equal voices.
    """
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
    """Draw the latent parameters of a clip: the voice, changed by the emotion and at random.

    Args:
        speaker: number of the speaker; even numbers are women, odd numbers men.
        emotion: one of `EMOTIONS`.
        take: number of the clip of this speaker and emotion.
        seed: the seed of the voices and of all clips.
    """
    rng = np.random.default_rng((_PROSODY_STREAM, seed, speaker, EMOTIONS.index(emotion), take))
    speaker_voice = voice(speaker, seed)
    expression = _EXPRESSIONS[emotion]
    strength = speaker_voice.expressivity * max(0.2, rng.normal(1.0, _INTENSITY_SPREAD))

    # Each call draws one random number, so the order of the calls below belongs to the samples.
    def moved(name: str) -> float:
        """The change of a quantity by the emotion, which is added to the voice's own value."""
        change = strength * getattr(expression, name)
        return change + rng.normal(0.0, getattr(_CLIP_SPREAD, name))

    def scaled(name: str) -> float:
        """The factor of the emotion on a quantity of the voice."""
        factor = getattr(expression, name) ** strength
        return float(factor * np.exp(rng.normal(0.0, getattr(_CLIP_SPREAD, name))))

    return Prosody(
        pitch_hz=speaker_voice.pitch_hz * 2.0 ** (moved("pitch_st") / 12.0),
        range_st=4.0 * scaled("range_factor"),
        slope_st_per_s=-1.5 + moved("slope_st_per_s"),
        level_db=speaker_voice.level_db + moved("level_db"),
        tempo=speaker_voice.tempo * scaled("tempo_factor"),
        tilt_db=max(1.0, 9.0 + moved("tilt_db")),
        jitter=min(0.1, 0.008 * scaled("jitter_factor")),
        shimmer=min(0.4, 0.05 * scaled("shimmer_factor")),
        breath_db=speaker_voice.breath_db + moved("breath_db"),
    )
