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
        band_masks, band_width: the same for stripes of bands. A stripe covers at most half of the
            real frames or bands.
    """
    real_frames = mask.sum(dim=1)
    real_bands = torch.full_like(real_frames, features.shape[3])
    for _ in range(time_masks):
        hidden = _random_stripe(features.shape[1], real_frames, time_width)
        features = features.masked_fill(hidden[:, :, None, None], 0.0)
    for _ in range(band_masks):
        hidden = _random_stripe(features.shape[3], real_bands, band_width)
        features = features.masked_fill(hidden[:, None, None, :], 0.0)
    return features


def _random_stripe(size: int, real_sizes: torch.Tensor, widest: int) -> torch.Tensor:
    """Draw a stripe of `size` positions for each clip: bool (batch, size), true inside it.

    The stripe lies within the first `real_sizes` (batch,) positions, covers at most half of these
    positions, and is at most `widest` positions wide.
    """
    batch = len(real_sizes)
    device = real_sizes.device
    most = torch.div(real_sizes, 2, rounding_mode="floor").clamp(max=widest)
    width = torch.rand(batch, device=device) * most
    start = torch.rand(batch, device=device) * (real_sizes - width)
    position = torch.arange(size, device=device)
    return (position >= start[:, None]) & (position < (start + width)[:, None])


def warp_bands(spectrum: torch.Tensor, centers: torch.Tensor, most: float) -> torch.Tensor:
    """Stretch each clip's frequency axis by a random factor: vocal tract length perturbation.

    Jaitly and Hinton, ICML workshop 2013.

    Args:
        spectrum: (batch, frames, bands), compressed.
        centers: (bands,), center frequencies in Hz.
        most: factors are uniform from ``1 - most`` to ``1 + most``.

    Returns:
        (batch, frames, bands), interpolated between the two bands around each new frequency.
    """
    batch, frames, bands = spectrum.shape
    factor = _random_factors(batch, most, spectrum.device)
    new_centers = factor * centers
    above = torch.searchsorted(centers, new_centers).clamp(1, bands - 1)
    below = above - 1
    share = (new_centers - centers[below]) / (centers[above] - centers[below])
    share = share.clamp(0, 1)[:, None]
    lower = spectrum.gather(2, below[:, None].expand(-1, frames, -1))
    upper = spectrum.gather(2, above[:, None].expand(-1, frames, -1))
    return lower + share * (upper - lower)


def _random_factors(batch: int, most: float, device: torch.device) -> torch.Tensor:
    """Factors (batch, 1), uniform from ``1 - most`` to ``1 + most``."""
    return 1 + most * (2 * torch.rand(batch, 1, device=device) - 1)


def stretch_time(
    features: torch.Tensor, mask: torch.Tensor, most: float, min_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample the frames of each clip in time by a random factor.

    Args:
        features: (batch, frames, size).
        mask: (batch, frames) bool, true for real frames.
        most: factors are uniform from ``1 - most`` to ``1 + most``.
        min_frames: the fewest frames of a stretched clip.

    Returns:
        Features (batch, more frames, size), and their mask (batch, more frames).
    """
    lengths = mask.sum(dim=1, keepdim=True)
    factor = _random_factors(len(features), most, features.device)
    stretched = (lengths * factor).round().long().clamp(min=min_frames)
    # This is a bound for the frames of the longest clip. Reading their true number would make the
    # CPU wait for a GPU.
    most_frames = max(min_frames, math.ceil(features.shape[1] * (1 + most)))
    frame = torch.arange(most_frames, device=features.device)[None]
    position = torch.minimum(frame * (lengths / stretched), (lengths - 1).float())
    return interpolate_frames(features, position, lengths - 1), frame < stretched


def mix_style(
    features: torch.Tensor, mask: torch.Tensor, share: float, alpha: float = 0.3
) -> torch.Tensor:
    """Move the mean and deviation of each band over time towards those of another clip.

    MixStyle (Zhou et al. 2021, arXiv:2104.02008) by band (Kim et al. 2022, arXiv:2206.12513).

    Args:
        features: (batch, frames, size), zero in the padding.
        mask: (batch, frames) bool, true for real frames.
        share: the share of the clips that are changed.
        alpha: both parameters of the beta distribution of the weight that a clip keeps.

    Returns:
        (batch, frames, size), zero in the padding.
    """
    frame_mask = mask[:, :, None].to(features.dtype)
    count = frame_mask.sum(dim=1, keepdim=True)
    mean = features.sum(dim=1, keepdim=True) / count
    centered = (features - mean) * frame_mask
    deviation = (centered.square().sum(dim=1, keepdim=True) / count + 1e-5).sqrt()
    other = torch.randperm(len(features), device=features.device)
    concentration = torch.full((len(features), 1, 1), alpha, device=features.device)
    kept = torch.distributions.Beta(concentration, concentration).sample()
    kept = torch.where(torch.rand_like(kept) < share, kept, torch.ones_like(kept))
    new_mean = kept * mean + (1 - kept) * mean[other]
    new_deviation = kept * deviation + (1 - kept) * deviation[other]
    return (centered / deviation * new_deviation + new_mean) * frame_mask


def interpolate_frames(
    features: torch.Tensor, position: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Interpolate frames linearly.

    Args:
        features: (batch, frames, size).
        position: (batch, positions), the positions in frames, with fractions.
        last: (batch, 1), the number of each clip's last frame.

    Returns:
        (batch, positions, size).
    """
    size = features.shape[2]
    before = torch.minimum(position.long(), last)
    after = torch.minimum(before + 1, last)
    share = (position - before)[:, :, None].to(features.dtype)
    start = features.gather(1, before[:, :, None].expand(-1, -1, size))
    end = features.gather(1, after[:, :, None].expand(-1, -1, size))
    return start + share * (end - start)
