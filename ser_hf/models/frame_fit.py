"""Clips brought to one number of frames: trimmed and padded, or resized as a picture is."""

import torch
from torch import nn


def pad_or_trim(features: torch.Tensor, mask: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size): the first frames of each clip; what a clip lacks stays padding."""
    features = nn.functional.pad(features, (0, 0, 0, frames))[:, :frames]
    return features, nn.functional.pad(mask, (0, frames))[:, :frames]


def resize(features: torch.Tensor, mask: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, any, size) -> (batch, frames, size), all real: each clip's own frames, linearly interpolated.

    As `torch.nn.functional.interpolate` (``align_corners=False``) along time does for the clip alone.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    grid = (torch.arange(frames, device=features.device) + 0.5)[None]
    position = (grid * (lengths / frames) - 0.5).clamp(min=0)
    below = torch.minimum(position.long(), lengths - 1)
    above = torch.minimum(below + 1, lengths - 1)
    share = (position - below)[:, :, None].to(features.dtype)
    low, high = (features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2])) for index in (below, above))
    return low + share * (high - low), torch.ones_like(below, dtype=torch.bool)
