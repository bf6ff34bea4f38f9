"""The `Augmenter`, which applies the steps of `Augmentation` to training clips.

The random numbers of a clip depend on seed, epoch and clip only. Steps run in the order of the
fields of `Augmentation`.
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
        augmentation: the steps.
        sampling_rate: of the clips, in Hz.
        cache_dir: of the decoded recordings of folders (default: see
            `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: naming the key of a folder that is missing or has no audio.
    """

    def __init__(
        self, augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
    ):
        # Here rather than in each worker of a DataLoader.
        import torchaudio  # noqa: F401

        self.augmentation = augmentation
        self.sampling_rate = sampling_rate
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment one clip, float32 (samples,) -> float32 (new samples,), at least one sample.

        The result may be the clip itself or a view of it. Each step depends on one number from
        `rng` and its own name, so that it draws the same values with and without other steps.
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
            name: a field of `Augmentation`. The folder of a step is only read if its probability is
                above 0.
            waveform: float32 (samples,).
            rng: draws the values of the step.

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
        """An impulse response, float32 (samples,): a recorded one if the step has a folder."""
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
    """The recordings of the folders of active steps, by step. Raises as `open_audio_folder`."""
    recordings = {}
    for name, step in augmentation.steps.items():
        folder = getattr(step, "folder", None)
        if folder is not None:
            key = f"augment.{name}.folder"
            recordings[name] = open_audio_folder(folder, sampling_rate, key, cache_dir)
    return recordings
