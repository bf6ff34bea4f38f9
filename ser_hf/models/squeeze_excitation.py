"""Squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507) and stochastic depth of pictures with padded frames."""

import torch
from torch import nn


class SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels are like over the clip's real frames."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, bands), padding zero -> the same."""
        mean = picture.mean(dim=3).sum(dim=2) / mask.sum(dim=1, keepdim=True)
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return picture * scale[:, :, None, None]


def stochastic_depth(change: torch.Tensor, chance: float, training: bool) -> torch.Tensor:
    """What a residual block adds, left out in a `chance` of the clips (Huang et al. 2016, arXiv:1603.09382)."""
    if not (training and chance):
        return change
    kept = torch.rand(len(change), 1, 1, 1, device=change.device) >= chance
    return change * kept / (1 - chance)
