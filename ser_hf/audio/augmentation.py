"""Augmentation of training clips: the settings of each step, and the `Augmenter` that applies them.

Validation and test clips are never changed. Each step draws a value uniformly from its range for every clip and epoch,
from a generator that depends on seed, epoch and clip only: results do not depend on the number of workers and
processes, or on an interruption. Steps run in the order of the fields of `Augmentation`.
"""

import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.errors import UserError
from . import transforms
from .prepare import open_audio_folder
from .store import WaveformStore
from .transforms import Waveforms

CODECS = ("mu_law", "a_law", "gsm", "adpcm")


@dataclasses.dataclass(frozen=True)
class Step:
    """A step with the probability that it is applied to a clip. Zero and null (the default) switch it off; with null
    no other setting of the step is allowed, as it would have no effect."""

    probability: float | None = None

    def __post_init__(self):
        if self.probability is None:
            for field in dataclasses.fields(self):
                default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
                if getattr(self, field.name) != default:
                    raise ValueError(f"probability: missing; {field.name} has no effect without it")
        elif not 0 <= self.probability <= 1:
            raise ValueError(f"probability: expected between 0 and 1, got {self.probability}")
        for field in dataclasses.fields(self):
            if field.metadata:
                self._check(field.name, **field.metadata)

    def _check(self, name: str, least: float, most: float) -> None:
        values = getattr(self, name)
        if len(values) != 2 or not least <= values[0] <= values[1] <= most or not all(map(math.isfinite, values)):
            limits = f"from {least:g} or more" + (f" to {most:g} or less" if most < math.inf else "")
            raise ValueError(f"{name}: expected two numbers, the minimum and the maximum, {limits}, got {values}")


