"""CRNN: log-mel front end, convolutional blocks, bidirectional LSTM, pooling, classifier.

The layout of Choi et al. 2017 (arXiv:1609.04243) as speech emotion notebooks use it: convolutions see local spectral
shape, the LSTM the contour of the utterance.
"""

import math

import torch
from torch import nn

from .configuration_crnn import CRNNConfig
from .front_end import FrontEnd
from .masked_layers import BiLSTM, ConvBlock, Pooling, as_picture
from .modeling_acoustic import AcousticClassifier


class CRNNForAudioClassification(AcousticClassifier):
    config_class = CRNNConfig

    def __init__(self, config: CRNNConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        widths = [self.front_end.planes, *config.channels]
        pools = zip(config.time_pooling, config.band_pooling, strict=True)
        self.blocks = nn.ModuleList(
            ConvBlock(widths[i], widths[i + 1], pool, config.conv_dropout) for i, pool in enumerate(pools)
        )
        bands = self.front_end.bands
        for factor in config.band_pooling:
            bands //= factor
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(bands * config.channels[-1], config.lstm_hidden, config.lstm_layers, config.dropout)
        self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        picture = as_picture(features, self.front_end.planes)
        for block in self.blocks:
            picture, mask = block(picture, mask)
        sequence = self.lstm(self.dropout(picture.transpose(1, 2).flatten(2)), mask)
        return self.dropout(self.pooling(sequence, mask))
