"""Augmentation of training clips: the settings of each step, and the `Augmenter` that applies them.

Each step draws a value uniformly from its range for every clip and epoch, from a generator that
depends on seed, epoch and clip only. Steps run in the order of the fields of `Augmentation`.
"""

import dataclasses
import functools
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ..utils.errors import UserError
from ..utils.files import folders_below
from ..utils.yaml import PathName, Range
from . import transforms
from .decode import SUFFIXES
from .store import WaveformStore, open_store

CODECS = ("mu_law", "a_law", "gsm", "adpcm")
# Suffixes of all formats that libsndfile reads.
_SUFFIXES = SUFFIXES | {".aifc", ".caf", ".snd", ".sph", ".w64"}


@dataclasses.dataclass(frozen=True)
class Step:
    """A step and the probability that it changes a clip; 0 and null (the default) switch it off."""

    probability: Annotated[float, Range(min=0, max=1)] | None = None

    def __post_init__(self):
        if self.probability is None and dataclasses.replace(self, probability=0.0) != type(self)(
            0.0
        ):
            raise ValueError("probability: missing; the other keys have no effect without it")
        for field in dataclasses.fields(self):
            if field.metadata:
                least, most = field.metadata["limits"]
                values = getattr(self, field.name)
                if len(values) != 2 or not least <= values[0] <= values[1] <= most:
                    raise ValueError(
                        f"{field.name}: expected two numbers, the minimum and the maximum, from {least:g} or more to "
                        f"{most:g} or less, got {values}"
                    )


def _between(low: float, high: float, least: float, most: float) -> Any:
    return dataclasses.field(
        default_factory=lambda: [low, high], metadata={"limits": (least, most)}
    )


@dataclasses.dataclass(frozen=True)
class Speed(Step):
    """Play faster (above 1) or slower: tempo, pitch and formants change together (Ko et al.,
    Interspeech 2015).
    """

    factor: list[float] = _between(0.9, 1.1, 0.5, 2.0)


@dataclasses.dataclass(frozen=True)
class Pitch(Step):
    """Shift pitch and formants by `semitones` at the same tempo."""

    semitones: list[float] = _between(-2.0, 2.0, -12.0, 12.0)


@dataclasses.dataclass(frozen=True)
class Reverberation(Step):
    """Convolution with a room's impulse response: a file under `folder`, or one generated with a
    decay time (s, to -60 dB) and a direct-to-reverberant ratio (dB) from these ranges."""

    decay: list[float] = _between(0.1, 0.8, 0.02, 10.0)
    direct_to_reverberant: list[float] = _between(0.0, 15.0, -20.0, 60.0)
    folder: PathName | None = None


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Step):
    """White noise at a signal-to-noise ratio in dB, of the mean powers over the whole clip, pauses
    and all.
    """

    snr: list[float] = _between(10.0, 40.0, -20.0, 100.0)


@dataclasses.dataclass(frozen=True)
class ColoredNoise(Step):
    """Noise whose power falls with frequency as 1 / f ** `exponent` (0 white, 1 pink, 2 brown), at
    an `snr` in dB.
    """

    snr: list[float] = _between(10.0, 40.0, -20.0, 100.0)
    exponent: list[float] = _between(0.0, 2.0, -2.0, 4.0)


@dataclasses.dataclass(frozen=True)
class BackgroundNoise(Step):
    """A crop of a recording under `folder`, at an `snr` in dB."""

    snr: list[float] = _between(5.0, 30.0, -20.0, 100.0)
    folder: PathName | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.probability and self.folder is None:
            raise ValueError("folder: missing; name a folder of recordings, or use coloured_noise")


