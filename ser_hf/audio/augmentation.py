"""Settings of augmentation: the section `augment` of a recipe, with one class for each step.

A step has a probability and ranges of its parameters. `ser_hf.audio.augmenter` applies the steps to
clips.
"""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from ..utils.settings import PathName, Settings

CODECS = ("mu_law", "a_law", "gsm", "adpcm")


def _check_order(values: list[float]) -> list[float]:
    """Return the values; a ValueError if the minimum is larger than the maximum."""
    lowest, highest = values
    if lowest > highest:
        raise ValueError(f"expected the minimum before the maximum, got {values}")
    return values


Number = TypeVar("Number")
# A minimum and a maximum. A step draws a value uniformly between them for every clip and epoch.
Interval = Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_check_order)]

Decibels = Annotated[float, Field(ge=-20, le=100)]
Folder = PathName
SignalToNoise = Annotated[
    Interval[Decibels],
    Field(
        description="signal-to-noise ratio in dB, from the mean powers over the whole clip "
        "including pauses"
    ),
]


class Step(Settings):
    """A step with the probability that it changes a clip; 0 and null disable the step."""

    probability: Annotated[
        float | None,
        Field(ge=0, le=1, description="probability that the step changes a clip; null: never"),
    ] = None

    @model_validator(mode="after")
    def _check_probability(self) -> Self:
        if self.probability is not None:
            return self
        for name, field in type(self).model_fields.items():
            if name != "probability" and getattr(self, name) != field.default:
                raise ValueError("probability: missing; the other keys have no effect without it")
        return self


class Speed(Step):
    """Play faster (above 1) or slower: tempo, pitch and formants change together.

    Ko et al. 2015, "Audio augmentation for speech recognition", Interspeech.
    """

    factor: Annotated[
        Interval[Annotated[float, Field(ge=0.5, le=2)]],
        Field(description="factor on the speed"),
    ] = [0.9, 1.1]


class Pitch(Step):
    """Shift pitch and formants at the same tempo."""

    semitones: Annotated[
        Interval[Annotated[float, Field(ge=-12, le=12)]],
        Field(description="shift in semitones"),
    ] = [-2.0, 2.0]


class Reverberation(Step):
    """Convolve with the impulse response of a room, which is recorded or generated."""

    decay: Annotated[
        Interval[Annotated[float, Field(ge=0.02, le=10)]],
        Field(description="seconds in which the sound of a generated room falls by 60 dB"),
    ] = [0.1, 0.8]
    direct_to_reverberant: Annotated[
        Interval[Annotated[float, Field(ge=-20, le=60)]],
        Field(description="direct-to-reverberant ratio of a generated room in dB"),
    ] = [0.0, 15.0]
    folder: Annotated[
        Folder | None,
        Field(description="folder of recorded impulse responses, in place of generated ones"),
    ] = None


class GaussianNoise(Step):
    """Add white noise."""

    snr: SignalToNoise = [10.0, 40.0]


class ColoredNoise(Step):
    """Add noise whose power falls with frequency f as 1 / f ** `exponent`."""

    snr: SignalToNoise = [10.0, 40.0]
    exponent: Annotated[
        Interval[Annotated[float, Field(ge=-2, le=4)]],
        Field(description="0 is white noise, 1 pink, 2 brown"),
    ] = [0.0, 2.0]


class BackgroundNoise(Step):
    """Add a random segment of a recording of noise."""

    snr: SignalToNoise = [5.0, 30.0]
    folder: Annotated[Folder | None, Field(description="folder of recordings")] = None

    @model_validator(mode="after")
    def _check_folder(self) -> Self:
        if self.probability and self.folder is None:
            raise ValueError("folder: missing; name a folder of recordings, or use coloured_noise")
        return self


class Telephone(Step):
    """Simulate a telephone line: limit the band to 300 to 3400 Hz at 8 kHz, and apply a codec."""

    codecs: Annotated[
        list[Literal[CODECS]],
        Field(
            min_length=1,
            description="codecs to choose from: G.711 mu-law and A-law, GSM 06.10 full rate, "
            "IMA ADPCM",
        ),
    ] = [*CODECS]


class Gain(Step):
    """Change the level."""

    decibels: Annotated[
        Interval[Annotated[float, Field(ge=-60, le=60)]], Field(description="change in dB")
    ] = [-6.0, 6.0]


class Mixup(Step):
    """Mix a clip with another clip of its batch, and mix their labels in the same proportions.

    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: Annotated[
        float, Field(gt=0, le=100, description="the shares are drawn from Beta(alpha, alpha)")
    ] = 0.4


class Augmentation(Settings):
    """The steps that augment training clips, in the order of the fields.

    They simulate changes of the voice, the room, the background, the telephone line and the level.
    `mixup` is last.
    """

    speed: Annotated[Speed, Field(description="tempo, pitch and formants together")] = Speed()
    pitch: Annotated[Pitch, Field(description="pitch and formants without tempo")] = Pitch()
    reverberation: Annotated[Reverberation, Field(description="sound of a room")] = Reverberation()
    gaussian_noise: Annotated[GaussianNoise, Field(description="white noise")] = GaussianNoise()
    coloured_noise: Annotated[
        ColoredNoise, Field(description="noise of which high frequencies have less power")
    ] = ColoredNoise()
    background_noise: Annotated[BackgroundNoise, Field(description="recorded noise")] = (
        BackgroundNoise()
    )
    telephone: Annotated[Telephone, Field(description="band and codec of a telephone")] = (
        Telephone()
    )
    gain: Annotated[Gain, Field(description="louder or quieter")] = Gain()
    mixup: Annotated[
        Mixup, Field(description="mixtures of two clips of a batch, and of their labels")
    ] = Mixup()

    @property
    def steps(self) -> dict[str, Step]:
        """The active steps that change a waveform: name -> step, in the order of the fields."""
        active = {}
        for name in type(self).model_fields:
            step = getattr(self, name)
            if step.probability and not isinstance(step, Mixup):
                active[name] = step
        return active
