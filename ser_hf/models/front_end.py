"""The acoustic front end: from a waveform to normalized features and a mask of real frames."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

from .configuration import AcousticConfig, FrameConfig

# On a CPU: frames whose spectra are computed at a time, so that they stay in its cache, and bands
# of a matrix product.
FRAMES_AT_ONCE = 1024
BANDS_AT_ONCE = 32
# Mean and deviation of log-mel values that are typical of recorded speech, for
# `normalization="fixed"`.
SPEECH_LOG_MEL = (-12.0, 5.0)
STATISTICS = ("mean", "std", "min", "max")


class FrontEnd(nn.Module):
    """Features, their derivatives, normalization, a fixed length if configured, and augmentation in
    training.

    `size` features a frame are `planes` (features and derivatives) of `bands` each. With
    `statistics` a clip becomes one frame of them, standardized by the training clips' own.
    `features` is the class of the features.
    """

    def __init__(
        self,
        config: FrameConfig,
        statistics: Sequence[str] = (),
        features: Callable[[FrameConfig, int], nn.Module] | None = None,
    ):
        super().__init__()
        self.config = config
        # A clip that is resized may have any length before.
        self.min_frames = (
            1 if config.frames is not None and config.frame_fit == "resize" else config.min_frames
        )
        build = features or {"log_mel": LogMel, "mfcc": Mfcc}[config.features]
        self.features = build(config, self.min_frames)
        speeds = getattr(config, "test_speeds", ())
        self.at_speeds = nn.ModuleList(
            build(at_speed(config, speed), self.min_frames) for speed in speeds
        )
        self.bands = self.features.size
        self.planes = 1 + config.deltas
        self.size = self.bands * self.planes
        self.normalize = FeatureNorm(config.normalization, self.size, self.planes)
        self.statistics = list(statistics)
        if self.statistics:
            self.size *= len(self.statistics)
            self.standardize = FeatureNorm("corpus", self.size)

    def forward(
        self, waveform: torch.Tensor, lengths: torch.Tensor, speed: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute normalized features.

        Args:
            waveform: (batch, samples), zero beyond each clip.
            lengths: (batch,) samples of each clip.
            speed: position in the configuration's `test_speeds`; None for the clip's own.

        Returns:
            Features (batch, frames, size), zero in the padding, and a mask (batch, frames) bool,
            true for real frames.
        """
        config = self.config
        if speed is None:
            features, mask = self.features(waveform, lengths)
        else:  # longer frames have larger sums
            features, mask = self.at_speeds[speed](waveform / config.test_speeds[speed], lengths)
        if self.training and config.time_stretch:
            features, mask = stretch_time(features, mask, config.time_stretch, self.min_frames)
        planes = [features]
        for _ in range(config.deltas):
            planes.append(deltas(planes[-1], mask))
        features = self.normalize(torch.cat(planes, dim=2), mask)
        if config.frames is not None:
            fit = resize if config.frame_fit == "resize" else pad_or_trim
            features, mask = fit(features, mask, config.frames)
        if self.training and config.mix_style:
            features = mix_style(features, mask, config.mix_style)
        if self.training and (config.time_masks or config.band_masks):
            planes = features.unflatten(2, (self.planes, self.bands))
            stripes = config.time_masks, config.time_width, config.band_masks, config.band_width
            features = spec_augment(planes, mask, *stripes).flatten(2)
        if self.statistics:
            features, mask = frame_statistics(features, mask, self.statistics)
            features = self.standardize(features, mask)
        return features, mask


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


def deltas(features: torch.Tensor, mask: torch.Tensor, width: int = 9) -> torch.Tensor:
    """Time derivatives as torchaudio's `compute_deltas`, (batch, frames, size) -> the same, padding
    zero.
    """
    reach = width // 2
    last = mask.sum(dim=1, keepdim=True) - 1
    here = torch.arange(features.shape[1], device=features.device)[None]
    slope = torch.zeros_like(features)
    for step in range(1, reach + 1):
        after = torch.minimum(here + step, last).clamp(min=0)[:, :, None].expand_as(features)
        before = torch.minimum((here - step).clamp(min=0), last)[:, :, None].expand_as(features)
        slope = slope + step * (features.gather(1, after) - features.gather(1, before))
    return slope / (2 * sum(step * step for step in range(1, reach + 1))) * mask[:, :, None]


# Normalization and fixed lengths


