"""Stacked CNN-LSTM: a deep stack of 2-D convolutions, then a bidirectional LSTM over what is left of time.

After the notebook "stacked_cnn_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch: blocks of 16 to
64 or more filters, each with batch normalisation, ReLU and max-pooling, that shrink a spectrogram until an LSTM has
few steps to go. There the spectrogram of a clip cut to 3 s is divided into 128-frame chunks, and each chunk flattened
to one step. Here the stack runs over the clip as a whole, of any length, and has two convolutions a block; a step is a
pooled frame.
"""

import math

import torch
from torch import nn

from .configuration_stacked_cnn_lstm import StackedCNNLSTMConfig
from .convolution_stack import ConvolutionStack2d
from .front_end import FrontEnd
from .masked_layers import BiLSTM, LastState, Pooling
from .modeling_acoustic import AcousticClassifier


class StackedCNNLSTMForAudioClassification(AcousticClassifier):
    config_class = StackedCNNLSTMConfig

    def __init__(self, config: StackedCNNLSTMConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        self.stack = ConvolutionStack2d.over(self.front_end, config, depth=config.depth)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(self.stack.size, config.lstm_hidden, config.lstm_layers, config.dropout)
        if config.pooling == "last":
            self.pooling = LastState(2 * config.lstm_hidden, bidirectional=True)
        else:
            self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = self.stack(features, mask)
        return self.dropout(self.pooling(self.lstm(self.dropout(frames), mask), mask))
