"""What the networks of the VGG family share: how a clip's vector is made of an encoder's frames, and classified."""

import torch
from torch import nn
from transformers import initialization as init

from .configuration_acoustic import WaveformConfig
from .light_heads import light_head
from .masked_layers import Pooling
from .modeling_transfer import ClipNorm, TransferClassifier


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