class FeatureNorm(nn.Module):
    """Normalization of (batch, frames, size), padding zero.

    With ``"corpus"`` and ``"corpus_level"``, `mean` and `deviation` (size,) of the training clips
    are saved with the weights: while `observing`, real frames are summed and passed on unchanged,
    and `settle` computes the two.

    Args:
        kind: `FrameConfig.normalization`.
        size, planes: numbers per frame, and how many planes (features, derivatives) they make up.
    """

    def __init__(self, kind: str, size: int, planes: int = 1):
        super().__init__()
        self.kind = kind
        self.planes = planes
        if self.counts:
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))
        self.observing = False
        self._sums: torch.Tensor | float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it normalizes by statistics of the training clips."""
        return self.kind in ("corpus", "corpus_level")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind in ("clip", "clip_bands"):
            planes = features.unflatten(2, (self.planes, -1))
            return _standardize(planes, mask, bands_apart=self.kind == "clip_bands").flatten(2)
        if self.observing:
            self._observe(features, mask)
        elif self.counts:
            features = (features - self.mean.float()) / self.deviation.float()
        elif self.kind == "fixed":
            mean, deviation = SPEECH_LOG_MEL
            features = (features - mean) / deviation
        return features * mask[:, :, None]

    @torch.no_grad()
    def _observe(self, features: torch.Tensor, mask: torch.Tensor) -> None:
        real = features[mask].cpu().double()  # an Apple GPU has no float64
        self._sums = self._sums + torch.stack([torch.ones_like(real), real, real.square()]).sum(
            dim=1
        )

    @torch.no_grad()
    def settle(self) -> None:
        """Compute `mean` and `deviation` from the observed frames, and end the observation."""
        if self.kind == "corpus_level":
            planes = self._sums.unflatten(1, (self.planes, -1))
            self._sums = planes.sum(dim=2, keepdim=True).expand_as(planes).flatten(1)
        count, total, squares = self._sums
        mean = total / count
        variance = squares / count - mean.square()
        # What is constant in training is not scaled: divided by next to nothing, it would outweigh
        # the rest later.
        constant = variance <= 1e-10 * (1 + mean.square())
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(constant, 1.0, variance.clamp(min=0).sqrt()))
        self._sums = 0.0
        self.observing = False


def _standardize(planes: torch.Tensor, mask: torch.Tensor, bands_apart: bool) -> torch.Tensor:
    """Zero mean and unit variance over each clip's real frames: (batch, frames, planes, bands),
    padding zero.
    """
    real = mask[:, :, None, None].to(planes.dtype)
    count = real.sum(dim=1, keepdim=True)

    def mean(values: torch.Tensor) -> torch.Tensor:
        # Band by band, then over frames: runtimes that add one by one lose digits in long sums.
        values = values if bands_apart else values.mean(dim=3, keepdim=True)
        return values.sum(dim=1, keepdim=True) / count

    centered = (planes - mean(planes * real)) * real
    # A second time: otherwise digital silence becomes the rounding error of its mean.
    centered = (centered - mean(centered)) * real
    return centered * torch.rsqrt(mean(centered.square()) + 1e-5)


def pad_or_trim(
    features: torch.Tensor, mask: torch.Tensor, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size), the first frames of each clip; frames beyond it
    stay padding.
    """
    return nn.functional.pad(features, (0, 0, 0, frames))[:, :frames], nn.functional.pad(
        mask, (0, frames)
    )[:, :frames]


def resize(
    features: torch.Tensor, mask: torch.Tensor, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size), all real: each clip's own frames, linearly
    interpolated.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    grid = (torch.arange(frames, device=features.device) + 0.5)[None]
    position = (grid * (lengths / frames) - 0.5).clamp(min=0)
    return _interpolate(features, position, lengths - 1), torch.ones_like(
        position, dtype=torch.bool
    )


