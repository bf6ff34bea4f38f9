"""CNN14 of PANNs: log-mel front end, six blocks of two convolutions, mean plus maximum over time.

Kong et al. 2020 (arXiv:1912.10211) trained it to tag the sounds of AudioSet, speech among 527 of them.
"""

import torch
from torch import nn

from .configuration_cnn14 import CNN14Config
from .front_end import FrontEnd
from .light_heads import light_head
from .masked_layers import ConvBlock, MaskedBatchNorm1d, Pooling, as_picture
from .modeling_transfer import ClipNorm, TransferClassifier


class CNN14ForAudioClassification(TransferClassifier):
    config_class = CNN14Config

    def __init__(self, config: CNN14Config):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=2 ** (len(config.channels) - 1))
        self.encoder = CNN14Encoder(self.front_end.planes, self.front_end.bands, config)
        self.norm = ClipNorm(config.embedding) if config.standardize else nn.Identity()
        self.classifier = light_head(config.head, config.embedding, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(features, mask))


class CNN14Encoder(nn.Module):
    """(batch, frames, planes * bands), mask (batch, frames) -> (batch, embedding).

    `layers` are the blocks of convolutions, the first of which normalises the bands, and the layer after pooling.
    """

    def __init__(self, planes: int, bands: int, config: CNN14Config):
        super().__init__()
        self.planes = planes
        last = len(config.channels) - 1
        widths = [planes, *config.channels]
        self.layers = nn.ModuleList(
            DoubleBlock(
                widths[i],
                widths[i + 1],
                pool=1 if i == last else 2,
                dropout=config.block_dropout,
                normed=0 if i else planes * bands,
            )
            for i in range(last + 1)
        )
        self.layers.append(ClipLayer(config.channels[-1], config.embedding, config.dropout))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = as_picture(features, self.planes)
        for block in self.layers[:-1]:
            picture, mask = block(picture, mask)
        return self.layers[-1](picture.mean(dim=3).transpose(1, 2), mask)


class DoubleBlock(nn.Module):
    """Two convolutions, each with masked batch normalisation and ReLU, mean over squares of `pool`, dropout.

    With `normed`, a number of planes times bands, each band of each plane is normalised before.
    """

    def __init__(self, inputs: int, outputs: int, pool: int, dropout: float, normed: int = 0):
        super().__init__()
        if normed:
            self.bands_norm = MaskedBatchNorm1d(normed)
        self.convolutions = nn.ModuleList(
            [ConvBlock(inputs, outputs, (1, 1), 0.0), ConvBlock(outputs, outputs, (1, 1), 0.0)]
        )
        self.pool = nn.AvgPool2d(pool)
        self.time_pool, self.normed = pool, normed
        self.dropout = nn.Dropout(dropout)

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, inputs, frames, bands) -> (batch, outputs, frames // pool, bands // pool), and the pooled mask."""
        if self.normed:
            planes = picture.shape[1]
            rows = picture.transpose(2, 3).flatten(1, 2)
            picture = self.bands_norm(rows, mask).unflatten(1, (planes, -1)).transpose(2, 3)
        for convolution in self.convolutions:
            picture, _ = convolution(picture, mask)
        picture = self.dropout(self.pool(picture))
        # As in `ConvBlock`: a pooled frame is real where its whole window is.
        mask = mask[:, self.time_pool - 1 :: self.time_pool]
        return picture * mask[:, None, :, None].to(picture.dtype), mask


class ClipLayer(nn.Module):
    """Mean plus maximum over time, and a linear layer with ReLU, dropout before it and after it."""

    def __init__(self, inputs: int, outputs: int, dropout: float):
        super().__init__()
        self.pooling = Pooling("mean_max", inputs)
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, outputs)."""
        return self.dropout(torch.relu(self.linear(self.dropout(self.pooling(frames, mask)))))
