"""The acoustic front end: from a waveform to normalized features and a mask of real frames."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .configuration import FrameConfig
from .feature_augmentation import interpolate_frames, mix_style, spec_augment, stretch_time
from .spectra import LogMel, Mfcc, at_speed

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
    return interpolate_frames(features, position, lengths - 1), torch.ones_like(
        position, dtype=torch.bool
    )


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
