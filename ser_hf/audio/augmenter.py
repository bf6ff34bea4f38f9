"""The `Augmenter`, which applies the steps of `Augmentation` to training clips.

The random numbers for a clip depend only on the seed, the epoch and the clip. Steps run in the
order of the fields of `Augmentation`.
"""

import zlib
from pathlib import Path

import numpy as np

from . import transforms
from .audio_folder import open_audio_folder
from .augmentation import Augmentation
from .store import WaveformStore


class Augmenter:
    """Augments one clip at a time. It has no state between clips and can be pickled.

    Args:
        augmentation: the settings of the steps.
        sampling_rate: the sampling rate of the clips, in Hz.
        cache_dir: the cache for the decoded recordings of noise and rooms (default: see
            `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: if a folder of recordings is missing or has no audio; the message names its key.
    """

    def __init__(
        self, augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
    ):
        # Imported here once, and not in each worker process of a DataLoader.
        import torchaudio  # noqa: F401

        self.augmentation = augmentation
        self.sampling_rate = sampling_rate
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment one clip, float32 (samples,) -> float32 (new samples,), at least one sample.

        The result may be the clip itself or a view of it. The generator of each step is seeded with
        one number from `rng` and with the name of the step. A step therefore draws the same values
        with and without other steps.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        seed = int(rng.integers(2**63))
        for name, step in self.augmentation.steps.items():
            step_rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if step_rng.random() < step.probability:
                waveform = self.apply(name, waveform, step_rng)
        return waveform

    def apply(self, name: str, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply one step to a clip, whatever its probability.

        Args:
            name: a field of `Augmentation`. If the step uses a folder of recordings, its
                probability must be above 0, because the folder is not read otherwise.
            waveform: the clip, float32 (samples,).
            rng: the generator that draws the parameters of the step.

        Returns:
            float32 (new samples,).
        """
        steps = self.augmentation
        rate = self.sampling_rate
        match name:
            case "speed":
                return transforms.speed(waveform, rng.uniform(*steps.speed.factor))
            case "pitch":
                return transforms.pitch(waveform, rng.uniform(*steps.pitch.semitones), rate)
            case "reverberation":
                return transforms.reverberate(waveform, self._response(rng))
            case "gaussian_noise":
                noise = transforms.gaussian(len(waveform), rng)
                return transforms.add_noise(waveform, noise, rng.uniform(*steps.gaussian_noise.snr))
            case "coloured_noise":
                exponent = rng.uniform(*steps.coloured_noise.exponent)
                noise = transforms.colored(len(waveform), exponent, rate, rng)
                return transforms.add_noise(waveform, noise, rng.uniform(*steps.coloured_noise.snr))
            case "background_noise":
                noise = transforms.random_crop(self.recordings[name], len(waveform), rng)
                snr = rng.uniform(*steps.background_noise.snr)
                return transforms.add_noise(waveform, noise, snr)
            case "telephone":
                codecs = steps.telephone.codecs
                return transforms.telephone(waveform, codecs[rng.integers(len(codecs))], rate)
            case "gain":
                return transforms.gain(waveform, rng.uniform(*steps.gain.decibels))
        raise ValueError(f"{name}: not a step on waveforms")

    def _response(self, rng: np.random.Generator) -> np.ndarray:
        """Choose a recorded impulse response, or generate one if the step has no folder.

        The result is float32 (samples,).
        """
        recorded = self.recordings.get("reverberation")
        if recorded is not None:
            return recorded[int(rng.integers(len(recorded)))]
        step = self.augmentation.reverberation
        decay = rng.uniform(*step.decay)
        ratio = rng.uniform(*step.direct_to_reverberant)
        return transforms.generated_response(decay, ratio, self.sampling_rate, rng)


def open_recordings(
    augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
) -> dict[str, WaveformStore]:
    """Open the folders of recordings that active steps use: name of the step -> its recordings.

    Raises:
        UserError, AudioError: as `open_audio_folder` does.
    """
    recordings = {}
    for name, step in augmentation.steps.items():
        folder = getattr(step, "folder", None)
        if folder is not None:
            key = f"augment.{name}.folder"
            recordings[name] = open_audio_folder(folder, sampling_rate, key, cache_dir)
    return recordings
