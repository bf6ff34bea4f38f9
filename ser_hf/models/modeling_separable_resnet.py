"""Separable residual network: depthwise-separable blocks with squeeze-and-excitation, attentive statistics pooling.

Depthwise-separable residual blocks (Sandler et al. 2018, arXiv:1801.04381; large kernels as in Liu et al. 2022,
arXiv:2201.03545) with squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507) over a log-mel picture, and attentive
statistics pooling (Okabe et al. 2018, arXiv:1803.10963; Desplanques et al. 2020, arXiv:2005.07143). Our own design for
small corpora: few parameters, many ways of being kept from learning who speaks.
"""

import math

import torch
from torch import nn

from .configuration_separable_resnet import SeparableResNetConfig
from .front_end import FrontEnd
from .masked_layers import MaskedBatchNorm1d, MaskedBatchNorm2d, Pooling, as_picture
from .modeling_acoustic import AcousticClassifier
from .squeeze_excitation import SqueezeExcitation, stochastic_depth


class Halving(nn.Module):
    """Convolution with a stride of two along frames and bands, masked batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2, bias=False)
        self.norm = MaskedBatchNorm2d(outputs)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames / 2, bands / 2), both rounded up, and the mask."""
        mask = mask[:, ::2]  # a frame is real where the kernel's centre stands on a real one
        picture = nn.functional.silu(self.norm(self.conv(picture), mask))
        return picture, mask


class SeparableBlock(nn.Module):
    """A residual: depthwise convolution, wider pointwise layer, squeeze-and-excitation, pointwise layer back."""

    def __init__(self, channels: int, hidden: int, kernel_size: int, squeeze: int, drop_path: float):
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False
        )
        self.norm = MaskedBatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, hidden, 1)
        self.attend = SqueezeExcitation(hidden, squeeze)
        self.narrow = nn.Conv2d(hidden, channels, 1, bias=False)
        self.out_norm = MaskedBatchNorm2d(channels)
        self.drop_path = drop_path

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, bands), padding zero -> the same."""
        real = mask[:, None, :, None].to(picture.dtype)
        change = torch.nn.functional.silu(self.widen(self.norm(self.depthwise(picture), mask))) * real
        change = self.out_norm(self.narrow(self.attend(change, mask)), mask)
        return picture + stochastic_depth(change, self.drop_path, self.training)


class SeparableResNetForAudioClassification(AcousticClassifier):
    config_class = SeparableResNetConfig

    def __init__(self, config: SeparableResNetConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        last = max(1, sum(config.depths) - 1)
        rates = iter([config.drop_path * i / last for i in range(last + 1)])
        widths = [self.front_end.planes, *config.channels]
        self.stages = nn.ModuleList()
        for i, depth in enumerate(config.depths):
            hidden = config.expansion * widths[i + 1]
            squeeze = max(4, int(config.squeeze * hidden))
            blocks = [Halving(widths[i], widths[i + 1], 3 if i else 5)]
            blocks += [
                SeparableBlock(widths[i + 1], hidden, config.kernel_size, squeeze, next(rates)) for _ in range(depth)
            ]
            self.stages.append(nn.ModuleList(blocks))
        self.dropout = nn.Dropout(config.dropout)
        bands = math.ceil(self.front_end.bands / 2 ** len(config.channels))
        self.join = nn.Linear(bands * config.channels[-1], config.embedding, bias=False)
        self.join_norm = MaskedBatchNorm1d(config.embedding)
        self.pooling = Pooling(config.pooling, config.embedding)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = as_picture(features, self.front_end.planes)
        for halve, *blocks in self.stages:
            picture, mask = halve(picture, mask)
            for block in blocks:
                picture = block(picture, mask)
        frames = self.join(self.dropout(picture.transpose(1, 2).flatten(2)))
        frames = torch.relu(self.join_norm(frames.transpose(1, 2), mask)).transpose(1, 2)
        return self.dropout(self.pooling(frames, mask))
