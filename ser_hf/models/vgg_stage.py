"""The stage that networks of the VGG family are built from (Simonyan and Zisserman 2014, arXiv:1409.1556)."""

import torch
from torch import nn


class VGGStage(nn.Module):
    """Convolutions of 3 x 3 with biases, each followed by ReLU, then the largest value in each window of 2 x 2.

    There is no normalisation, and a bias makes padding speak: what is not real is set to zero after every layer, which
    is also what a convolution sees beyond a clip's end.
    """

    def __init__(self, inputs: int, outputs: int, convolutions: int):
        super().__init__()
        widths = [inputs, *[outputs] * (convolutions - 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(width, outputs, 3, padding=1) for width in widths)
        self.pool = nn.MaxPool2d(2)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // 2, bands // 2), and the pooled mask."""
        for convolution in self.convolutions:
            picture = torch.relu(convolution(picture)) * mask[:, None, :, None]
        # A pooled frame is real where its whole window is, as for a clip alone.
        mask = mask[:, 1::2]
        return self.pool(picture) * mask[:, None, :, None], mask
