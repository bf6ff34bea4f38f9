"""Convolutions before a bidirectional LSTM: CRNN, CNN-LSTM and stacked CNN-LSTMs."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from .configuration import (
    AcousticConfig,
    ConvolutionConfig,
    Count,
    Counts,
    Fraction,
    Layers,
    Odd,
    PoolingKind,
)
from .front_end import FrontEnd
from .layers import BiLSTM, ConvolutionStack1d, ConvolutionStack2d, Pooling
from .modeling_base import AcousticClassifier

LSTMPooling = Annotated[
    Literal["last", "mean", "max", "mean_std"],
    "how the LSTM's frames become one vector; last takes its last state in each direction",
]


class CRNNConfig(ConvolutionConfig):
    """The options of a CRNN."""

    model_type = "ser_crnn"

    time_pooling: Counts = (2, 2, 2, 1)
    lstm_hidden: Annotated[Count, "units of the LSTM in each direction"] = 96
    lstm_layers: Annotated[Layers, "layers of the LSTM"] = 1
    pooling: Annotated[PoolingKind, "how the LSTM's frames become one vector"] = "attention"
    dropout: Annotated[
        Fraction, "probability of dropout before, between and after the LSTM's layers"
    ] = 0.3


class CRNNForAudioClassification(AcousticClassifier):
    """CRNN: log-mel front end, convolutional blocks, bidirectional LSTM, pooling, classifier.

    The layout of Choi et al. 2017 (arXiv:1609.04243).
    """

    config_class = CRNNConfig

    def __init__(self, config: CRNNConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        self.stack = self._stack(config)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BiLSTM(self.stack.size, config.lstm_hidden, config.lstm_layers, config.dropout)
        self.pooling = Pooling(config.pooling, 2 * config.lstm_hidden)
        self.classifier = nn.Linear(self.pooling.output_size, config.num_labels)
        self.post_init()

    def _stack(self, config: CRNNConfig) -> nn.Module:
        """Make the convolutions, whose output frames have `size` numbers."""
        return ConvolutionStack2d(self.front_end.planes, self.front_end.bands, config)

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, pooled size)."""
        frames, mask = self.stack(features, mask)
        states = self.lstm(self.dropout(frames), mask)
        return self.dropout(self.pooling(states, mask))


class CNNLSTMConfig(AcousticConfig):
    """The options of a CNN-LSTM, whose convolutions run along time."""

    model_type = "ser_cnn_lstm"
    per_block: ClassVar[tuple[str, ...]] = ("channels", "time_pooling")

    channels: Annotated[Counts, "filters of each convolutional block"] = (96, 128)
    time_pooling: Annotated[Counts, "pooling factor of each block along frames"] = (2, 2)
    kernel_size: Annotated[Odd, "size of the convolutions, in frames"] = 5
    lstm_hidden: Annotated[Count, "units of the LSTM in each direction"] = 64
    lstm_layers: Annotated[Layers, "layers of the LSTM"] = 1
    pooling: LSTMPooling = "last"
    conv_dropout: Annotated[Fraction, "probability that a channel is dropped after a block"] = 0.05
    dropout: Annotated[
        Fraction, "probability of dropout before, between and after the LSTM's layers"
    ] = 0.3


class CNNLSTMForAudioClassification(CRNNForAudioClassification):
    """CNN-LSTM: convolutions over time, with mel bands as channels, before the LSTM.

    After the 1-D CNN LSTM of Zhao, Mao and Chen 2019 (Biomedical Signal Processing and Control 47).
    """

    config_class = CNNLSTMConfig

    def _stack(self, config: CNNLSTMConfig) -> nn.Module:
        return ConvolutionStack1d(
            self.front_end.size,
            config.channels,
            config.time_pooling,
            config.kernel_size,
            config.conv_dropout,
        )


class StackedCNNLSTMConfig(CRNNConfig):
    """The options of a stacked CNN-LSTM."""

    model_type = "ser_stacked_cnn_lstm"

    channels: Counts = (16, 32, 64, 128)
    depth: Annotated[Layers, "convolutions of each block"] = 2
    time_pooling: Counts = (2, 2, 2, 2)
    band_pooling: Counts = (2, 2, 4, 4)
    lstm_hidden: Count = 64
    pooling: LSTMPooling = "last"


class StackedCNNLSTMForAudioClassification(CRNNForAudioClassification):
    """Stacked CNN-LSTM: a deep stack of 2-D convolutions before the LSTM.

    After the notebook "stacked_cnn_lstm" of
    Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch.
    """

    config_class = StackedCNNLSTMConfig

    def _stack(self, config: StackedCNNLSTMConfig) -> nn.Module:
        return ConvolutionStack2d(
            self.front_end.planes, self.front_end.bands, config, depth=config.depth
        )


class StackedCNNAttentionLSTMConfig(StackedCNNLSTMConfig):
    """The options of a stacked CNN-LSTM with attention."""

    model_type = "ser_stacked_cnn_attention_lstm"

    pooling: Annotated[
        Literal["attention", "attentive_stats"], "how the LSTM's frames become one vector"
    ] = "attention"


class StackedCNNAttentionLSTMForAudioClassification(StackedCNNLSTMForAudioClassification):
    """Stacked CNN-LSTM with attention: the outputs of the LSTM are averaged with trained weights.

    After the notebook "stacked_cnn_attention_lstm" of
    Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch.
    """

    config_class = StackedCNNAttentionLSTMConfig
