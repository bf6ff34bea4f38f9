"""CNN-LSTM: convolutions over time with the mel bands for channels, a bidirectional LSTM, and its last states.

The baseline among the hybrids: a shallow 1-D CNN in front of the LSTM, as in the 1-D CNN LSTM network of Zhao, Mao and
Chen 2019 (Biomedical Signal Processing and Control 47), whose blocks, too, are convolution, batch normalisation,
activation and max-pooling. Theirs hears waveforms of a fixed length and looks back only; ours hears mel bands both
ways, and each direction's last state is that at a clip's own end.
"""

import math

import torch
from torch import nn

from .configuration_cnn_lstm import CNNLSTMConfig
from .convolution_stack import ConvolutionStack1d
from .front_end import FrontEnd
from .masked_layers import BiLSTM, LastState, Pooling
from .modeling_acoustic import AcousticClassifier


class CNNLSTMForAudioClassification(AcousticClassifier):
    config_class = CNNLSTMConfig

    def __init__(self, config: CNNLSTMConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        self.stack = ConvolutionStack1d(
            self.front_end.size, config.channels, config.time_pooling, config.kernel_size, config.conv_dropout
        )
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
