"""What may be done to training clips, each step with its probability and its range.

Validation and test clips are never touched. Each step draws a value uniformly from its range, anew for every clip and
epoch, from a generator that seed, epoch and clip decide: the same for any number of workers and processes, and after
an interruption. `ser_hf.audio.augmenting` does the work, in the order of the fields of `Augmentation`.
"""

import dataclasses
import math
from typing import Any, Literal

CODECS = ("mu_law", "a_law", "gsm", "adpcm")


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that is done to a share of the clips. A probability of zero leaves it out; so does null, the default,
    beside which nothing else may be said of the step: it would do nothing."""

    probability: float | None = None

    def __post_init__(self):
        if self.probability is None:
            for field in dataclasses.fields(self):
                default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
                if getattr(self, field.name) != default:
                    raise ValueError(f"probability: missing; {field.name} is of no use without it")
        elif not 0 <= self.probability <= 1:
            raise ValueError(f"probability: expected between 0 and 1, got {self.probability}")
        for field in dataclasses.fields(self):
            if field.metadata:
                self._check(field.name, **field.metadata)

    def _check(self, name: str, least: float, most: float) -> None:
        values = getattr(self, name)
        if len(values) != 2 or not least <= values[0] <= values[1] <= most or not all(map(math.isfinite, values)):
            limits = f"from {least:g} or more" + (f" to {most:g} or less" if most < math.inf else "")
            raise ValueError(f"{name}: expected two rising numbers, the least and the most, {limits}, got {values}")


def _between(low: float, high: float, least: float = -math.inf, most: float = math.inf) -> Any:
    return dataclasses.field(default_factory=lambda: [low, high], metadata={"least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class Crop(Step):
    """A piece of the clip from a random place; `share` of its length. (`audio.max_duration` bounds length besides.)"""

    share: list[float] = _between(0.7, 1.0, 0.1, 1.0)


@dataclasses.dataclass(frozen=True)
class Speed(Step):
    """Played faster (above 1) or slower: tempo, pitch and formants together (Ko et al., Interspeech 2015)."""

    factor: list[float] = _between(0.9, 1.1, 0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class Tempo(Step):
    """Faster (above 1) or slower at the same pitch, by a phase vocoder (Laroche and Dolson 1999)."""

    factor: list[float] = _between(0.9, 1.1, 0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class Pitch(Step):
    """Pitch and formants moved at the same tempo, by so many `semitones`."""

    semitones: list[float] = _between(-2.0, 2.0, -12.0, 12.0)


@dataclasses.dataclass(frozen=True)
class VocalTract(Step):
    """Vocal tract length perturbation (Jaitly and Hinton, ICML workshop 2013) of the waveform: the spectral envelope's
    frequency axis times `factor`, pitch and tempo as they were."""

    factor: list[float] = _between(0.9, 1.1, 0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class TimeShift(Step):
    """Moved later, or earlier where negative, by so many `seconds`; silence comes in, what leaves is lost, of a short
    clip half at the most."""

    seconds: list[float] = _between(-0.3, 0.3, -10.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Reverberation(Step):
    """Convolved with a room's impulse response: of a file under `folder`, or one that is generated with a decay time
    (s, to -60 dB) and a direct-to-reverberant ratio (dB) out of these ranges."""

    decay: list[float] = _between(0.1, 0.8, 0.02, 10.0)
    direct_to_reverberant: list[float] = _between(0.0, 15.0, -20.0, 60.0)
    folder: str | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("decay", "direct_to_reverberant"):
            if self.folder is not None and getattr(self, name) != getattr(Reverberation(), name):
                raise ValueError(f"{name}: of no use beside `folder`, whose responses have their own; leave out one")


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Step):
    """White noise at a signal-to-noise ratio in dB, of the mean powers over the whole clip, pauses and all."""

    snr: list[float] = _between(10.0, 40.0, -20.0, 100.0)


@dataclasses.dataclass(frozen=True)
class ColouredNoise(Step):
    """Noise whose power falls with frequency as 1 / f ** `exponent` (0 white, 1 pink, 2 brown), at an `snr` in dB."""

    snr: list[float] = _between(10.0, 40.0, -20.0, 100.0)
    exponent: list[float] = _between(0.0, 2.0, -2.0, 4.0)


@dataclasses.dataclass(frozen=True)
class BackgroundNoise(Step):
    """A piece of a recording under `folder`, or babble (three to eight training clips at once), at an `snr` in dB."""

    snr: list[float] = _between(5.0, 30.0, -20.0, 100.0)
    folder: str | None = None


@dataclasses.dataclass(frozen=True)
class BandLimit(Step):
    """Only frequencies between a `low` and a `high` edge (Hz) are left. Of `high`, what the sampling rate cannot hold
    (above half of it) is cut off its range."""

    low: list[float] = _between(20.0, 300.0, 0.0)
    high: list[float] = _between(3000.0, 7500.0, 100.0)

    def __post_init__(self):
        super().__post_init__()
        if self.low[1] >= self.high[0]:
            raise ValueError(f"low: up to {self.low[1]:g} Hz, which must stay below `high`, from {self.high[0]:g} Hz")


@dataclasses.dataclass(frozen=True)
class Telephone(Step):
    """The band of a telephone (300 to 3400 Hz) at 8 kHz, through one of `codecs`."""

    codecs: list[Literal["mu_law", "a_law", "gsm", "adpcm"]] = dataclasses.field(default_factory=lambda: [*CODECS])

    def __post_init__(self):
        super().__post_init__()
        if not self.codecs or not set(self.codecs) <= set(CODECS):
            raise ValueError(f"codecs: expected some of {', '.join(CODECS)}, got {self.codecs}")


@dataclasses.dataclass(frozen=True)
class Clipping(Step):
    """The loudest `share` of the samples cut off at one level, as by a microphone turned up too high."""

    share: list[float] = _between(0.0, 0.05, 0.0, 0.9)


@dataclasses.dataclass(frozen=True)
class Gain(Step):
    """Louder or softer by so many `decibels`."""

    decibels: list[float] = _between(-6.0, 6.0, -60.0, 60.0)


@dataclasses.dataclass(frozen=True)
class Mixup(Step):
    """A clip mixed with another of its batch, and their labels in the same shares (Zhang et al. 2018,
    arXiv:1710.09412): shares from Beta(`alpha`, `alpha`), partners among `any`, the `same` or `other` speakers."""

    alpha: float = 0.4
    speakers: Literal["any", "same", "other"] = "any"

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha: expected more than zero, got {self.alpha}")
        if self.speakers not in ("any", "same", "other"):
            raise ValueError(f"speakers: {self.speakers!r} is none of any, same, other")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to training clips, in this order, as a voice comes to a recording: what is said and by whom, the
    room, what else sounds there, the line, the level. `mixup` joins clips of a batch at the end; `oversample` repeats
    clips of rare classes, each time augmented anew, until all classes are as frequent as the most frequent one."""

    crop: Crop = Crop()
    speed: Speed = Speed()
    tempo: Tempo = Tempo()
    pitch: Pitch = Pitch()
    vocal_tract: VocalTract = VocalTract()
    time_shift: TimeShift = TimeShift()
    reverberation: Reverberation = Reverberation()
    gaussian_noise: GaussianNoise = GaussianNoise()
    coloured_noise: ColouredNoise = ColouredNoise()
    background_noise: BackgroundNoise = BackgroundNoise()
    band_limit: BandLimit = BandLimit()
    telephone: Telephone = Telephone()
    clipping: Clipping = Clipping()
    gain: Gain = Gain()
    mixup: Mixup = Mixup()
    oversample: bool = False

    @property
    def steps(self) -> dict[str, Step]:
        """The steps on a waveform that may happen, by name, in their order."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: step
            for name, step in own.items()
            if isinstance(step, Step) and not isinstance(step, Mixup) and step.probability
        }
