"""Residual networks with squeeze-and-excitation: configurations, layers and networks."""

import math
from typing import Annotated, ClassVar

import torch
from torch import nn

from .configuration import (
    AcousticConfig,
    Count,
    Counts,
    Depths,
    Fraction,
    Odd,
    PoolingKind,
    Share,
)
from .front_end import FrontEnd
from .layers import MaskedBatchNorm1d, MaskedBatchNorm2d, Pooling, as_frames, as_picture, masked
from .modeling_base import AcousticClassifier
from .options import Number


class SqueezeExcitation(nn.Module):
    """Scales channels by weights that are computed from their means over real frames.

    Hu et al. 2018, arXiv:1709.01507.
    """

    def __init__(self, channels: int, share: float):
        super().__init__()
        hidden = max(4, int(share * channels))
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scale (batch, channels, frames, bands); the mask (batch, frames) is true for real frames.

        The padding may have any value.
        """
        means_of_frames = masked(picture.mean(dim=3), mask)
        mean = means_of_frames.sum(dim=2) / mask.sum(dim=1, keepdim=True)
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return picture * scale[:, :, None, None]


def stochastic_depth(change: torch.Tensor, chance: float, training: bool) -> torch.Tensor:
    """Drop the residual branch (batch, channels, frames, bands) of random clips in training.

    Huang et al. 2016, arXiv:1603.09382.

    Args:
        change: the output of the branch.
        chance: the probability that a clip's branch is dropped; other branches are scaled up.
        training: whether the network is being trained.
    """
    if not (training and chance):
        return change
    kept = torch.rand(len(change), 1, 1, 1, device=change.device) >= chance
    return change * kept / (1 - chance)


class ResNetClassifier(AcousticClassifier):
    """Residual blocks, a layer that joins the bands of a frame, and pooling over time.

    A network makes its blocks and calls `_make_head` at the end of its `__init__`; it overrides
    `_blocks`, which applies the blocks.
    """

    def _make_head(self, config: AcousticConfig, bands: int) -> None:
        """Make the layers on the blocks' frames of `bands` bands, and initialize all weights."""
        self.dropout = nn.Dropout(config.dropout)
        self.join = nn.Linear(bands * config.channels[-1], config.embedding, bias=False)
        self.join_norm = MaskedBatchNorm1d(config.embedding)
        self.pooling = Pooling(config.pooling, config.embedding)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def _blocks(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the residual blocks.

        Args:
            picture: (batch, planes, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, channels, fewer frames, fewer bands), and the mask of these frames.
        """
        raise NotImplementedError

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, pooled size)."""
        picture, mask = self._blocks(as_picture(features, self.front_end.planes), mask)
        frames = self.join(self.dropout(as_frames(picture)))
        frames = torch.relu(self.join_norm(frames.transpose(1, 2), mask)).transpose(1, 2)
        return self.dropout(self.pooling(frames, mask))


class ResNetConfig(AcousticConfig):
    """The options of a residual network."""

    # Corpora have few voices; band warping and the augmentations of each network imitate more
    # voices.
    band_warp: Fraction = 0.1

    channels: Annotated[Counts, "filters of each stage"] = (24, 48, 96, 160)
    squeeze: Annotated[
        float,
        Number(more_than=0, at_most=1),
        "units of squeeze-and-excitation, as a share of the block's (hidden) width",
    ] = 0.25
    embedding: Annotated[Count, "size of a frame after its bands are joined"] = 192
    pooling: Annotated[PoolingKind, "how the frames become one vector"] = "attentive_stats"
    drop_path: Annotated[
        Fraction,
        "probability that a residual branch is dropped in training: 0 in the first block, rising "
        "linearly to this in the last",
    ] = 0.15
    dropout: Annotated[
        Fraction,
        "probability of dropout before the layer that joins the bands and before the classifier",
    ] = 0.3


class SEResNetConfig(ResNetConfig):
    """The options of a residual network with squeeze-and-excitation.

    A stage is one block. The stem and each later stage halve frames and bands.
    """

    model_type = "ser_se_resnet"

    # Windows of 50 ms resolve the harmonics of a voice, and so its melody.
    n_fft: Count = 1024
    win_length: Count = 800
    n_mels: Count = 80
    mix_style: Share = 0.3


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with squeeze-and-excitation beside a shortcut.

    A `stride` of 2 halves frames and bands.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: float, drop_path: float):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = MaskedBatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = MaskedBatchNorm2d(outputs)
        self.attend = SqueezeExcitation(outputs, squeeze)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.stride = stride
        self.drop_path = drop_path

    def forward(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the block.

        Args:
            picture: (batch, inputs, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, frames / stride, bands / stride), rounded up, and the mask of these
            frames.
        """
        identity = picture
        if self.stride > 1:
            mask = mask[:, ::2]  # a frame is real where the kernel is centered on a real frame
            identity = _halved(picture)
        change = masked(nn.functional.silu(self.norm1(self.conv1(picture), mask)), mask)
        change = self.attend(self.norm2(self.conv2(change), mask), mask)
        change = stochastic_depth(change, self.drop_path, self.training)
        return masked(nn.functional.silu(self.shortcut(identity) + change), mask), mask


def _halved(picture: torch.Tensor) -> torch.Tensor:
    """Means over squares of two frames and two bands of (batch, channels, frames, bands).

    An odd frame or band at the end is averaged with zero, as it is with the padding after a clip.
    """
    odd_frames = picture.shape[2] % 2
    odd_bands = picture.shape[3] % 2
    return nn.functional.avg_pool2d(nn.functional.pad(picture, (0, odd_bands, 0, odd_frames)), 2)


class SEResNetForAudioClassification(ResNetClassifier):
    """Residual network with squeeze-and-excitation over a log-mel picture.

    Residual blocks (He et al. 2016, arXiv:1512.03385; averages in the shortcut as He et al. 2019,
    arXiv:1812.01187) with squeeze-and-excitation. For small corpora: under a million parameters,
    plain convolutions, fast on CPUs.
    """

    config_class = SEResNetConfig

    def __init__(self, config: SEResNetConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        channels = config.channels
        self.stem = nn.Conv2d(
            self.front_end.planes, channels[0], 5, stride=2, padding=2, bias=False
        )
        self.stem_norm = MaskedBatchNorm2d(channels[0])
        self.blocks = nn.ModuleList()
        inputs = channels[0]
        last = max(1, len(channels) - 1)
        for number, outputs in enumerate(channels):
            block = ResidualBlock(
                inputs,
                outputs,
                stride=1 if number == 0 else 2,
                squeeze=config.squeeze,
                drop_path=config.drop_path * number / last,
            )
            self.blocks.append(block)
            inputs = outputs
        self._make_head(config, bands=math.ceil(self.front_end.bands / 2 ** len(channels)))

    def _blocks(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mask = mask[:, ::2]
        stem = nn.functional.silu(self.stem_norm(self.stem(picture), mask))
        picture = masked(stem, mask)
        for block in self.blocks:
            picture, mask = block(picture, mask)
        return picture, mask


class SeparableResNetConfig(ResNetConfig):
    """The options of a separable residual network. Each stage halves frames and bands."""

    model_type = "ser_separable_resnet"
    per_block: ClassVar[tuple[str, ...]] = ("channels", "depths")

    time_stretch: Fraction = 0.1

    channels: Counts = (32, 64, 128)
    depths: Annotated[Depths, "residual blocks of each stage"] = (1, 2, 2)
    expansion: Annotated[Count, "factor by which a block is wider inside"] = 2
    kernel_size: Annotated[Odd, "size of the depthwise convolutions, along frames and bands"] = 5
    drop_path: Fraction = 0.1


class Halving(nn.Module):
    """Convolution with a stride of two along frames and bands, masked batch normalization, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel_size, stride=2, padding=kernel_size // 2, bias=False
        )
        self.norm = MaskedBatchNorm2d(outputs)

    def forward(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the convolution.

        Args:
            picture: (batch, inputs, frames, bands).
            mask: (batch, frames) bool, true for real frames.

        Returns:
            (batch, outputs, frames / 2, bands / 2), rounded up, and the mask of these frames.
        """
        mask = mask[:, ::2]  # a frame is real where the kernel is centered on a real frame
        return nn.functional.silu(self.norm(self.conv(picture), mask)), mask


class SeparableBlock(nn.Module):
    """A residual block of a depthwise convolution and two pointwise layers.

    Squeeze-and-excitation scales the wider channels between the pointwise layers.
    """

    def __init__(self, channels: int, config: SeparableResNetConfig, drop_path: float):
        super().__init__()
        size = config.kernel_size
        hidden = config.expansion * channels
        self.depthwise = nn.Conv2d(
            channels, channels, size, padding=size // 2, groups=channels, bias=False
        )
        self.norm = MaskedBatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, hidden, 1)
        self.attend = SqueezeExcitation(hidden, config.squeeze)
        self.narrow = nn.Conv2d(hidden, channels, 1, bias=False)
        self.out_norm = MaskedBatchNorm2d(channels)
        self.drop_path = drop_path

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, bands), mask (batch, frames) -> the same shape."""
        wide = self.widen(self.norm(self.depthwise(picture), mask))
        change = masked(nn.functional.silu(wide), mask)
        change = self.out_norm(self.narrow(self.attend(change, mask)), mask)
        return picture + stochastic_depth(change, self.drop_path, self.training)


class SeparableResNetForAudioClassification(ResNetClassifier):
    """Separable residual network: depthwise-separable blocks with squeeze-and-excitation.

    After Sandler et al. 2018 (arXiv:1801.04381), with large kernels as in Liu et al. 2022
    (arXiv:2201.03545).
    """

    config_class = SeparableResNetConfig

    def __init__(self, config: SeparableResNetConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        last = max(1, sum(config.depths) - 1)
        inputs = self.front_end.planes
        number = 0
        self.stages = nn.ModuleList()
        for outputs, depth in zip(config.channels, config.depths, strict=True):
            first_stage = len(self.stages) == 0
            stage = nn.ModuleList([Halving(inputs, outputs, kernel_size=5 if first_stage else 3)])
            for _ in range(depth):
                stage.append(SeparableBlock(outputs, config, config.drop_path * number / last))
                number += 1
            self.stages.append(stage)
            inputs = outputs
        self._make_head(config, bands=math.ceil(self.front_end.bands / 2 ** len(config.channels)))

    def _blocks(
        self, picture: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for halve, *blocks in self.stages:
            picture, mask = halve(picture, mask)
            for block in blocks:
                picture = block(picture, mask)
        return picture, mask
