"""Residual networks with squeeze-and-excitation: configurations, layers and networks."""

import math
from typing import Literal

import torch
from torch import nn

from .configuration import AcousticConfig
from .front_end import FrontEnd
from .layers import MaskedBatchNorm1d, MaskedBatchNorm2d, Pooling, as_picture
from .modeling_base import AcousticClassifier


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


class SEResNetConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: width of each stage of one residual block. The stem and each stage after the first halve frames and
            bands.
        squeeze: hidden width of squeeze-and-excitation, as a share of the block's width; 4 at least.
        embedding: size of a frame when its bands have been joined.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        drop_path: chance that a residual block is passed by, rising linearly from 0 to this in the last block.
        dropout: probability before the joined frames and before the classifier.
    """

    model_type = "ser_se_resnet"

    # Windows of 50 ms tell a voice's harmonics apart, and so its melody.
    n_fft: int = 1024
    win_length: int = 800
    n_mels: int = 80
    # Corpora have few voices, so training makes up others.
    band_warp: float = 0.1
    mix_style: float = 0.3

    channels: list[int] = (24, 48, 96, 160)
    squeeze: float = 0.25
    embedding: int = 192
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "attentive_stats"
    drop_path: float = 0.15
    dropout: float = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if not 0 < self.squeeze <= 1:
            raise ValueError(f"squeeze {self.squeeze}: expected a share, more than 0 and up to 1")


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
    """Residual network with squeeze-and-excitation over a log-mel picture, attentive statistics over time.

    Residual blocks (He et al. 2016, arXiv:1512.03385; averages in the shortcut as He et al. 2019, arXiv:1812.01187)
    with squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507), and attentive statistics pooling (Okabe et al.
    2018, arXiv:1803.10963). Our own design for small corpora: plain convolutions, at which CPUs are good, over
    pictures that shrink early; under a million parameters.
    """

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


class SeparableResNetConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels, depths: width of each stage and its residual blocks; each stage halves frames and bands.
        expansion: hidden width of a block's pointwise layers, in multiples of its own.
        kernel_size: of the depthwise convolutions, along frames and bands.
        squeeze: hidden width of squeeze-and-excitation, as a share of the block's hidden width; 4 at least.
        embedding: size of a frame when its bands have been joined.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        drop_path: chance that a residual block is passed by, rising linearly from 0 to this in the last block.
        dropout: probability before the joined frames and before the classifier.
    """

    model_type = "ser_separable_resnet"

    # Corpora have few voices, so training makes up others.
    band_warp: float = 0.1
    time_stretch: float = 0.1

    channels: list[int] = (32, 64, 128)
    depths: list[int] = (1, 2, 2)
    expansion: int = 2
    kernel_size: int = 5
    squeeze: float = 0.25
    embedding: int = 192
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "attentive_stats"
    drop_path: float = 0.1
    dropout: float = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.channels) != len(self.depths):
            raise ValueError("channels and depths need one entry per stage")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is not odd: a window needs a frame in its middle")
        if not 0 < self.squeeze <= 1:
            raise ValueError(f"squeeze {self.squeeze}: expected a share, more than 0 and up to 1")


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
    """Separable residual network: depthwise-separable blocks, squeeze-and-excitation, attentive statistics pooling.

    Depthwise-separable residual blocks (Sandler et al. 2018, arXiv:1801.04381; large kernels as in Liu et al. 2022,
    arXiv:2201.03545) with squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507) over a log-mel picture, and
    attentive statistics pooling (Okabe et al. 2018, arXiv:1803.10963; Desplanques et al. 2020, arXiv:2005.07143). Our
    own design for small corpora: few parameters, many ways of being kept from learning who speaks.
    """

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
