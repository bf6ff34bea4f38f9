"""Residual network with squeeze-and-excitation over a log-mel picture, attentive statistics over time.

Residual blocks (He et al. 2016, arXiv:1512.03385; averages in the shortcut as He et al. 2019, arXiv:1812.01187) with
squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507), and attentive statistics pooling (Okabe et al. 2018,
arXiv:1803.10963). Our own design for small corpora: plain convolutions, at which CPUs are good, over pictures that
shrink early; under a million parameters.
"""

import math

import torch
from torch import nn

from .configuration_se_resnet import SEResNetConfig
from .front_end import FrontEnd
from .masked_layers import MaskedBatchNorm1d, MaskedBatchNorm2d, Pooling, as_picture
from .modeling_acoustic import AcousticClassifier
from .squeeze_excitation import SqueezeExcitation, stochastic_depth


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with squeeze-and-excitation beside a shortcut; `stride` 2 halves frames and bands."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: int, drop_path: float):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = MaskedBatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = MaskedBatchNorm2d(outputs)
        self.attend = SqueezeExcitation(outputs, squeeze)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.stride, self.drop_path = stride, drop_path

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands), padding zero -> (batch, outputs, frames / stride, bands / stride), both
        rounded up, padding zero, and the mask."""
        kept = picture
        if self.stride > 1:
            mask = mask[:, ::2]  # a frame is real where the kernel's centre stands on a real one
            # An odd frame or band at the end is averaged with zero, as the padding after a clip would have it.
            kept = nn.functional.pad(picture, (0, picture.shape[3] % 2, 0, picture.shape[2] % 2))
            kept = nn.functional.avg_pool2d(kept, 2)
        real = mask[:, None, :, None].to(picture.dtype)
        change = nn.functional.silu(self.norm1(self.conv1(picture), mask)) * real
        change = self.attend(self.norm2(self.conv2(change), mask), mask)
        change = stochastic_depth(change, self.drop_path, self.training)
        return nn.functional.silu(self.shortcut(kept) + change) * real, mask


class SEResNetForAudioClassification(AcousticClassifier):
    config_class = SEResNetConfig

    def __init__(self, config: SEResNetConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        channels = config.channels
        self.stem = nn.Conv2d(self.front_end.planes, channels[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = MaskedBatchNorm2d(channels[0])
        self.blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(zip([channels[0], *channels], channels, strict=False)):
            drop_path = config.drop_path * i / max(1, len(channels) - 1)
            squeeze = max(4, int(config.squeeze * outputs))
            self.blocks.append(ResidualBlock(inputs, outputs, 2 if i else 1, squeeze, drop_path))
        self.dropout = nn.Dropout(config.dropout)
        bands = math.ceil(self.front_end.bands / 2 ** len(channels))
        self.join = nn.Linear(bands * channels[-1], config.embedding, bias=False)
        self.join_norm = MaskedBatchNorm1d(config.embedding)
        self.pooling = Pooling(config.pooling, config.embedding)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture, mask = as_picture(features, self.front_end.planes), mask[:, ::2]
        picture = nn.functional.silu(self.stem_norm(self.stem(picture), mask)) * mask[:, None, :, None]
        for block in self.blocks:
            picture, mask = block(picture, mask)
        frames = self.join(self.dropout(picture.transpose(1, 2).flatten(2)))
        frames = torch.relu(self.join_norm(frames.transpose(1, 2), mask)).transpose(1, 2)
        return self.dropout(self.pooling(frames, mask))