def _interpolate(
    features: torch.Tensor, position: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Frames (batch, positions, size) at fractional positions (batch, positions), up to each clip's
    `last` frame.
    """
    below = torch.minimum(position.long(), last)
    above = torch.minimum(below + 1, last)
    share = (position - below)[:, :, None].to(features.dtype)
    low, high = (
        features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2]))
        for index in (below, above)
    )
    return low + share * (high - low)


def frame_statistics(
    features: torch.Tensor, mask: torch.Tensor, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics of each feature over a clip's real frames: (batch, 1, len(names) * size), and a
    mask.
    """
    real = mask[:, :, None]
    count = mask.sum(dim=1, keepdim=True).to(features.dtype)
    mean = (features * real).sum(dim=1) / count
    variance = ((features - mean[:, None]) * real).square().sum(dim=1) / count
    # Rounding alone makes a variance of about 1e-14 of the square.
    varying = variance > 1e-10 * mean.square() + 1e-20
    statistics = {
        "mean": mean,
        "std": torch.where(varying, torch.where(varying, variance, 1.0).sqrt(), 0.0),
        "min": features.masked_fill(~real, float("inf")).amin(dim=1),
        "max": features.masked_fill(~real, float("-inf")).amax(dim=1),
    }
    return torch.cat([statistics[name] for name in names], dim=1)[:, None], torch.ones_like(
        mask[:, :1]
    )


# Augmentation, in training only: on the model's device, clip by clip


def spec_augment(
    features: torch.Tensor,
    mask: torch.Tensor,
    time_masks: int,
    time_width: int,
    band_masks: int,
    band_width: int,
) -> torch.Tensor:
    """Set random stripes of frames and of bands to zero: SpecAugment without time warping.

    Park et al. 2019, arXiv:1904.08779.

    Args:
        features: (batch, frames, planes, bands), normalized.
        mask: (batch, frames) bool, true for real frames.
        time_masks, time_width: number of stripes of frames, and their largest width in frames.
        band_masks, band_width: the same of bands. A stripe covers at most half of the real frames
            or bands.
    """
    batch, frames, _, bands = features.shape
    lengths = mask.sum(dim=1)
    for axis, count, widest, size, axis_lengths in (
        (1, time_masks, time_width, frames, lengths),
        (3, band_masks, band_width, bands, torch.full_like(lengths, bands)),
    ):
        most = torch.div(axis_lengths, 2, rounding_mode="floor").clamp(max=widest)
        positions = torch.arange(size, device=features.device)
        for _ in range(count):
            width = torch.rand(batch, device=features.device) * most
            start = torch.rand(batch, device=features.device) * (axis_lengths - width)
            hidden = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            shape = [batch, 1, 1, 1]
            shape[axis] = size
            features = features.masked_fill(hidden.view(shape), 0.0)
    return features


def warp_bands(spectrum: torch.Tensor, centers: torch.Tensor, most: float) -> torch.Tensor:
    """Vocal tract length perturbation (Jaitly and Hinton, ICML workshop 2013) of mel bands (batch,
    frames, bands) with `centers` in Hz: each clip's frequency axis stretched by a factor uniform
    from ``1 - most`` to ``1 + most``."""
    batch, frames, bands = spectrum.shape
    factor = 1 + most * (2 * torch.rand(batch, 1, device=spectrum.device) - 1)
    wanted = factor * centers
    above = torch.searchsorted(centers, wanted).clamp(1, bands - 1)
    low = centers[above - 1]
    high = centers[above]
    share = ((wanted - low) / (high - low)).clamp(0, 1)[:, None]
    lower, upper = (
        spectrum.gather(2, index[:, None].expand(-1, frames, -1)) for index in (above - 1, above)
    )
    return lower + share * (upper - lower)


def stretch_time(
    features: torch.Tensor, mask: torch.Tensor, most: float, min_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample frames (batch, frames, size) in time by a random factor per clip, ``1 - most`` to
    ``1 + most``.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    factor = 1 + most * (2 * torch.rand(len(features), 1, device=features.device) - 1)
    stretched = (lengths * factor).round().long().clamp(min=min_frames)
    # A bound, not the longest clip's frames: reading that value would make a GPU wait.
    most_frames = max(min_frames, math.ceil(features.shape[1] * (1 + most)))
    here = torch.arange(most_frames, device=features.device)[None]
    position = torch.minimum(here * (lengths / stretched), (lengths - 1).float())
    return _interpolate(features, position, lengths - 1), here < stretched


def mix_style(
    features: torch.Tensor, mask: torch.Tensor, share: float, alpha: float = 0.3
) -> torch.Tensor:
    """MixStyle by band (Zhou et al. 2021, arXiv:2104.02008; Kim et al. 2022, arXiv:2206.12513): in
    a `share` of the clips each band's mean and deviation over time move towards those of another
    clip."""
    real = mask[:, :, None].to(features.dtype)
    count = real.sum(dim=1, keepdim=True)
    mean = features.sum(dim=1, keepdim=True) / count
    centered = (features - mean) * real
    deviation = (centered.square().sum(dim=1, keepdim=True) / count + 1e-5).sqrt()
    other = torch.randperm(len(features), device=features.device)
    concentration = torch.full((len(features), 1, 1), alpha, device=features.device)
    kept = torch.distributions.Beta(concentration, concentration).sample()
    kept = torch.where(torch.rand_like(kept) < share, kept, torch.ones_like(kept))
    new_mean = kept * mean + (1 - kept) * mean[other]
    new_deviation = kept * deviation + (1 - kept) * deviation[other]
    return (centered / deviation * new_deviation + new_mean) * real
