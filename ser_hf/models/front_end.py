"""The acoustic front end: from a waveform to normalized features and a mask of real frames."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .configuration import FrameConfig
from .feature_augmentation import interpolate_frames, mix_style, spec_augment, stretch_time
from .spectra import LogMel, Mfcc, at_speed

# The mean and deviation of log-mel values in typical recordings of speech, for
# `normalization="fixed"`.
SPEECH_LOG_MEL = (-12.0, 5.0)
STATISTICS = ("mean", "std", "min", "max")


class FrontEnd(nn.Module):
    """Features of frames, their derivatives, normalization, fixed lengths and augmentation.

    The `size` numbers of a frame are `planes` (features and derivatives) of `bands` each.
    Augmentation is for training only.

    Args:
        config: the options.
        statistics: names from `STATISTICS`. With them a clip becomes a single frame of statistics,
            which are standardized by the mean and deviation over the training clips.
        features: a function that makes the module for the features, from the configuration and the
            fewest frames of a clip; by default it makes `LogMel` or `Mfcc`, as configured.
    """

    def __init__(
        self,
        config: FrameConfig,
        statistics: Sequence[str] = (),
        features: Callable[[FrameConfig, int], nn.Module] | None = None,
    ):
        super().__init__()
        self.config = config
        self.resizes = config.frames is not None and config.frame_fit == "resize"
        # A clip that will be resized may have any length.
        self.min_frames = 1 if self.resizes else config.min_frames
        if features is None:
            features = {"log_mel": LogMel, "mfcc": Mfcc}[config.features]
        self.features = features(config, self.min_frames)
        speeds = getattr(config, "test_speeds", ())
        self.at_speeds = nn.ModuleList(
            features(at_speed(config, speed), self.min_frames) for speed in speeds
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
            speed: the position of a speed in `test_speeds` of the configuration; None for the
                original speed.

        Returns:
            Features (batch, frames, size), zero in the padding, and a mask (batch, frames) bool,
            true for real frames.
        """
        config = self.config
        if speed is None:
            features, mask = self.features(waveform, lengths)
        else:
            # The frames of a higher speed are longer, so their sums are larger.
            features, mask = self.at_speeds[speed](waveform / config.test_speeds[speed], lengths)
        if self.training and config.time_stretch:
            features, mask = stretch_time(features, mask, config.time_stretch, self.min_frames)

        features = self.normalize(self._with_deltas(features, mask), mask)
        if self.resizes:
            features, mask = resize(features, mask, config.frames)
        elif config.frames is not None:
            features, mask = pad_or_trim(features, mask, config.frames)
        if self.training:
            features = self._augment(features, mask)

        if self.statistics:
            features, mask = frame_statistics(features, mask, self.statistics)
            features = self.standardize(features, mask)
        return features, mask

    def _with_deltas(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Append derivatives: (batch, frames, bands) -> (batch, frames, planes * bands)."""
        planes = [features]
        for _ in range(self.config.deltas):
            planes.append(deltas(planes[-1], mask))
        return torch.cat(planes, dim=2)

    def _augment(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Apply MixStyle and SpecAugment to (batch, frames, planes * bands), as configured."""
        config = self.config
        if config.mix_style:
            features = mix_style(features, mask, config.mix_style)
        if config.time_masks or config.band_masks:
            features = spec_augment(
                features.unflatten(2, (self.planes, self.bands)),
                mask,
                time_masks=config.time_masks,
                time_width=config.time_width,
                band_masks=config.band_masks,
                band_width=config.band_width,
            ).flatten(2)
        return features


def deltas(features: torch.Tensor, mask: torch.Tensor, width: int = 9) -> torch.Tensor:
    """Compute time derivatives as torchaudio's `compute_deltas`, each clip by itself.

    Args:
        features: (batch, frames, size).
        mask: (batch, frames) bool, true for real frames.
        width: frames of the regression, an odd number.

    Returns:
        (batch, frames, size), zero in the padding.
    """
    steps = range(1, width // 2 + 1)
    last = mask.sum(dim=1, keepdim=True) - 1
    frame = torch.arange(features.shape[1], device=features.device)[None]
    slope = torch.zeros_like(features)
    for step in steps:
        after = torch.minimum(frame + step, last).clamp(min=0)[:, :, None].expand_as(features)
        before = torch.minimum((frame - step).clamp(min=0), last)[:, :, None].expand_as(features)
        slope = slope + step * (features.gather(1, after) - features.gather(1, before))
    return slope / (2 * sum(step * step for step in steps)) * mask[:, :, None]


# Normalization and fixed lengths


class FeatureNorm(nn.Module):
    """Normalization of the numbers of frames.

    With ``"corpus"`` and ``"corpus_level"`` the buffers `mean` and `deviation` (size,) of the
    training clips are saved with the weights. While `observing` is true, real frames are summed and
    returned unchanged; `settle` then computes both buffers.

    Args:
        kind: `FrameConfig.normalization`.
        size: numbers per frame.
        planes: how many planes (features, derivatives) these numbers make up.
    """

    def __init__(self, kind: str, size: int, planes: int = 1):
        super().__init__()
        self.kind = kind
        self.planes = planes
        if self.counts:
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))
        self.observing = False
        # The count, the sum and the sum of squares of each observed feature: (3, size).
        self._sums: torch.Tensor | float = 0.0

    @property
    def counts(self) -> bool:
        """Whether this layer normalizes by statistics of the training clips."""
        return self.kind in ("corpus", "corpus_level")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, frames, size) with a mask (batch, frames); padding becomes zero."""
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
        real_frames = features[mask].cpu().double()  # an Apple GPU has no float64
        powers = torch.stack([torch.ones_like(real_frames), real_frames, real_frames.square()])
        self._sums = self._sums + powers.sum(dim=1)

    @torch.no_grad()
    def settle(self) -> None:
        """Compute `mean` and `deviation` from the observed frames, and end the observation."""
        if self.kind == "corpus_level":  # one mean and deviation for all bands of a plane
            planes = self._sums.unflatten(1, (self.planes, -1))
            self._sums = planes.sum(dim=2, keepdim=True).expand_as(planes).flatten(1)
        count, total, squares = self._sums
        mean = total / count
        variance = squares / count - mean.square()
        # A feature that is constant in training is not scaled. Divided by a deviation near zero, it
        # would outweigh all other features later.
        constant = variance <= 1e-10 * (1 + mean.square())
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(constant, 1.0, variance.clamp(min=0).sqrt()))
        self._sums = 0.0
        self.observing = False


def _standardize(planes: torch.Tensor, mask: torch.Tensor, bands_apart: bool) -> torch.Tensor:
    """Give each clip's real frames zero mean and unit variance; padding is zero.

    Args:
        planes: (batch, frames, planes, bands).
        mask: (batch, frames) bool, true for real frames.
        bands_apart: whether each band has a mean and variance, or all bands of a plane share them.

    Returns:
        (batch, frames, planes, bands).
    """
    frame_mask = mask[:, :, None, None].to(planes.dtype)
    count = frame_mask.sum(dim=1, keepdim=True)

    def mean(values: torch.Tensor) -> torch.Tensor:
        # Average over bands, then over frames: runtimes that add one number after another lose
        # digits in long sums.
        values = values if bands_apart else values.mean(dim=3, keepdim=True)
        return values.sum(dim=1, keepdim=True) / count

    centered = (planes - mean(planes * frame_mask)) * frame_mask
    # Subtract the mean a second time: otherwise digital silence becomes the rounding error of its
    # mean.
    centered = (centered - mean(centered)) * frame_mask
    return centered * torch.rsqrt(mean(centered.square()) + 1e-5)


def pad_or_trim(
    features: torch.Tensor, mask: torch.Tensor, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the first `frames` frames; a shorter clip gets padding.

    (batch, any, size) and mask (batch, any) -> (batch, frames, size) and mask (batch, frames).
    """
    fitted = nn.functional.pad(features, (0, 0, 0, frames))[:, :frames]
    fitted_mask = nn.functional.pad(mask, (0, frames))[:, :frames]
    return fitted, fitted_mask


