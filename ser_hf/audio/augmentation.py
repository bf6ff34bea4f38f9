"""The steps of augmentation: the section `augment` of a recipe, with one class for each step.

A step has a probability, ranges of its parameters, and a method that draws the parameters and
changes a clip. `ser_hf.audio.augmenter` applies the steps of a recipe to training clips.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from ..utils.settings import PathName, Settings
from . import transforms

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


class WaveformStep(Step):
    """A step that changes the waveform of one clip.

    A step with a field `folder` uses the recordings of that folder; a step with `needs_voices` uses
    the training clips of other speakers.
    """

    needs_voices: ClassVar[bool] = False

    @abstractmethod
    def apply(
        self,
        waveform: np.ndarray,
        rng: np.random.Generator,
        sampling_rate: int,
        recordings: Sequence[np.ndarray] | None,
    ) -> np.ndarray:
        """Change a clip, whatever the probability of the step.

        Args:
            waveform: the clip, float32 (samples,), which is not changed in place.
            rng: the generator that draws the parameters of the step.
            sampling_rate: the sampling rate of clip and recordings, in Hz.
            recordings: the waveforms of `folder`, or the training clips of other speakers for a
                step with `needs_voices`; None for other steps.

        Returns:
            float32 (new samples,), at least one sample. It may be the clip itself or a view of it.
        """


class Speed(WaveformStep):
    """Play faster (above 1) or slower: tempo, pitch and formants change together.

    Ko et al. 2015, "Audio augmentation for speech recognition", Interspeech.
    """

    factor: Annotated[
        Interval[Annotated[float, Field(ge=0.5, le=2)]],
        Field(description="factor on the speed"),
    ] = [0.9, 1.1]

    def apply(self, waveform, rng, sampling_rate, recordings):
        return transforms.speed(waveform, rng.uniform(*self.factor))


class Pitch(WaveformStep):
    """Shift pitch and formants at the same tempo."""

    semitones: Annotated[
        Interval[Annotated[float, Field(ge=-12, le=12)]],
        Field(description="shift in semitones"),
    ] = [-2.0, 2.0]

    def apply(self, waveform, rng, sampling_rate, recordings):
        return transforms.pitch(waveform, rng.uniform(*self.semitones), sampling_rate)


class TimeShift(WaveformStep):
    """Shift the clip in time and fill up with silence; its length stays.

    At most half of a short clip is lost.
    """

    seconds: Annotated[
        Interval[Annotated[float, Field(ge=-10, le=10)]],
        Field(description="shift in seconds: above 0 later, below 0 earlier"),
    ] = [-0.3, 0.3]

    def apply(self, waveform, rng, sampling_rate, recordings):
        return transforms.time_shift(waveform, rng.uniform(*self.seconds), sampling_rate)


class Reverberation(WaveformStep):
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

    def apply(self, waveform, rng, sampling_rate, recordings):
        if recordings is None:
            response = self._generated_response(rng, sampling_rate)
        else:
            response = recordings[int(rng.integers(len(recordings)))]
        return transforms.reverberate(waveform, response)

    def _generated_response(self, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
        """The impulse response of a random room, float32 (samples,)."""
        decay = rng.uniform(*self.decay)
        ratio = rng.uniform(*self.direct_to_reverberant)
        return transforms.generated_response(decay, ratio, sampling_rate, rng)


class GaussianNoise(WaveformStep):
    """Add white noise."""

    snr: SignalToNoise = [10.0, 40.0]

    def apply(self, waveform, rng, sampling_rate, recordings):
        noise = transforms.gaussian(len(waveform), rng)
        return transforms.add_noise(waveform, noise, rng.uniform(*self.snr))


class ColoredNoise(WaveformStep):
    """Add noise whose power falls with frequency f as 1 / f ** `exponent`."""

    snr: SignalToNoise = [10.0, 40.0]
    exponent: Annotated[
        Interval[Annotated[float, Field(ge=-2, le=4)]],
        Field(description="0 is white noise, 1 pink, 2 brown"),
    ] = [0.0, 2.0]

    def apply(self, waveform, rng, sampling_rate, recordings):
        exponent = rng.uniform(*self.exponent)
        noise = transforms.colored(len(waveform), exponent, sampling_rate, rng)
        return transforms.add_noise(waveform, noise, rng.uniform(*self.snr))


class RecordedSound(WaveformStep):
    """Add a random segment of a recording. A recording that is too short is repeated."""

    # The end of the message for a missing folder.
    _alternative: ClassVar[str] = ""

    snr: SignalToNoise = [5.0, 30.0]
    folder: Annotated[Folder | None, Field(description="folder of recordings")] = None

    @model_validator(mode="after")
    def _check_folder(self) -> Self:
        if self.probability and self.folder is None:
            raise ValueError(f"folder: missing; name a folder of recordings{self._alternative}")
        return self

    def apply(self, waveform, rng, sampling_rate, recordings):
        sound = transforms.random_crop(recordings, len(waveform), rng)
        return transforms.add_noise(waveform, sound, rng.uniform(*self.snr))


class BackgroundNoise(RecordedSound):
    """Add a random segment of a recording of noise."""

    _alternative: ClassVar[str] = ", or use coloured_noise"


class Ambience(RecordedSound):
    """Add a random segment of the ambience of a place, such as a street or an office."""


class Music(RecordedSound):
    """Add a random segment of music.

    The signal-to-noise ratio is that of Snyder et al. 2018, "X-vectors: robust DNN embeddings for
    speaker recognition", ICASSP.
    """

    snr: SignalToNoise = [5.0, 15.0]


class Babble(WaveformStep):
    """Add voices in the background: training clips of other speakers, which speak at once.

    Each voice has the same power. Number and signal-to-noise ratio are those of Snyder et al. 2018,
    "X-vectors: robust DNN embeddings for speaker recognition", ICASSP.
    """

    needs_voices: ClassVar[bool] = True

    snr: SignalToNoise = [13.0, 20.0]
    voices: Annotated[
        Interval[Annotated[int, Field(ge=1, le=50)]],
        Field(description="number of voices; fewer if there are fewer training clips"),
    ] = [3, 7]

    def apply(self, waveform, rng, sampling_rate, recordings):
        count = int(rng.integers(*self.voices, endpoint=True))
        voices = transforms.babble(recordings, count, len(waveform), rng)
        return transforms.add_noise(waveform, voices, rng.uniform(*self.snr))


class Clipping(WaveformStep):
    """Clip the loudest samples at one level, as a microphone with too much gain does."""

    share: Annotated[
        Interval[Annotated[float, Field(ge=0, le=0.9)]],
        Field(description="share of the samples that are clipped"),
    ] = [0.0, 0.05]

    def apply(self, waveform, rng, sampling_rate, recordings):
        return transforms.clip(waveform, rng.uniform(*self.share))


class BandLimit(WaveformStep):
    """Limit the band of frequencies, as a microphone or a radio does.

    At the edges, the power is halved; it falls by 24 dB in each octave beyond. An edge above half
    of the sampling rate has no effect.
    """

    low: Annotated[
        Interval[Annotated[float, Field(ge=0, le=4000)]],
        Field(description="lower edge in Hz; the range must lie below that of `high`"),
    ] = [20.0, 300.0]
    high: Annotated[
        Interval[Annotated[float, Field(ge=100, le=192_000)]],
        Field(description="upper edge in Hz"),
    ] = [3000.0, 7500.0]

    @model_validator(mode="after")
    def _check_edges(self) -> Self:
        if self.low[1] >= self.high[0]:
            raise ValueError(
                f"low: goes up to {self.low[1]:g} Hz, but high begins at {self.high[0]:g} Hz; "
                "choose ranges that do not overlap"
            )
        return self

    def apply(self, waveform, rng, sampling_rate, recordings):
        low = rng.uniform(*self.low)
        high = rng.uniform(*self.high)
        return transforms.band_limit(waveform, low, high, sampling_rate)


class Telephone(WaveformStep):
    """Simulate a telephone line: limit the band to 300 to 3400 Hz at 8 kHz, and apply a codec."""

    codecs: Annotated[
        list[Literal[CODECS]],
        Field(
            min_length=1,
            description="codecs to choose from: G.711 mu-law and A-law, GSM 06.10 full rate, "
            "IMA ADPCM",
        ),
    ] = [*CODECS]

    def apply(self, waveform, rng, sampling_rate, recordings):
        codec = self.codecs[rng.integers(len(self.codecs))]
        return transforms.telephone(waveform, codec, sampling_rate)


class Gain(WaveformStep):
    """Change the level."""

    decibels: Annotated[
        Interval[Annotated[float, Field(ge=-60, le=60)]], Field(description="change in dB")
    ] = [-6.0, 6.0]

    def apply(self, waveform, rng, sampling_rate, recordings):
        return transforms.gain(waveform, rng.uniform(*self.decibels))


class Mixup(Step):
    """Mix a clip with another clip of its batch, and mix their labels in the same proportions.

    Zhang et al. 2018, arXiv:1710.09412.
    """

    # `ser_hf.training.mixup` applies this step, because it needs a batch.

    alpha: Annotated[
        float, Field(gt=0, le=100, description="the shares are drawn from Beta(alpha, alpha)")
    ] = 0.4


class Augmentation(Settings):
    """The steps that augment training clips, in the order of the fields.

    They simulate changes of the voice, the room, the background, the microphone, the telephone line
    and the level.
    `mixup` is last.
    """

    speed: Annotated[Speed, Field(description="tempo, pitch and formants together")] = Speed()
    pitch: Annotated[Pitch, Field(description="pitch and formants without tempo")] = Pitch()
    time_shift: Annotated[TimeShift, Field(description="later or earlier")] = TimeShift()
    reverberation: Annotated[Reverberation, Field(description="sound of a room")] = Reverberation()
    gaussian_noise: Annotated[GaussianNoise, Field(description="white noise")] = GaussianNoise()
    coloured_noise: Annotated[
        ColoredNoise, Field(description="noise of which high frequencies have less power")
    ] = ColoredNoise()
    background_noise: Annotated[BackgroundNoise, Field(description="recorded noise")] = (
        BackgroundNoise()
    )
    ambience: Annotated[Ambience, Field(description="recorded ambience of places")] = Ambience()
    music: Annotated[Music, Field(description="recorded music")] = Music()
    babble: Annotated[
        Babble, Field(description="voices in the background: training clips of other speakers")
    ] = Babble()
    clipping: Annotated[Clipping, Field(description="loudest samples clipped")] = Clipping()
    band_limit: Annotated[BandLimit, Field(description="narrower band of frequencies")] = (
        BandLimit()
    )
    telephone: Annotated[Telephone, Field(description="band and codec of a telephone")] = (
        Telephone()
    )
    gain: Annotated[Gain, Field(description="louder or quieter")] = Gain()
    mixup: Annotated[
        Mixup, Field(description="mixtures of two clips of a batch, and of their labels")
    ] = Mixup()

    @property
    def active_steps(self) -> dict[str, Step]:
        """The steps with a probability above 0: name -> step, in the order of the fields."""
        steps = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: step for name, step in steps.items() if step.probability}

    @property
    def waveform_steps(self) -> dict[str, WaveformStep]:
        """The active steps that change the waveform of one clip, in the order of the fields."""
        return {
            name: step for name, step in self.active_steps.items() if isinstance(step, WaveformStep)
        }
