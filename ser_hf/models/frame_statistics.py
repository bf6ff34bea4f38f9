"""A clip's frames summed up in one vector."""

from collections.abc import Sequence

import torch

STATISTICS = ("mean", "std", "min", "max", "skewness", "kurtosis")


def frame_statistics(
    features: torch.Tensor, mask: torch.Tensor, names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics of each feature over a clip's real frames, population moments (kurtosis of a normal: 0).

    (batch, frames, size), mask (batch, frames) -> (batch, 1, len(names) * size), and a mask of that one frame. A clip
    of one frame, or a constant feature, has a deviation, skewness and kurtosis of zero.
    """
    real = mask[:, :, None]
    count = mask.sum(dim=1, keepdim=True).to(features.dtype)
    mean = (features * real).sum(dim=1) / count
    centred = (features - mean[:, None]) * real
    variance = centred.square().sum(dim=1) / count
    # Rounding alone makes a variance of about 1e-14 of the square; higher moments of that would be noise.
    spread = variance > 1e-10 * mean.square() + 1e-20
    safe = torch.where(spread, variance, torch.ones_like(variance))
    moments = {
        "mean": lambda: mean,
        "std": lambda: torch.where(spread, safe.sqrt(), torch.zeros_like(mean)),
        "min": lambda: features.masked_fill(~real, float("inf")).amin(dim=1),
        "max": lambda: features.masked_fill(~real, float("-inf")).amax(dim=1),
        "skewness": lambda: torch.where(spread, (centred**3).sum(dim=1) / count / safe**1.5, torch.zeros_like(mean)),
        "kurtosis": lambda: torch.where(spread, (centred**4).sum(dim=1) / count / safe**2 - 3, torch.zeros_like(mean)),
    }
    vector = torch.cat([moments[name]() for name in names], dim=1)[:, None]
    return vector, torch.ones_like(mask[:, :1])
