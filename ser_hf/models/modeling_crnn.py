"""CRNN: log-mel front end, convolutional blocks, bidirectional LSTM, pooling, classifier.

The layout of Choi et al. 2017 (arXiv:1609.04243) as speech emotion notebooks use it: convolutions see local spectral
shape, the LSTM the contour of the utterance.
"""

import math

import torch
from torch import nn

from .configuration_crnn import CRNNConfig
from .convolution_stack import ConvolutionStack2d
from .front_end import FrontEnd
from .masked_layers import BiLSTM, Pooling
from .modeling_acoustic import AcousticClassifier


class CRNNForAudioClassification(AcousticClassifier):
    config_class = CRNNConfig

    def __init__(self, config: CRNNConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        self.stack = ConvolutionStack2d.over(self.front_end, config)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(self.stack.size, config.lstm_hidden, config.lstm_layers, config.dropout)
        self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = self.stack(features, mask)
        return self.dropout(self.pooling(self.lstm(self.dropout(frames), mask), mask))
