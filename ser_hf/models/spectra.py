"""Short-time analysis: power spectra of frames, mel bands and cepstra."""

import copy
import math
import warnings

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

from .configuration import AcousticConfig, FrameConfig
from .feature_augmentation import warp_bands

# On a CPU: frames whose spectra are computed at a time, so that they stay in its cache, and bands
# of a matrix product.
FRAMES_AT_ONCE = 1024
BANDS_AT_ONCE = 32


def at_speed(config: AcousticConfig, speed: float) -> AcousticConfig:
    """The analysis whose features of a clip are those of the clip played at another speed, without
    resampling it: as many frames for so many more samples, and the same bands of the frequencies
    that the samples then have."""
    changed = copy.copy(config)
    for name in ("sampling_rate", "win_length", "hop_length"):
        setattr(changed, name, round(getattr(config, name) * speed))
    changed.n_fft = max(2 * math.ceil(config.n_fft * speed / 2), changed.win_length)
    changed.f_max = config.f_max or config.sampling_rate / 2
    return changed


# Short-time analysis


class DerivedBuffers(nn.Module):
    """A module with buffers that its `fill` computes from the configuration: not saved, and float32
    also when the model is cast: a rounded window would let loud frequencies leak into quiet bands.
    """

    def derive(self, name: str, *shape: int) -> None:
        self.register_buffer(name, torch.empty(shape, dtype=torch.float32), persistent=False)

    @torch.no_grad()
    def reset(self) -> None:
        if not any(self._buffers[name].is_meta for name in self._non_persistent_buffers_set):
            self.fill()

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        for name in self._non_persistent_buffers_set:
            if self._buffers[name].dtype != torch.float32:
                self._buffers[name] = self._buffers[name].float()
                self.reset()
        return self


