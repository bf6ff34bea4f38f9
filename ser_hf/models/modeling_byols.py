"""BYOL-S: log-mel front end, the small convolutional encoder of BYOL-A, mean plus maximum over time.

Elbanna et al. 2022 (arXiv:2206.12038) trained the encoder of BYOL-A (Niizumi et al. 2021, arXiv:2103.06695) on the
speech of AudioSet, without labels. Three blocks of convolutions leave one frame every 80 ms, two linear layers look at
each frame alone.
"""

import torch
from torch import nn

from .configuration_byols import BYOLSConfig
from .front_end import FrontEnd
from .light_heads import light_head
from .masked_layers import ConvBlock, Pooling, as_picture
from .modeling_transfer import ClipNorm, TransferClassifier

_BLOCKS = 3  # each halves frames and bands


class BYOLSForAudioClassification(TransferClassifier):
    config_class = BYOLSConfig

    def __init__(self, config: BYOLSConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=2**_BLOCKS)
        self.encoder = BYOLSEncoder(self.front_end.planes, self.front_end.bands, config)
        self.pooling = Pooling(config.pooling, config.embedding)
        self.norm = ClipNorm(self.pooling.output_size) if config.standardize else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = light_head(config.head, self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.pooling(*self.encoder(features, mask))))


class BYOLSEncoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, frames // 8, embedding), and their mask.

    `layers` are the three convolutional blocks and the two linear layers.
    """

    def __init__(self, planes: int, bands: int, config: BYOLSConfig):
        super().__init__()
        self.planes = planes
        widths = [planes, *[config.channels] * _BLOCKS]
        self.layers = nn.ModuleList(ConvBlock(widths[i], widths[i + 1], (2, 2), 0.0) for i in range(_BLOCKS))
        self.layers.append(FrameLayer(config.channels * (bands // 2**_BLOCKS), config.embedding, config.frame_dropout))
        self.layers.append(FrameLayer(config.embedding, config.embedding, 0.0))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        picture = as_picture(features, self.planes)
        for block in self.layers[:_BLOCKS]:
            picture, mask = block(picture, mask)
        # All channels of the lowest band first, as the first linear layer has learnt.
        frames = picture.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers[_BLOCKS:]:
            frames = layer(frames)
        return frames, mask


class FrameLayer(nn.Module):
    """Linear layer, ReLU and dropout of each frame alone."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.dropout(torch.relu(self.linear(frames)))
