"""Augmentation of spectrograms inside the network, in training only: cheap, on the model's device, clip by clip."""

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
    """SpecAugment (Park et al. 2019, arXiv:1904.08779) without time warping: stripes of frames and bands set to zero.

    Each stripe's width is uniform from 0 to its maximum, which is at most half of the clip's real frames or bands.
    Features are (batch, frames, planes, bands), normalised, so that zero is an ordinary value and hides rather than
    marks.
    """
    batch, frames, _, bands = features.shape
    lengths = mask.sum(dim=1)
    for count, widest, limit, axis_length in (
        (time_masks, time_width, torch.div(lengths, 2, rounding_mode="floor"), lengths),
        (band_masks, band_width, torch.full_like(lengths, bands // 2), torch.full_like(lengths, bands)),
    ):
        along_time = axis_length is lengths
        positions = torch.arange(frames if along_time else bands, device=features.device)
        for _ in range(count):
            width = torch.rand(batch, device=features.device) * limit.clamp(max=widest)
            start = torch.rand(batch, device=features.device) * (axis_length - width)
            hidden = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            hidden = hidden[:, :, None, None] if along_time else hidden[:, None, None, :]
            features = features.masked_fill(hidden, 0.0)
    return features


def warp_bands(spectrum: torch.Tensor, centres: torch.Tensor, most: float) -> torch.Tensor:
    """Vocal tract length perturbation (Jaitly and Hinton, ICML workshop 2013): each clip's frequency axis stretched by
    its own factor, uniform from ``1 - most`` to ``1 + most``, as if somebody longer or shorter had spoken.

    Mel bands (batch, frames, bands) before normalisation; `centres` (bands,) are the bands' frequencies in Hz. Bands
    that would come from beyond the axis repeat its edge.
    """
    batch, frames, bands = spectrum.shape
    factor = 1 + most * (2 * torch.rand(batch, 1, device=spectrum.device) - 1)
    wanted = factor * centres
    above = torch.searchsorted(centres, wanted).clamp(1, bands - 1)
    low, high = centres[above - 1], centres[above]
    share = ((wanted - low) / (high - low)).clamp(0, 1)[:, None]
    lower, upper = (spectrum.gather(2, index[:, None].expand(-1, frames, -1)) for index in (above - 1, above))
    return lower + share * (upper - lower)


def stretch_time(
    features: torch.Tensor, mask: torch.Tensor, most: float, min_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each clip's frames resampled to its own tempo: lengths times a factor uniform from ``1 - most`` to ``1 + most``.

    (batch, frames, size), mask (batch, frames) -> the same with as many frames as the longest may have.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    factor = 1 + most * (2 * torch.rand(len(features), 1, device=features.device) - 1)
    stretched = (lengths * factor).round().long().clamp(min=min_frames)
    # A bound, not the longest clip's frames: that would have a GPU wait.
    most_frames = max(min_frames, math.ceil(features.shape[1] * (1 + most)))
    here = torch.arange(most_frames, device=features.device)[None]
    position = torch.minimum(here * (lengths / stretched), (lengths - 1).float())
    below = position.long()
    above = torch.minimum(below + 1, lengths - 1)
    share = (position - below)[:, :, None]
    low, high = (features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2])) for index in (below, above))
    return low + share * (high - low), here < stretched


def mix_style(features: torch.Tensor, mask: torch.Tensor, share: float, alpha: float = 0.3) -> torch.Tensor:
    """Frequency-wise MixStyle (Zhou et al. 2021, arXiv:2104.02008; by band, whose statistics Kim et al. 2022,
    arXiv:2206.12513, find to tell of the recording): in a `share` of the clips each band's mean and deviation over
    time move towards those of another clip of the batch.

    What stays is how a band moves, what changes is the long-term spectrum: voice, room and microphone.
    (batch, frames, size), padding zero -> the same.
    """
    real = mask[:, :, None].to(features.dtype)
    count = real.sum(dim=1, keepdim=True)
    mean = features.sum(dim=1, keepdim=True) / count
    centred = (features - mean) * real
    deviation = (centred.square().sum(dim=1, keepdim=True) / count + 1e-5).sqrt()
    other = torch.randperm(len(features), device=features.device)
    concentration = torch.full((len(features), 1, 1), alpha, device=features.device)
    kept = torch.distributions.Beta(concentration, concentration).sample()
    kept = torch.where(torch.rand_like(kept) < share, kept, torch.ones_like(kept))
    new_mean = kept * mean + (1 - kept) * mean[other]
    new_deviation = kept * deviation + (1 - kept) * deviation[other]
    return (centred / deviation * new_deviation + new_mean) * real
