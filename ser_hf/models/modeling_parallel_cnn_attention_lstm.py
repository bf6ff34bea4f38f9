"""Parallel CNNs and an attentive LSTM: convolutional branches of several kernel sizes beside a bidirectional LSTM.

After the notebook "parallel_cnn_attention_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch: a
CNN of 16, 32, 64 and 64 filters beside a bidirectional LSTM of 128 over a max-pooled spectrogram, whose outputs are
averaged by attention; both are joined before the classifier. There is one CNN there, and it flattens a clip of 3 s;
ours are several, and pool real frames of any number.
"""

import math

import torch
from torch import nn

from .configuration_parallel_cnn_attention_lstm import ParallelCNNAttentionLSTMConfig
from .convolution_stack import ConvolutionStack2d, MaxPooledFrames
from .front_end import FrontEnd
from .masked_layers import BiLSTM, Pooling
from .modeling_convolutional import ConvolutionalClassifier


class ParallelCNNAttentionLSTMForAudioClassification(ConvolutionalClassifier):
    config_class = ParallelCNNAttentionLSTMConfig

    def __init__(self, config: ParallelCNNAttentionLSTMConfig):
        super().__init__(config)
        least = max([math.prod(config.time_pooling), *config.sequence_pooling[:1]])
        self.front_end = FrontEnd(config, min_frames=least)
        self.branches = nn.ModuleList(
            ConvolutionStack2d.over(self.front_end, config, kernel_size) for kernel_size in config.kernel_sizes
        )
        self.frames = MaxPooledFrames(self.front_end.planes, self.front_end.bands, config.sequence_pooling)
        self.lstm = BiLSTM(self.frames.size, config.lstm_hidden, config.lstm_layers, config.lstm_dropout)
        self.lstm_dropout = nn.Dropout(config.lstm_dropout)
        self.poolings = nn.ModuleList(Pooling(config.pooling, branch.size) for branch in self.branches)
        self.poolings.append(Pooling(config.lstm_pooling, 2 * config.lstm_hidden))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sum(pooling.output_size for pooling in self.poolings), config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        outputs = [branch(features, mask) for branch in self.branches]
        frames, frame_mask = self.frames(features, mask)
        outputs.append((self.lstm_dropout(self.lstm(frames, frame_mask)), frame_mask))
        pooled = [pooling(*output) for pooling, output in zip(self.poolings, outputs, strict=True)]
        return self.dropout(torch.cat(pooled, dim=1))