@dataclasses.dataclass(frozen=True)
class Telephone(Step):
    """The band of a telephone (300 to 3400 Hz) at 8 kHz, through one of `codecs`."""

    codecs: list[Literal["mu_law", "a_law", "gsm", "adpcm"]] = dataclasses.field(
        default_factory=lambda: [*CODECS]
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.codecs:
            raise ValueError(f"codecs: expected some of {', '.join(CODECS)}")


@dataclasses.dataclass(frozen=True)
class Gain(Step):
    """Change the level by `decibels`."""

    decibels: list[float] = _between(-6.0, 6.0, -60.0, 60.0)


@dataclasses.dataclass(frozen=True)
class Mixup(Step):
    """A clip mixed with another of its batch, and their labels in the same shares (Zhang et al.
    2018, arXiv:1710.09412), in shares from Beta(`alpha`, `alpha`)."""

    alpha: Annotated[float, Range(above=0, max=100)] = 0.4


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The steps for training clips in order: voice, room, background, telephone line, level; then
    `mixup`.
    """

    speed: Speed = Speed()
    pitch: Pitch = Pitch()
    reverberation: Reverberation = Reverberation()
    gaussian_noise: GaussianNoise = GaussianNoise()
    coloured_noise: ColoredNoise = ColoredNoise()
    background_noise: BackgroundNoise = BackgroundNoise()
    telephone: Telephone = Telephone()
    gain: Gain = Gain()
    mixup: Mixup = Mixup()

    @property
    def steps(self) -> dict[str, Step]:
        """The active steps on a waveform, by name, in their order."""
        return {
            name: step
            for name, step in vars(self).items()
            if isinstance(step, Step) and not isinstance(step, Mixup) and step.probability
        }


class Augmenter:
    """Augments one clip at a time. It has no state between clips and can be pickled.

    Args:
        cache_dir: of the decoded recordings of folders (default: see
            `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: naming the key of a folder that is missing or has no audio.
    """

    def __init__(
        self, augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
    ):
        self.augmentation = augmentation
        self.sampling_rate = sampling_rate
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment one clip, float32 (samples,) -> float32 (new samples,), at least one sample.

        The result may be the clip itself or a view of it. Each step depends on one number from
        `rng` and its own name.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        seed = int(rng.integers(2**63))
        for name, step in self.augmentation.steps.items():
            own = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if own.random() < step.probability:
                waveform = self.apply(name, waveform, own)
        return waveform

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply one step to a clip, whatever its probability.

        Args:
            name: a field of `Augmentation`. The folder of a step is only read if its probability is
                above 0.
            waveform: float32 (samples,).
            rng: draws the values of the step.

        Returns:
            float32 (new samples,).
        """
        draw = functools.partial(self.draw, name, rng)
        rate = self.sampling_rate
        match name:
            case "speed":
                return transforms.speed(waveform, draw("factor"))
            case "pitch":
                return transforms.pitch(waveform, draw("semitones"), rate)
            case "reverberation":
                return transforms.reverberate(waveform, self._response(rng))
            case "gaussian_noise":
                return transforms.add_noise(
                    waveform, transforms.gaussian(len(waveform), rng), draw("snr")
                )
            case "coloured_noise":
                noise = transforms.colored(len(waveform), draw("exponent"), rate, rng)
                return transforms.add_noise(waveform, noise, draw("snr"))
            case "background_noise":
                noise = transforms.random_crop(self.recordings[name], len(waveform), rng)
                return transforms.add_noise(waveform, noise, draw("snr"))
            case "telephone":
                return transforms.telephone(waveform, draw("codecs"), rate)
            case "gain":
                return transforms.gain(waveform, draw("decibels"))
        raise ValueError(f"{name}: not a step on waveforms")

    def draw(self, name: str, rng: np.random.Generator, field: str) -> Any:
        """Draw a value for one clip: a number from the range `field` of the step `name`, or one of
        its codecs.
        """
        values = getattr(getattr(self.augmentation, name), field)
        return values[rng.integers(len(values))] if field == "codecs" else rng.uniform(*values)

    def _response(self, rng: np.random.Generator) -> np.ndarray:
        recorded = self.recordings.get("reverberation")
        if recorded is not None:
            return recorded[int(rng.integers(len(recorded)))]
        decay, ratio = (
            self.draw("reverberation", rng, field) for field in ("decay", "direct_to_reverberant")
        )
        return transforms.generated_response(decay, ratio, self.sampling_rate, rng)


def open_recordings(
    augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
) -> dict[str, WaveformStore]:
    """The recordings of the folders of active steps, by step. Raises as `open_audio_folder`."""
    return {
        name: open_audio_folder(step.folder, sampling_rate, f"augment.{name}.folder", cache_dir)
        for name, step in augmentation.steps.items()
        if getattr(step, "folder", None) is not None
    }


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """The audio files below `folder`, sorted by path, as a store of waveforms at `sampling_rate` Hz
    in `cache_dir`.

    Links are followed, a folder with several links is read once, and hidden folders and files are
    left out.

    Raises:
        UserError: naming `key` of the recipe, and the path that is missing, cannot be read or has
            no audio.
        AudioError: naming the files that cannot be decoded.
    """

    def refuse(error: OSError) -> None:
        raise error

    if not str(folder).strip():
        raise UserError(f"{key}: {str(folder)!r} is not a folder; give its path, or remove the key")
    try:
        root = Path(folder).expanduser()
        files = [
            Path(below, name) for below, names in folders_below(root, refuse) for name in names
        ]
        # A broken link is refused: it may be a folder of recordings.
        audio = [path for path in files if path.suffix.lower() in _SUFFIXES or path.is_symlink()]
        paths = sorted(
            path
            for path in audio
            if path.stat() and path.is_file() and path.suffix.lower() in _SUFFIXES
        )
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path, no such user's home
        raise UserError(
            f"{key}: cannot read {str(folder)!r}: {error}; correct the path, or remove the key"
        ) from None
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    return open_store(
        [{"path": str(path), "bytes": None} for path in paths], sampling_rate, cache_dir
    )
