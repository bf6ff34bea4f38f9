"""What networks transferred from other tasks share: a pretrained trunk under a new head."""

import torch
from torch import nn

from .masked_layers import MaskedBatchNorm1d
from .modeling_acoustic import AcousticClassifier


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
