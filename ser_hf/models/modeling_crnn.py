"""CRNN: configuration and network."""

import math
from typing import ClassVar

import torch
from torch import nn

from .configuration import AcousticConfig, Count, Counts, Fraction, PoolingKind
from .front_end import FrontEnd
from .layers import BiLSTM, ConvolutionStack2d, Pooling
from .modeling_base import AcousticClassifier


class CRNNConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each convolutional block.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        lstm_hidden, lstm_layers: size per direction, and depth.
        pooling: over time, see `Pooling`.
        conv_dropout, dropout: probability after each block (whole channels), and around the LSTM and classifier.
    """

    model_type = "ser_crnn"
    per_block: ClassVar[tuple[str, ...]] = ("channels", "time_pooling", "band_pooling")

    channels: Counts = (32, 64, 128, 128)
    time_pooling: Counts = (2, 2, 2, 1)
    band_pooling: Counts = (2, 2, 2, 2)
    lstm_hidden: Count = 96
    lstm_layers: Count = 1
    pooling: PoolingKind = "attention"
    conv_dropout: Fraction = 0.05
    dropout: Fraction = 0.3


class CRNNForAudioClassification(AcousticClassifier):
    """CRNN: log-mel front end, convolutional blocks, bidirectional LSTM, pooling, classifier.

    The layout of Choi et al. 2017 (arXiv:1609.04243) as speech emotion notebooks use it: convolutions see local
    spectral shape, the LSTM the contour of the utterance.
    """

    config_class = CRNNConfig

    def __init__(self, config: CRNNConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        self.stack = ConvolutionStack2d(self.front_end.planes, self.front_end.bands, config)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(self.stack.size, config.lstm_hidden, config.lstm_layers, config.dropout)
        self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = self.stack(features, mask)
        return self.dropout(self.pooling(self.lstm(self.dropout(frames), mask), mask))
