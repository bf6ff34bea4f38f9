"""Augmentation of features, in training only: on the model's device, clip by clip."""

import math

import torch


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
    return interpolate_frames(features, position, lengths - 1), here < stretched


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


def interpolate_frames(
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
