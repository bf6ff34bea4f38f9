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

# On a CPU, spectra are computed for so many frames at a time that they stay in the cache, and a
# matrix product computes so many bands.
FRAMES_AT_ONCE = 1024
BANDS_AT_ONCE = 32


def at_speed(config: AcousticConfig, speed: float) -> AcousticConfig:
    """Change the analysis so that a clip gets the features of the same clip at another speed.

    The clip is not resampled. Windows and hops are `speed` times as long instead, and the sampling
    rate is set to `speed` times its value, so that the mel bands lie at other frequencies of the
    clip.
    """
    changed = copy.copy(config)
    for name in ("sampling_rate", "win_length", "hop_length"):
        setattr(changed, name, round(getattr(config, name) * speed))
    changed.n_fft = max(2 * math.ceil(config.n_fft * speed / 2), changed.win_length)
    changed.f_max = config.f_max or config.sampling_rate / 2
    return changed


class DerivedBuffers(nn.Module):
    """A module with buffers that are computed from the configuration, and therefore not saved.

    They stay float32 when the model is cast to half precision: a rounded window would let loud
    frequencies leak into quiet bands. A subclass registers them with `derive`, computes them in
    `fill`, and calls `reset` at the end of its `__init__`.
    """

    def derive(self, name: str, *shape: int) -> None:
        """Register a buffer of this shape, still without values."""
        self.register_buffer(name, torch.empty(shape, dtype=torch.float32), persistent=False)

    def fill(self) -> None:
        """Compute the values of all derived buffers."""
        raise NotImplementedError

    @torch.no_grad()
    def reset(self) -> None:
        """Fill the buffers, unless they are on the meta device and have no memory yet."""
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
    """Cuts waveforms into frames, at least `min_frames` of a clip, and computes power spectra."""

    def __init__(self, config: FrameConfig, min_frames: int = 1):
        super().__init__()
        self.config = config
        self.min_frames = min_frames
        self.derive("window", config.n_fft)
        self.reset()

    def fill(self) -> None:
        window_functions = {"hann": torch.hann_window, "hamming": torch.hamming_window}
        window = window_functions[self.config.window](self.config.win_length)
        missing = self.config.n_fft - self.config.win_length
        left = missing // 2
        self.window.copy_(nn.functional.pad(window, (left, missing - left)))

    def frame_counts(self, lengths: torch.Tensor) -> torch.Tensor:
        """Count the frames of clips of `lengths` samples: (batch,) -> (batch,).

        A frame counts if it lies inside the clip, or, with `center`, if its center does.
        """
        frame_reach = 0 if self.config.center else self.config.n_fft
        last_start = lengths - frame_reach
        counts = torch.div(last_start, self.config.hop_length, rounding_mode="floor") + 1
        return counts.clamp(min=self.min_frames)

    def pad(self, waveform: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Add the samples that framing needs before and after the clips.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip; needed if ``edges: reflect`` reflects the clips.

        Returns:
            (batch, more samples).
        """
        margin = self.config.n_fft // 2 if self.config.center else 0
        samples_of_frames = self.config.n_fft + (self.min_frames - 1) * self.config.hop_length
        needed = samples_of_frames - margin
        if torch.compiler.is_compiling():
            # An exported graph must not depend on how long the clips are: it always pads enough.
            missing = needed
        else:
            missing = max(0, needed - waveform.shape[1])
        padded = nn.functional.pad(waveform, (margin, max(missing, margin)))
        if self.config.edges == "reflect":
            return reflected(padded, lengths, margin)
        return padded

    def cut(self, padded: torch.Tensor) -> torch.Tensor:
        """Cut the output of `pad` into frames: (batch, samples) -> (batch, frames, n_fft).

        The frames are not windowed.
        """
        return padded.unfold(1, self.config.n_fft, self.config.hop_length)

    def mask(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the mask of real frames: (batch, frames, ...) -> bool (batch, frames)."""
        frame_numbers = torch.arange(frames.shape[1], device=lengths.device)
        return frame_numbers < self.frame_counts(lengths)[:, None]

    def power(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute windowed power spectra: (batch, frames, n_fft) -> (batch, frames, bins).

        There are n_fft // 2 + 1 bins.
        """
        spectrum = torch.fft.rfft(frames * self.window.float())
        # Real and imaginary parts are interleaved in memory: squaring both in one pass takes half
        # the time.
        squares = torch.view_as_real(spectrum).square_()
        return squares[..., 0] + squares[..., 1]


def reflected(padded: torch.Tensor, lengths: torch.Tensor, margin: int) -> torch.Tensor:
    """Continue clips before and after by reflection.

    Args:
        padded: (batch, samples); each clip begins at sample `margin`.
        lengths: (batch,) samples of each clip.
        margin: samples to reflect on each side.

    Returns:
        (batch, samples), zero beyond the margin after each clip.
    """
    index = torch.arange(padded.shape[1], device=padded.device)[None]
    last = (lengths - 1)[:, None]
    # The positions form a triangle wave over the samples of the clip. A single sample is its own
    # reflection.
    position = torch.remainder(index - margin, (2 * last).clamp(min=1))
    source = torch.minimum(position, 2 * last - position).clamp(min=0)
    inside = index < lengths[:, None] + 2 * margin
    return padded.gather(1, source + margin) * inside


class LogMel(DerivedBuffers):
    """Compressed mel spectrogram, equal to librosa's and torchaudio's.

    `size` is the number of bands. In training its bands may be warped (`band_warp`).
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
        filters = self._filter_bank()
        self.filters.copy_(torch.from_numpy(filters))
        self.spans = _spans_of_bands(filters)
        self.centers.copy_(torch.from_numpy(self._band_centers()))

    @property
    def _highest_frequency(self) -> float:
        return self.config.f_max or self.config.sampling_rate / 2

    def _filter_bank(self) -> np.ndarray:
        """Compute the weight of each frequency in each mel band: (bins, bands)."""
        config = self.config
        with warnings.catch_warnings():
            # A filter is zero if it lies above half the sampling rate (at slower speeds), or if it
            # is too narrow for `n_fft`.
            warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
            return mel_filter_bank(
                num_frequency_bins=config.n_fft // 2 + 1,
                num_mel_filters=config.n_mels,
                min_frequency=config.f_min,
                max_frequency=self._highest_frequency,
                sampling_rate=config.sampling_rate,
                norm="slaney" if config.mel_scale == "slaney" else None,
                mel_scale=config.mel_scale,
            )

    def _band_centers(self) -> np.ndarray:
        """Compute the center frequency of each mel band in Hz: (bands,)."""
        scale = self.config.mel_scale
        edges = np.array([self.config.f_min, self._highest_frequency])
        lowest, highest = hertz_to_mel(edges, mel_scale=scale)
        corners = np.linspace(lowest, highest, self.config.n_mels + 2)
        return mel_to_hertz(corners[1:-1], mel_scale=scale)

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute mel bands.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip.

        Returns:
            Bands (batch, frames, bands), and a mask (batch, frames) bool, true for real frames.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.short_time.cut(self.short_time.pad(waveform.float(), lengths))
            mask = self.short_time.mask(frames, lengths)
            spectrum = self._compress(self._mel(frames), mask)
            if self.training and self.config.band_warp:
                spectrum = warp_bands(spectrum, self.centers.float(), self.config.band_warp)
        return spectrum, mask

    def _mel(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute the power of mel bands: (batch, frames, n_fft) -> (batch, frames, bands)."""
        if frames.device.type != "cpu" or torch.compiler.is_compiling():
            return self.short_time.power(frames) @ self.filters.float()
        mel_of_clips = []
        for clips in frames.split(max(1, FRAMES_AT_ONCE // frames.shape[1])):
            parts = [self._mel_by_spans(part) for part in clips.split(FRAMES_AT_ONCE, dim=1)]
            mel_of_clips.append(torch.cat(parts, dim=1))
        return torch.cat(mel_of_clips)

    def _mel_by_spans(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute the same as `_mel`, without products with the zeros of the filter bank."""
        spectra = self.short_time.power(frames)
        filters = self.filters.float()
        products = [spectra[..., bins] @ filters[bins, bands] for bins, bands in self.spans]
        return torch.cat(products, dim=2)

    def _compress(self, mel: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Compress powers to logarithms, or to decibels; the shape does not change.

        Decibels are limited to `top_db` below the peak of the clip.
        """
        config = self.config
        if config.compression == "log":
            return torch.log(mel + config.floor)
        decibels = 10.0 * mel.clamp(min=config.floor).log10()
        if config.top_db is None:
            return decibels
        peak = decibels.amax(dim=2).masked_fill(~mask, float("-inf")).amax(dim=1)
        return torch.maximum(decibels, peak[:, None, None] - config.top_db)


def _spans_of_bands(filters: np.ndarray) -> list[tuple[slice, slice]]:
    """Find the parts of a filter bank (bins, bands) that are not zero.

    A part is a slice of bins and a slice of up to `BANDS_AT_ONCE` bands, which need only these
    bins.
    """
    spans = []
    for first_band in range(0, filters.shape[1], BANDS_AT_ONCE):
        bands = slice(first_band, first_band + BANDS_AT_ONCE)
        used_bins = np.flatnonzero(filters[:, bands].any(axis=1))
        if len(used_bins):
            bins = slice(int(used_bins[0]), int(used_bins[-1]) + 1)
        else:
            bins = slice(0, 1)
        spans.append((bins, bands))
    return spans


class Mfcc(DerivedBuffers):
    """Mel-frequency cepstral coefficients, with ``compression: db`` equal to librosa's.

    `size` is the number of coefficients.
    """

    def __init__(self, config: AcousticConfig, min_frames: int = 1):
        super().__init__()
        self.mel = LogMel(config, min_frames)
        self.size = config.n_mfcc
        self.derive("basis", config.n_mels, config.n_mfcc)
        self.reset()

    def fill(self) -> None:
        """Compute the orthonormal discrete cosine transform (type II)."""
        bands, coefficients = self.basis.shape
        band = torch.arange(bands)[:, None]
        angles = torch.arange(coefficients) * (band + 0.5) * (math.pi / bands)
        self.basis.copy_(torch.cos(angles) * math.sqrt(2 / bands))
        self.basis[:, 0] /= math.sqrt(2)

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute cepstra.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip.

        Returns:
            Coefficients (batch, frames, size), and a mask (batch, frames) bool.
        """
        spectrum, mask = self.mel(waveform, lengths)
        with torch.autocast(waveform.device.type, enabled=False):
            return spectrum @ self.basis.float(), mask