class ShortTime(DerivedBuffers):
    """Windowed power spectra of frames, at least `min_frames` of a clip."""

    def __init__(self, config: FrameConfig, min_frames: int = 1):
        super().__init__()
        self.config = config
        self.min_frames = min_frames
        self.derive("window", config.n_fft)
        self.reset()

    def fill(self) -> None:
        config = self.config
        window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[config.window](
            config.win_length
        )
        left = (config.n_fft - config.win_length) // 2
        self.window.copy_(
            nn.functional.pad(window, (left, config.n_fft - config.win_length - left))
        )

    def frame_counts(self, lengths: torch.Tensor) -> torch.Tensor:
        """Number of frames (batch,) inside clips of `lengths` samples, or that begin in them when
        centered.
        """
        reach = 0 if self.config.center else self.config.n_fft
        frames = torch.div(lengths - reach, self.config.hop_length, rounding_mode="floor") + 1
        return frames.clamp(min=self.min_frames)

    def pad(self, waveform: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Add the samples that framing needs before and after (batch, samples), reflected at
        `lengths` (batch,).
        """
        before = after = self.config.n_fft // 2 if self.config.center else 0
        least = self.config.n_fft + (self.min_frames - 1) * self.config.hop_length - before
        # An exported graph must not depend on how long the clips are: there it always pads enough.
        missing = least if torch.compiler.is_compiling() else max(0, least - waveform.shape[1])
        padded = nn.functional.pad(waveform, (before, max(missing, after)))
        return reflected(padded, lengths, before) if self.config.edges == "reflect" else padded

    def cut(self, padded: torch.Tensor) -> torch.Tensor:
        """Cut the output of `pad`, or samples of the same shape, into (batch, frames, n_fft)
        without a window.
        """
        return padded.unfold(1, self.config.n_fft, self.config.hop_length)

    def mask(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(batch, frames), true for the real ones of `frames` (batch, frames, ...)."""
        return (
            torch.arange(frames.shape[1], device=lengths.device)
            < self.frame_counts(lengths)[:, None]
        )

    def power(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, n_fft) -> (batch, frames, n_fft // 2 + 1)."""
        # Real and imaginary parts are interleaved in memory: squaring both in one pass takes half
        # the time.
        squares = torch.view_as_real(torch.fft.rfft(frames * self.window.float())).square_()
        return squares[..., 0] + squares[..., 1]


def reflected(padded: torch.Tensor, lengths: torch.Tensor, reach: int) -> torch.Tensor:
    """Clips that begin at sample `reach` of `padded` (batch, samples), continued before and after
    by reflection.
    """
    last = (lengths - 1)[:, None]
    position = torch.arange(padded.shape[1], device=padded.device)[None] - reach
    # A triangle wave over the clip's samples. A single sample is its own reflection.
    position = torch.remainder(position, (2 * last).clamp(min=1))
    source = torch.minimum(position, 2 * last - position).clamp(min=0)
    inside = (
        torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None] + 2 * reach
    )
    return padded.gather(1, source + reach) * inside


# Mel bands and cepstra


class LogMel(DerivedBuffers):
    """Compressed mel spectrogram, equal to librosa's and torchaudio's; in training its bands may be
    warped.
    """

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.config = config
        self.short_time = ShortTime(config, min_frames)
        self.size = config.n_mels
        self.derive("filters", config.n_fft // 2 + 1, config.n_mels)
        self.derive("centers", config.n_mels)
        self.reset()

    def fill(self) -> None:
        config = self.config
        ceiling = config.f_max or config.sampling_rate / 2
        with warnings.catch_warnings():
            # Filters of zeros: above half the rate of a clip that is played slower, or too narrow
            # for `n_fft`.
            warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
            filters = mel_filter_bank(
                num_frequency_bins=config.n_fft // 2 + 1,
                num_mel_filters=config.n_mels,
                min_frequency=config.f_min,
                max_frequency=ceiling,
                sampling_rate=config.sampling_rate,
                norm="slaney" if config.mel_scale == "slaney" else None,
                mel_scale=config.mel_scale,
            )
        self.filters.copy_(torch.from_numpy(filters))
        # Bins and bands of the parts of the filter bank that are not all zero: each band has few
        # bins.
        self.spans = []
        for begin in range(0, config.n_mels, BANDS_AT_ONCE):
            bands = slice(begin, begin + BANDS_AT_ONCE)
            used = np.flatnonzero(filters[:, bands].any(axis=1))
            self.spans.append(
                (slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1), bands)
            )
        edges = hertz_to_mel(np.array([config.f_min, ceiling]), mel_scale=config.mel_scale)
        centers = mel_to_hertz(
            np.linspace(*edges, config.n_mels + 2)[1:-1], mel_scale=config.mel_scale
        )
        self.centers.copy_(torch.from_numpy(centers))

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute mel bands: (batch, samples), lengths (batch,) -> (batch, frames, bands), mask
        (batch, frames).
        """
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float(), lengths))
            mask = self.short_time.mask(frames, lengths)
            spectrum = self._compress(self._mel(frames), mask)
            if self.training and self.config.band_warp:
                spectrum = warp_bands(spectrum, self.centers.float(), self.config.band_warp)
        return spectrum, mask

    def _mel(self, frames: torch.Tensor) -> torch.Tensor:
        power = self.short_time.power
        filters = self.filters.float()
        if frames.device.type != "cpu" or torch.compiler.is_compiling():
            return power(frames) @ filters

        def bands_of(some: torch.Tensor) -> torch.Tensor:
            spectra = power(some)
            return torch.cat(
                [spectra[..., bins] @ filters[bins, bands] for bins, bands in self.spans], dim=2
            )

        clips = frames.split(max(1, FRAMES_AT_ONCE // frames.shape[1]))
        return torch.cat(
            [
                torch.cat([bands_of(some) for some in few.split(FRAMES_AT_ONCE, 1)], 1)
                for few in clips
            ]
        )

    def _compress(self, mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.compression == "log":
            return torch.log(mel + config.floor)
        decibels = 10.0 * mel.clamp(min=config.floor).log10()
        if config.top_db is None:
            return decibels
        peak = decibels.amax(dim=2).masked_fill(~mask, float("-inf")).amax(dim=1)
        return torch.maximum(decibels, peak[:, None, None] - config.top_db)


class Mfcc(DerivedBuffers):
    """Mel-frequency cepstral coefficients, frames x coefficients, with ``compression: db`` equal to
    librosa's.
    """

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.mel = LogMel(config, min_frames)
        self.size = config.n_mfcc
        self.derive("basis", config.n_mels, config.n_mfcc)
        self.reset()

    def fill(self) -> None:
        inputs, outputs = self.basis.shape
        angles = torch.arange(outputs) * (torch.arange(inputs)[:, None] + 0.5) * (math.pi / inputs)
        self.basis.copy_(torch.cos(angles) * math.sqrt(2 / inputs))
        self.basis[:, 0] /= math.sqrt(2)

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        spectrum, mask = self.mel(waveform, lengths)
        with torch.autocast(waveform.device.type, enabled=False):
            return spectrum @ self.basis.float(), mask
