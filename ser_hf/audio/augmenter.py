"""The `Augmenter`, which applies the steps of `Augmentation` to training clips.

The random numbers for a clip depend only on the seed, the epoch and the clip. Steps run in the
order of the fields of `Augmentation`.
"""

import zlib
from pathlib import Path

import numpy as np

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
        for name, step in self.augmentation.waveform_steps.items():
            step_rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if step_rng.random() < step.probability:
                recordings = self.recordings.get(name)
                waveform = step.apply(waveform, step_rng, self.sampling_rate, recordings)
        return waveform


def open_recordings(
    augmentation: Augmentation, sampling_rate: int, cache_dir: str | Path | None = None
) -> dict[str, WaveformStore]:
    """Open the folders of recordings that active steps use: name of the step -> its recordings.

    Raises:
        UserError, AudioError: as `open_audio_folder` does.
    """
    recordings = {}
    for name, step in augmentation.waveform_steps.items():
        folder = getattr(step, "folder", None)
        if folder is not None:
            key = f"augment.{name}.folder"
            recordings[name] = open_audio_folder(folder, sampling_rate, key, cache_dir)
    return recordings
