"""What networks share that are transferred from other tasks: a pretrained encoder under a new head."""

import torch
from torch import nn

from .configuration import WaveformConfig
from .layers import MaskedBatchNorm1d, Pooling
from .modeling_base import AcousticClassifier
from .support_vectors import LinearMachines


class TransferClassifier(AcousticClassifier):
    """A waveform classifier whose `encoder` has published weights.

    `encoder.layers` lists its blocks from the bottom to the top, so that they can be frozen, unfrozen and given
    learning rates by depth; only those blocks have weights.

    Args:
        config: with `standardize` and `head`.
        size: of a clip's vector, the input of the head.
    """

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config)
        self.front_end, self.encoder = front_end, encoder

    def _make_head(self, size: int) -> None:
        """`norm` and `classifier` for clip vectors of `size`, and all initial weights.

        The classifier is one linear layer, or calibrated linear support vector machines that only scikit-learn fits.
        """
        self.norm = ClipNorm(size) if self.config.standardize else nn.Identity()
        head = {"linear": nn.Linear, "svm": LinearMachines}[self.config.head]
        self.classifier = head(size, self.config.num_labels)
        self.post_init()


class PooledTransferClassifier(TransferClassifier):
    """A `TransferClassifier` whose encoder returns frames and their mask; `encoder.size` is the size of a frame."""

    def __init__(self, config: WaveformConfig, front_end: nn.Module, encoder: nn.Module):
        super().__init__(config, front_end, encoder)
        self.pooling = Pooling(config.pooling, encoder.size)
        self.dropout = nn.Dropout(config.dropout)
        self._make_head(self.pooling.output_size)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(self.pooling(*self.encoder(features, mask))))


class ClipNorm(MaskedBatchNorm1d):
    """Batch normalization, without weights, of one vector per clip: (batch, size) -> the same.

    A linear layer on a frozen encoder trains slowly on vectors of unlike scales; He et al. 2022 (arXiv:2111.06377,
    appendix A.1) standardize them so.
    """

    def __init__(self, size: int):
        super().__init__(size, affine=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        real = torch.ones_like(vectors[:, :1], dtype=torch.bool)
        return super().forward(vectors[:, :, None], real).squeeze(2)


class VGGStage(nn.Module):
    """Convolutions of 3 x 3 with biases, each followed by ReLU, then the largest value in each window of 2 x 2
    (Simonyan and Zisserman 2014, arXiv:1409.1556).

    There is no normalization, and biases make padding nonzero: it is set to zero after every layer, which is also what
    a convolution sees beyond a clip's end.
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
