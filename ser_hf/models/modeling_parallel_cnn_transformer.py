"""Parallel CNNs and a transformer: convolutional branches of several kernel sizes beside self-attention over frames.

After IliaZenkov/transformer-cnn-emotion-recognition and the notebook "parallel_cnn_transformer" of
Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch: a transformer encoder with four heads and four layers
over a max-pooled spectrogram, averaged over time, beside CNNs of 16, 32 and 64 filters; what all branches return is
joined before the classifier. There the CNNs are alike, flatten a clip of 3 s, and the transformer learns nothing of
the frames' order. Ours differ in kernel size and pool real frames of any number; the transformer has sinusoidal
positions, a projection to its own size, a feed-forward layer of half the width and normalises before each layer.
"""

import math

import torch
from torch import nn

from .configuration_parallel_cnn_transformer import ParallelCNNTransformerConfig
from .convolution_stack import ConvolutionStack2d, MaxPooledFrames
from .front_end import FrontEnd
from .masked_layers import Pooling
from .modeling_convolutional import ConvolutionalClassifier
from .transformer_layers import Transformer


class ParallelCNNTransformerForAudioClassification(ConvolutionalClassifier):
    config_class = ParallelCNNTransformerConfig

    def __init__(self, config: ParallelCNNTransformerConfig):
        super().__init__(config)
        least = max([math.prod(config.time_pooling), *config.sequence_pooling[:1]])
        self.front_end = FrontEnd(config, min_frames=least)
        self.branches = nn.ModuleList(
            ConvolutionStack2d.over(self.front_end, config, kernel_size) for kernel_size in config.kernel_sizes
        )
        self.frames = MaxPooledFrames(self.front_end.planes, self.front_end.bands, config.sequence_pooling)
        self.transformer = Transformer(
            self.frames.size,
            config.transformer_size,
            config.transformer_layers,
            config.transformer_heads,
            config.transformer_hidden,
            config.transformer_dropout,
        )
        sizes = [branch.size for branch in self.branches] + [config.transformer_size]
        self.poolings = nn.ModuleList(Pooling(config.pooling, size) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sum(pooling.output_size for pooling in self.poolings), config.num_labels)
        self.post_init()

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        outputs = [branch(features, mask) for branch in self.branches]
        frames, frame_mask = self.frames(features, mask)
        outputs.append((self.transformer(frames, frame_mask), frame_mask))
        pooled = [pooling(*output) for pooling, output in zip(self.poolings, outputs, strict=True)]
        return self.dropout(torch.cat(pooled, dim=1))
