"""Stacks of convolution blocks, and max-pooled frames: from a clip's features to a shorter sequence."""

from collections.abc import Sequence

import torch
from torch import nn

from .configuration_acoustic import AcousticConfig
from .front_end import FrontEnd
from .masked_layers import ConvBlock, ConvBlock1d, as_picture


class ConvolutionStack2d(nn.Module):
    """`ConvBlock`s over the picture of frames and bands; a frame that comes out is `channels` of `bands` each.

    Args:
        planes, bands: of the features that come in.
        channels, time_pooling, band_pooling: one entry per block. Pooling needs as many frames as the product of
            `time_pooling`.
        dropout: probability of a channel after each block.
        kernel_size: along frames and bands.
        depth: convolutions in a block; the last one is pooled.

    Raises:
        ValueError: naming the configuration's key.
    """

    def __init__(
        self,
        planes: int,
        bands: int,
        channels: Sequence[int],
        time_pooling: Sequence[int],
        band_pooling: Sequence[int],
        dropout: float,
        kernel_size: int = 3,
        depth: int = 1,
    ):
        super().__init__()
        _check(channels, kernel_size, time_pooling=time_pooling, band_pooling=band_pooling)
        self.planes, self.channels, self.bands = planes, channels[-1], bands
        self.blocks = nn.ModuleList()
        for width, *pool in zip(channels, time_pooling, band_pooling, strict=True):
            for _ in range(depth - 1):
                self.blocks.append(ConvBlock(planes, width, (1, 1), 0.0, kernel_size))
                planes = width
            self.blocks.append(ConvBlock(planes, width, tuple(pool), dropout, kernel_size))
            planes, self.bands = width, self.bands // pool[1]
        if not self.bands:
            raise ValueError(f"band_pooling {list(band_pooling)} leaves nothing of {bands} bands")
        self.size = self.channels * self.bands

    @classmethod
    def over(
        cls, front_end: FrontEnd, config: AcousticConfig, kernel_size: int = 3, depth: int = 1
    ) -> "ConvolutionStack2d":
        """The stack over what a front end gives, as a configuration with channels and pooling factors describes it."""
        return cls(
            front_end.planes,
            front_end.bands,
            config.channels,
            config.time_pooling,
            config.band_pooling,
            config.conv_dropout,
            kernel_size,
            depth,
        )

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, planes * bands), mask (batch, frames) -> fewer frames of `size`, and their mask."""
        picture = as_picture(features, self.planes)
        for block in self.blocks:
            picture, mask = block(picture, mask)
        return picture.transpose(1, 2).flatten(2), mask


class ConvolutionStack1d(nn.Module):
    """`ConvBlock1d`s over time; a frame that comes out is the last entry of `channels` (`size`).

    Args:
        inputs: size of a frame that comes in.
        channels, time_pooling: one entry per block. Pooling needs as many frames as the product of `time_pooling`.
        kernel_size: along time.
        dropout: probability of a channel after each block.

    Raises:
        ValueError: naming the configuration's key.
    """

    def __init__(
        self, inputs: int, channels: Sequence[int], time_pooling: Sequence[int], kernel_size: int, dropout: float
    ):
        super().__init__()
        _check(channels, kernel_size, time_pooling=time_pooling)
        widths, self.size = [inputs, *channels], channels[-1]
        self.blocks = nn.ModuleList(
            ConvBlock1d(widths[i], widths[i + 1], kernel_size, pool, dropout) for i, pool in enumerate(time_pooling)
        )

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, inputs), mask (batch, frames) -> fewer frames of `size`, and their mask."""
        features = features.transpose(1, 2)
        for block in self.blocks:
            features, mask = block(features, mask)
        return features.transpose(1, 2), mask


class MaxPooledFrames(nn.Module):
    """The features themselves, coarser: the largest value in each window of (frames, bands).

    A pooled frame is real where its whole window is, as in `ConvBlock`. `size` is what is left of a frame.
    """

    def __init__(self, planes: int, bands: int, pool: Sequence[int]):
        super().__init__()
        if len(pool) != 2 or pool[1] > bands:
            raise ValueError(f"sequence_pooling {list(pool)}: two factors, of frames and of {bands} bands")
        self.planes, self.time_pool = planes, pool[0]
        self.pool = nn.MaxPool2d(tuple(pool))
        self.size = planes * (bands // pool[1])

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, planes * bands), mask (batch, frames) -> (batch, frames // pool, size), and the mask."""
        picture = self.pool(as_picture(features, self.planes))
        mask = mask[:, self.time_pool - 1 :: self.time_pool]
        return picture.transpose(1, 2).flatten(2) * mask[:, :, None], mask


def _check(channels: Sequence[int], kernel_size: int, **pooling: Sequence[int]) -> None:
    if any(len(factors) != len(channels) for factors in pooling.values()):
        *keys, last = ["channels", *pooling]
        raise ValueError(f"{', '.join(keys)} and {last} need one entry per block, the same number each")
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel size {kernel_size} is not odd: a window needs a frame in its middle")
