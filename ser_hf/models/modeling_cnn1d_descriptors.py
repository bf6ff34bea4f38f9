"""1-D CNN over descriptors of energy, spectral shape and pitch, frame by frame or summed up over the clip.

As speech emotion notebooks feed them to one-dimensional convolutions: each clip's descriptors are averaged to one
vector, and convolutions slide along that vector as if it were time (`aggregate`). By default ours slide along time
instead, with the descriptors for channels. The clip's length is free: pooling takes its real frames.
"""

import math

import torch
from torch import nn

from .configuration_cnn1d_descriptors import CNN1dDescriptorsConfig
from .convolution_stack import ConvolutionStack1d
from .front_end import FrontEnd
from .masked_layers import Pooling
from .modeling_convolutional import ConvolutionalClassifier


class CNN1dDescriptorsForAudioClassification(ConvolutionalClassifier):
    config_class = CNN1dDescriptorsConfig

    def __init__(self, config: CNN1dDescriptorsConfig):
        super().__init__(config)
        least = math.prod(config.pooling_factors)
        if config.aggregate:
            self.front_end = FrontEnd(config, statistics=config.statistics)
            if self.front_end.size < least:
                raise ValueError(f"pooling_factors need {least} statistics, there are {self.front_end.size}")
        else:
            self.front_end = FrontEnd(config, min_frames=least)
        inputs = 1 if config.aggregate else self.front_end.size
        self.stack = ConvolutionStack1d(
            inputs, config.channels, config.pooling_factors, config.kernel_size, config.conv_dropout
        )
        self.pooling = Pooling(config.pooling, self.stack.size)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(self.pooling.output_size, config.hidden)
        self.classifier = nn.Linear(config.hidden, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.config.aggregate:
            # (batch, 1 frame, statistics) becomes a sequence of as many steps, one number each.
            features = features.transpose(1, 2)
            mask = torch.ones_like(features[:, :, 0], dtype=torch.bool)
        pooled = self.pooling(*self.stack(features, mask))
        return self.dropout(torch.relu(self.dense(self.dropout(pooled))))
