"""2-D CNN: log-mel front end, four convolutional blocks, global pooling, dense layer, classifier.

The network with which most speech emotion notebooks begin: convolution, batch normalisation, ReLU and max-pooling
four times, then `AdaptiveAvgPool2d` and dense layers. They resize every spectrogram to one picture; ours takes clips
as long as they are and pools their real frames (``frame_fit: resize`` with `frames` does as they do), or, with
``pooling_over: frames``, keeps bands apart as those do that flatten.
"""

import math

import torch
from torch import nn

from .configuration_cnn2d import CNN2dConfig
from .convolution_stack import ConvolutionStack2d
from .front_end import FrontEnd
from .masked_layers import Pooling
from .modeling_convolutional import ConvolutionalClassifier


class CNN2dForAudioClassification(ConvolutionalClassifier):
    config_class = CNN2dConfig

    def __init__(self, config: CNN2dConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config, min_frames=math.prod(config.time_pooling))
        self.stack = ConvolutionStack2d.over(self.front_end, config, config.kernel_size)
        over_bands = config.pooling_over == "frames_and_bands"
        self.pooling = Pooling(config.pooling, self.stack.channels if over_bands else self.stack.size)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(self.pooling.output_size, config.hidden)
        self.classifier = nn.Linear(config.hidden, config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        frames, mask = self.stack(features, mask)
        if self.config.pooling_over == "frames_and_bands":
            # Each band of a frame is an item of its own.
            frames = frames.unflatten(2, (self.stack.channels, self.stack.bands)).transpose(2, 3).flatten(1, 2)
            mask = mask.repeat_interleave(self.stack.bands, dim=1)
        return self.dropout(torch.relu(self.dense(self.dropout(self.pooling(frames, mask)))))