def resize(
    features: torch.Tensor, mask: torch.Tensor, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate the real frames of each clip linearly to `frames` frames, which are all real.

    (batch, any, size) and mask (batch, any) -> (batch, frames, size) and mask (batch, frames).
    """
    lengths = mask.sum(dim=1, keepdim=True)
    centers = (torch.arange(frames, device=features.device) + 0.5)[None]
    position = (centers * (lengths / frames) - 0.5).clamp(min=0)
    resized = interpolate_frames(features, position, lengths - 1)
    return resized, torch.ones_like(position, dtype=torch.bool)


def frame_statistics(
    features: torch.Tensor, mask: torch.Tensor, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute statistics of each feature over a clip's real frames.

    Args:
        features: (batch, frames, size).
        mask: (batch, frames) bool, true for real frames.
        names: the names of the statistics (`STATISTICS`), in the order of the result.

    Returns:
        Statistics (batch, 1, len(names) * size), and a mask (batch, 1) that is true.
    """
    frame_mask = mask[:, :, None]
    count = mask.sum(dim=1, keepdim=True).to(features.dtype)
    mean = (features * frame_mask).sum(dim=1) / count
    variance = ((features - mean[:, None]) * frame_mask).square().sum(dim=1) / count
    # Rounding errors alone make a variance of about 1e-14 times the square of the mean.
    varying = variance > 1e-10 * mean.square() + 1e-20
    # The inner `where` keeps the infinite derivative of sqrt at 0 out of the gradient.
    deviation = torch.where(varying, torch.where(varying, variance, 1.0).sqrt(), 0.0)
    statistics = {
        "mean": mean,
        "std": deviation,
        "min": features.masked_fill(~frame_mask, float("inf")).amin(dim=1),
        "max": features.masked_fill(~frame_mask, float("-inf")).amax(dim=1),
    }
    vectors = torch.cat([statistics[name] for name in names], dim=1)
    return vectors[:, None], torch.ones_like(mask[:, :1])
