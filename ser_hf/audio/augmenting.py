"""Training clips changed as `Augmentation` says, each by random numbers of its own."""

import dataclasses
import functools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from . import channels, noises, rooms, voices
from .audio_folder import open_audio_folder
from .augmentation import Augmentation
from .noises import Waveforms
from .store import WaveformStore

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
        cache_dir: where the recordings of folders are kept decoded (default: see `ser_hf.cache.cache_root`).

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
                return channels.crop(waveform, draw("share"), rng)
            case "speed":
                return voices.speed(waveform, draw("factor"))
            case "tempo":
                return voices.tempo(waveform, draw("factor"), rate)
            case "pitch":
                return voices.pitch(waveform, draw("semitones"), rate)
            case "vocal_tract":
                return voices.vocal_tract(waveform, draw("factor"), rate)
            case "time_shift":
                return channels.time_shift(waveform, draw("seconds"), rate)
            case "reverberation":
                return rooms.reverberate(waveform, self._response(rng))
            case "gaussian_noise":
                return noises.add_noise(waveform, noises.gaussian(len(waveform), rng), draw("snr"))
            case "coloured_noise":
                noise = noises.coloured(len(waveform), draw("exponent"), rate, rng)
                return noises.add_noise(waveform, noise, draw("snr"))
            case "background_noise":
                return noises.add_noise(waveform, self._background(waveform, rng), draw("snr"))
            case "band_limit":
                return channels.band_limit(waveform, draw("low"), draw("high"), rate)
            case "telephone":
                return channels.telephone(waveform, draw("codecs"), rate)
            case "clipping":
                return channels.clip(waveform, draw("share"))
            case "gain":
                return channels.gain(waveform, draw("decibels"))
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
        return rooms.generated_response(decay, ratio, self.sampling_rate, rng)

    def _background(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What sounds besides, as long as the clip: recorded, babble, or noise with the clip's own spectrum."""
        recorded = self.recordings.get("background_noise")
        if recorded is not None:
            return noises.piece(recorded, range(len(recorded)), len(waveform), rng)
        if self.store is not None:
            return noises.babble(self.store, self.babble_rows, len(waveform), rng)
        return noises.speech_shaped(waveform, rng)


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
