"""What may be done to training clips, each step with its probability and its range.

Validation and test clips are never touched. Each step draws a value uniformly from its range, anew for every clip and
epoch, from a generator that seed, epoch and clip decide: the same for any number of workers and processes, and after
an interruption. `ser_hf.audio.augmentation` does the work, in the order of the fields of `Augmentation`.
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


_FOLDERS = ("reverberation", "background_noise")


class Augmenter:
    """Changes one clip at a time; keeps nothing between clips, and travels to workers by pickling.

    Args:
        augmentation: which steps, how often and how strongly. The attribute holds only what the sampling rate can:
            the range of a band's upper edge ends at half of it.
        sampling_rate: Hz of the clips.
        store: waveforms by row, from which babble is made where background noise has no folder. Without a store the
            background is steady noise with the clip's own spectrum.
        babble_rows: the rows for babble: those of the training clips (default: all of the store).
        cache_dir: where the recordings of folders are kept decoded (default: see `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: naming the key of a folder that is missing or holds no audio, or of a frequency that the sampling
            rate cannot hold.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        sampling_rate: int,
        store: Waveforms | None = None,
        babble_rows: Sequence[int] | None = None,
        cache_dir: str | Path | None = None,
    ):
        self.augmentation, self.sampling_rate = _held(augmentation, sampling_rate), sampling_rate
        self.store = store
        self.babble_rows = range(len(store)) if store is not None and babble_rows is None else babble_rows
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The clip, float32 (samples,), after each step that falls to it: float32 (other samples,), one at the least.

        The clip itself is not written to; it, or a view of it, is what comes back where nothing else was to be done.
        Of `rng` one number is taken. It and a step's name decide whether the step happens and how: what another step
        does, or whether there is one, changes nothing of that.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        seed = int(rng.integers(2**63))
        for name, step in self.augmentation.steps.items():
            own = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if own.random() < step.probability:
                waveform = self.apply(name, waveform, own)
        return waveform

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One step, whatever its probability, with values drawn from `rng`; a folder counts only where the step has a
        probability."""
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
        raise ValueError(f"{name}: no step on a waveform")

    def draw(self, name: str, rng: np.random.Generator, field: str) -> Any:
        """A value for one clip: a number out of the range `field` of a step, or one of its codecs."""
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
        """What sounds besides, as long as the clip: recorded, babble, or noise with the clip's own spectrum."""
        recorded = self.recordings.get("background_noise")
        if recorded is not None:
            return transforms.piece(recorded, range(len(recorded)), len(waveform), rng)
        if self.store is not None:
            return transforms.babble(self.store, self.babble_rows, len(waveform), rng)
        return transforms.speech_shaped(waveform, rng)


def open_recordings(
    augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
) -> dict[str, WaveformStore]:
    """What the folders of the steps that may happen hold, by the step's name. Raises what `open_audio_folder` does."""
    steps = augmentation.steps
    return {
        name: open_audio_folder(steps[name].folder, sampling_rate, f"augment.{name}.folder", cache_dir)
        for name in _FOLDERS
        if name in steps and steps[name].folder is not None
    }


def _held(augmentation: Augmentation, sampling_rate: int) -> Augmentation:
    """The augmentation without the frequencies that audio at `sampling_rate` Hz does not hold."""
    band, most = augmentation.band_limit, sampling_rate / 2
    if "band_limit" not in augmentation.steps:
        return augmentation
    if band.low[1] >= most:
        holds = f"audio at {sampling_rate} Hz holds only what is below {most:g} Hz"
        raise UserError(f"augment.band_limit.low: up to {band.low[1]:g} Hz would leave nothing, {holds}")
    high = [min(edge, most) for edge in band.high]
    return dataclasses.replace(augmentation, band_limit=dataclasses.replace(band, high=high))