def _between(low: float, high: float, least: float = -math.inf, most: float = math.inf) -> Any:
    return dataclasses.field(default_factory=lambda: [low, high], metadata={"least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class Crop(Step):
    """A random crop with a `share` of the clip's length. (`audio.max_duration` limits the length as well.)"""

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
    """Shifted later (negative: earlier) by `seconds`, and padded with silence; of a short clip at most half is
    lost."""

    seconds: list[float] = _between(-0.3, 0.3, -10.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Reverberation(Step):
    """Convolution with a room's impulse response: a file under `folder`, or one generated with a decay time (s, to
    -60 dB) and a direct-to-reverberant ratio (dB) from these ranges."""

    decay: list[float] = _between(0.1, 0.8, 0.02, 10.0)
    direct_to_reverberant: list[float] = _between(0.0, 15.0, -20.0, 60.0)
    folder: str | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("decay", "direct_to_reverberant"):
            if self.folder is not None and getattr(self, name) != getattr(Reverberation(), name):
                raise ValueError(f"{name}: has no effect with `folder`, whose responses have their own; remove one")


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
    """A crop of a recording under `folder`, or babble (a sum of three to eight training clips), at an `snr` in dB."""

    snr: list[float] = _between(5.0, 30.0, -20.0, 100.0)
    folder: str | None = None


@dataclasses.dataclass(frozen=True)
class BandLimit(Step):
    """A band-pass filter between a `low` and a `high` edge (Hz). The range of `high` is limited to half of the
    sampling rate."""

    low: list[float] = _between(20.0, 300.0, 0.0)
    high: list[float] = _between(3000.0, 7500.0, 100.0)

    def __post_init__(self):
        super().__post_init__()
        if self.low[1] >= self.high[0]:
            raise ValueError(f"low: up to {self.low[1]:g} Hz, which must be below `high`, from {self.high[0]:g} Hz")


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
    """The loudest `share` of the samples clipped at one level, as by a microphone with too much gain."""

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
            raise ValueError(f"speakers: {self.speakers!r} is not one of any, same, other")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The steps for training clips in their order, that of a recording: the voice, the room, the background, the line,
    the level. `mixup` then mixes clips of a batch; `oversample` repeats clips of rare classes, each time with another
    augmentation, until all classes are as frequent as the most frequent one."""

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
        """The active steps on a waveform, by name, in their order."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: step
            for name, step in own.items()
            if isinstance(step, Step) and not isinstance(step, Mixup) and step.probability
        }


_FOLDERS = ("reverberation", "background_noise")


class Augmenter:
    """Augments one clip at a time. It has no state between clips and can be pickled.

    Args:
        augmentation: the settings. In the attribute the frequencies are limited to half of the sampling rate.
        sampling_rate: Hz of the clips.
        store: waveforms by row, for babble if background noise has no folder. Without a store the background is
            stationary noise with the spectrum of the clip.
        babble_rows: the rows for babble: those of the training clips (default: all of the store).
        cache_dir: of the decoded recordings of folders (default: see `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: naming the key of a folder that is missing or has no audio, or of a frequency above half of the
            sampling rate.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        sampling_rate: int,
        store: Waveforms | None = None,
        babble_rows: Sequence[int] | None = None,
        cache_dir: str | Path | None = None,
    ):
        self.augmentation, self.sampling_rate = _band_limited(augmentation, sampling_rate), sampling_rate
        self.store = store
        self.babble_rows = range(len(store)) if store is not None and babble_rows is None else babble_rows
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The augmented clip, float32 (new samples,), at least one sample.

        The clip is not modified; the result may be the clip or a view of it. One number is drawn from `rng`. Each step
        depends only on that number and on its own name, not on other steps.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        seed = int(rng.integers(2**63))
        for name, step in self.augmentation.steps.items():
            own = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if own.random() < step.probability:
                waveform = self.apply(name, waveform, own)
        return waveform

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Applies one step regardless of its probability; a folder is used only if the step has a probability."""
        draw, rate = functools.partial(self.draw, name, rng), self.sampling_rate
        match name:
            case "crop":
                return transforms.crop(waveform, draw("share"), rng)
            case "speed":
                return transforms.speed(waveform, draw("factor"))
            case "tempo":
                return transforms.tempo(waveform, draw("factor"), rate)
            case "pitch":
                return transforms.pitch(waveform, draw("semitones"), rate)
            case "vocal_tract":
                return transforms.vocal_tract(waveform, draw("factor"), rate)
            case "time_shift":
                return transforms.time_shift(waveform, draw("seconds"), rate)
            case "reverberation":
                return transforms.reverberate(waveform, self._response(rng))
            case "gaussian_noise":
                return transforms.add_noise(waveform, transforms.gaussian(len(waveform), rng), draw("snr"))
            case "coloured_noise":
                noise = transforms.coloured(len(waveform), draw("exponent"), rate, rng)
                return transforms.add_noise(waveform, noise, draw("snr"))
            case "background_noise":
                return transforms.add_noise(waveform, self._background(waveform, rng), draw("snr"))
            case "band_limit":
                return transforms.band_limit(waveform, draw("low"), draw("high"), rate)
            case "telephone":
                return transforms.telephone(waveform, draw("codecs"), rate)
            case "clipping":
                return transforms.clip(waveform, draw("share"))
            case "gain":
                return transforms.gain(waveform, draw("decibels"))
        raise ValueError(f"{name}: not a step on waveforms")

    def draw(self, name: str, rng: np.random.Generator, field: str) -> Any:
        """A random value for one clip: a number from the range `field` of a step, or one of its codecs."""
        values = getattr(getattr(self.augmentation, name), field)
        return values[rng.integers(len(values))] if field == "codecs" else rng.uniform(*values)

    def _response(self, rng: np.random.Generator) -> np.ndarray:
        """A room's impulse response, recorded or generated."""
        recorded = self.recordings.get("reverberation")
        if recorded is not None:
            return recorded[int(rng.integers(len(recorded)))]
        decay, ratio = (self.draw("reverberation", rng, field) for field in ("decay", "direct_to_reverberant"))
        return transforms.generated_response(decay, ratio, self.sampling_rate, rng)

    def _background(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Background as long as the clip: recorded, babble, or noise with the spectrum of the clip."""
        recorded = self.recordings.get("background_noise")
        if recorded is not None:
            return transforms.random_crop(recorded, range(len(recorded)), len(waveform), rng)
        if self.store is not None:
            return transforms.babble(self.store, self.babble_rows, len(waveform), rng)
        return transforms.speech_shaped(waveform, rng)


def open_recordings(
    augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
) -> dict[str, WaveformStore]:
    """The recordings of the folders of active steps, by step. Raises as `open_audio_folder`."""
    steps = augmentation.steps
    return {
        name: open_audio_folder(steps[name].folder, sampling_rate, f"augment.{name}.folder", cache_dir)
        for name in _FOLDERS
        if name in steps and steps[name].folder is not None
    }


def _band_limited(augmentation: Augmentation, sampling_rate: int) -> Augmentation:
    """The augmentation with frequencies up to half of the sampling rate."""
    band, most = augmentation.band_limit, sampling_rate / 2
    if "band_limit" not in augmentation.steps:
        return augmentation
    if band.low[1] >= most:
        raise UserError(
            f"augment.band_limit.low: up to {band.low[1]:g} Hz would leave nothing: audio at {sampling_rate} Hz has "
            f"frequencies below {most:g} Hz"
        )
    high = [min(edge, most) for edge in band.high]
    return dataclasses.replace(augmentation, band_limit=dataclasses.replace(band, high=high))
