"""What networks share that are transferred from other tasks: a pretrained trunk under a new head."""

import torch
from torch import nn
from transformers import initialization as init

from .configuration import WaveformConfig
from .layers import MaskedBatchNorm1d, Pooling
from .modeling_base import AcousticClassifier
from .support_vectors import light_head


class TransferClassifier(AcousticClassifier):
    """A waveform classifier whose `encoder` has published weights.

    A network makes `front_end`, `encoder`, `classifier` and what it pools with. `encoder.layers` lists its blocks from
    the bottom to the top, so that it can be frozen, thawed and given learning rates by depth; nothing in it but those
    blocks has weights.
    """

    encoder: nn.Module


class ClipNorm(MaskedBatchNorm1d):
    """Batch normalisation, without weights, of one vector a clip: (batch, size) -> the same.

    A linear layer on a frozen encoder learns slowly from vectors of unlike scales; He et al. 2022 (arXiv:2111.06377,
    appendix A.1) standardise them so.
    """

    def __init__(self, size: int):
        super().__init__(size, affine=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        real = torch.ones_like(vectors[:, :1], dtype=torch.bool)
        return super().forward(vectors[:, :, None], real).squeeze(2)


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


class VGGClassifier(TransferClassifier):
    """`front_end` and `encoder` as they are given; then pooling, normalisation and dropout, and the classifier.

    Args:
        config: with `pooling`, `standardize`, `dropout` and `head`.
        encoder: with the `size` of a frame that it returns.
    """

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config)
        self.front_end, self.encoder = front_end, encoder
        self.pooling = Pooling(config.pooling, encoder.size)
        self.norm = ClipNorm(self.pooling.output_size) if config.standardize else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = light_head(config.head, self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.pooling(*self.encoder(features, mask))))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.classifier and isinstance(module, nn.Linear):
            # Near an even guess to begin with, whatever the scale of rectified and pooled activations.
            init.xavier_uniform_(module.weight, gain=0.3)
