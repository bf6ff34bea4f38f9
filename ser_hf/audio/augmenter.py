"""The `Augmenter`, which applies the steps of `Augmentation` to training clips.

The random numbers for a clip depend only on the seed, the epoch and the clip. Steps run in the
order of the fields of `Augmentation`.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from .audio_folder import open_audio_folder
from .augmentation import Augmentation, WaveformStep
from .store import WaveformStore
from .voices import TrainingVoices


class Augmenter:
    """Augments one clip at a time. It has no state between clips and can be pickled.

    Args:
        augmentation: the settings of the steps.
        sampling_rate: the sampling rate of the clips, in Hz.
        cache_dir: the cache for the decoded recordings of noise and rooms (default: see
            `ser_hf.utils.cache.cache_root`).
        voices: the training clips, for a step that uses the voices of other speakers, as `babble`
            does.

    Raises:
        UserError: if a folder of recordings is missing or has no audio, or if a band of frequencies
            is above half of the sampling rate; the message names the key.
        ValueError: if a step needs `voices` and they are None.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        sampling_rate: int,
        cache_dir: str | Path | None = None,
        voices: TrainingVoices | None = None,
    ):
        # Imported here once, and not in each worker process of a DataLoader.
        import torchaudio  # noqa: F401

        self.augmentation = augmentation
        self.sampling_rate = sampling_rate
        self.voices = voices
        _check_band(augmentation, sampling_rate)
        for name, step in augmentation.waveform_steps.items():
            if step.needs_voices and voices is None:
                raise ValueError(f"augment.{name}: needs the training clips; pass `voices`")
        self.recordings = open_recordings(augmentation, sampling_rate, cache_dir)

    def __call__(
        self, waveform: np.ndarray, rng: np.random.Generator, row: int | None = None
    ) -> np.ndarray:
        """Augment one clip, float32 (samples,) -> float32 (new samples,), at least one sample.

        The result may be the clip itself or a view of it. The generator of each step is seeded with
        one number from `rng` and with the name of the step. A step therefore draws the same values
        with and without other steps.

        Args:
            row: the row of the training clip, which steps with `needs_voices` need.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        seed = int(rng.integers(2**63))
        for name, step in self.augmentation.waveform_steps.items():
            step_rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
            if step_rng.random() < step.probability:
                recordings = self._recordings_for(name, step, row)
                waveform = step.apply(waveform, step_rng, self.sampling_rate, recordings)
        return waveform

    def _recordings_for(
        self, name: str, step: WaveformStep, row: int | None
    ) -> Sequence[np.ndarray] | None:
        """The waveforms that a step uses: of its folder, or of other speakers; None without."""
        if step.needs_voices:
            return self.voices.of_others(row)
        return self.recordings.get(name)


def _check_band(augmentation: Augmentation, sampling_rate: int) -> None:
    """Refuse a lower edge of the band above half of the sampling rate: nothing would be left."""
    nyquist = sampling_rate / 2
    band = augmentation.band_limit
    if band.probability and band.low[1] >= nyquist:
        raise UserError(
            f"augment.band_limit.low: goes up to {band.low[1]:g} Hz, but audio at {sampling_rate} "
            f"Hz has only frequencies below {nyquist:g} Hz; choose a lower range"
        )


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
