"""Hybrids of convolutions with an LSTM or a transformer: configurations, layers and networks."""

import math
from typing import Literal

import torch
from torch import nn

from .configuration import AcousticConfig
from .front_end import FrontEnd
from .layers import BiLSTM, ConvolutionStack1d, ConvolutionStack2d, LastState, MaxPooledFrames, Pooling
from .modeling_base import AcousticClassifier, ConvolutionalClassifier


class CNNLSTMConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each convolutional block.
        time_pooling: pooling factor of each block.
        kernel_size: frames of each filter; odd.
        lstm_hidden, lstm_layers: size per direction, and depth.
        pooling: ``"last"``, where each direction ends; ``"mean"``, ``"max"`` or ``"mean_std"`` over time.
        conv_dropout, dropout: probability after each block (whole channels), and around the LSTM.
    """

    model_type = "ser_cnn_lstm"

    channels: list[int] = (96, 128)
    time_pooling: list[int] = (2, 2)
    kernel_size: int = 5
    lstm_hidden: int = 64
    lstm_layers: int = 1
    pooling: Literal["last", "mean", "max", "mean_std"] = "last"
    conv_dropout: float = 0.05
    dropout: float = 0.3


class CNNLSTMForAudioClassification(AcousticClassifier):
    """CNN-LSTM: convolutions over time with the mel bands for channels, a bidirectional LSTM, and its last states.

    The baseline among the hybrids: a shallow 1-D CNN in front of the LSTM, as in the 1-D CNN LSTM network of Zhao, Mao
    and Chen 2019 (Biomedical Signal Processing and Control 47), whose blocks, too, are convolution, batch
    normalisation, activation and max-pooling. Theirs hears waveforms of a fixed length and looks back only; ours hears
    mel bands both ways, and each direction's last state is that at a clip's own end.
    """

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


class StackedCNNLSTMConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each convolutional block.
        depth: convolutions in a block.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        lstm_hidden, lstm_layers: size per direction, and depth.
        pooling: ``"last"``, where each direction ends; ``"mean"``, ``"max"`` or ``"mean_std"`` over time.
        conv_dropout, dropout: probability after each block (whole channels), and around the LSTM.
    """

    model_type = "ser_stacked_cnn_lstm"

    channels: list[int] = (16, 32, 64, 128)
    depth: int = 2
    time_pooling: list[int] = (2, 2, 2, 2)
    band_pooling: list[int] = (2, 2, 4, 4)
    lstm_hidden: int = 64
    lstm_layers: int = 1
    pooling: Literal["last", "mean", "max", "mean_std"] = "last"
    conv_dropout: float = 0.05
    dropout: float = 0.3


class StackedCNNLSTMForAudioClassification(AcousticClassifier):
    """Stacked CNN-LSTM: a deep stack of 2-D convolutions, then a bidirectional LSTM over what is left of time.

    After the notebook "stacked_cnn_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch: blocks of
    16 to 64 or more filters, each with batch normalisation, ReLU and max-pooling, that shrink a spectrogram until an
    LSTM has few steps to go. There the spectrogram of a clip cut to 3 s is divided into 128-frame chunks, and each
    chunk flattened to one step. Here the stack runs over the clip as a whole, of any length, and has two convolutions
    a block; a step is a pooled frame.
    """

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


class StackedCNNAttentionLSTMConfig(StackedCNNLSTMConfig):
    """The settings of the stack and the LSTM (`StackedCNNLSTMConfig`), and:

    Args:
        pooling: ``"attention"``, a learnt weight a frame, or ``"attentive_stats"``, mean and deviation by them.
    """

    model_type = "ser_stacked_cnn_attention_lstm"

    pooling: Literal["attention", "attentive_stats"] = "attention"


class StackedCNNAttentionLSTMForAudioClassification(StackedCNNLSTMForAudioClassification):
    """Stacked CNN-LSTM with attention: the LSTM's outputs are weighted by how much each tells, then averaged.

    After the notebook "stacked_cnn_attention_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch,
    whose attention is one linear score for each step and a softmax over them. It differs from ours as
    "stacked_cnn_lstm" does (see there); here the softmax runs over a clip's real frames.
    """

    config_class = StackedCNNAttentionLSTMConfig


class SelfAttention(nn.Module):
    """Scaled dot-product attention with several heads, among the real frames.

    Raises:
        ValueError: where `heads` do not divide `size`.
    """

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        if heads < 1 or size < 1 or size % heads:
            raise ValueError(f"a transformer's size {size} is no multiple of its {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(size, 3 * size)  # queries, keys and values
        self.join = nn.Linear(size, size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.project(sequence).chunk(3, dim=2)
        )
        attended = nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        return self.join(attended.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer with ReLU, each a residual (Vaswani et al. 2017, arXiv:1706.03762).

    Equals `nn.TransformerEncoderLayer` with a key padding mask.

    Args:
        size: of a frame.
        heads: of the attention.
        feed_forward: hidden size of the feed-forward layer.
        dropout: probability within the attention and the feed-forward layer, and after each.
        norm_first: normalise what enters a residual branch (Xiong et al. 2020, arXiv:2002.04745: such blocks need no
            warm-up of the learning rate, but a normalisation after the last one); otherwise what leaves the sum.
    """

    def __init__(self, size: int, heads: int, feed_forward: int, dropout: float, norm_first: bool = True):
        super().__init__()
        self.norm_first = norm_first
        self.attention = SelfAttention(size, heads, dropout)
        self.widen, self.narrow = nn.Linear(size, feed_forward), nn.Linear(feed_forward, size)
        self.attention_norm, self.feed_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        if self.norm_first:
            sequence = sequence + self._attend(self.attention_norm(sequence), mask)
            return sequence + self._feed(self.feed_norm(sequence))
        sequence = self.attention_norm(sequence + self._attend(sequence, mask))
        return self.feed_norm(sequence + self._feed(sequence))

    def _attend(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.attention(sequence, mask))

    def _feed(self, sequence: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.narrow(self.dropout(torch.relu(self.widen(sequence)))))


class Transformer(nn.Module):
    """Frames of any size, brought to `size`, told their place, and passed through `layers` pre-norm blocks."""

    def __init__(self, inputs: int, size: int, layers: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.enter = nn.Linear(inputs, size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(size, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, frames, size)."""
        sequence = self.enter(sequence)
        sequence = self.dropout(sequence + positions(sequence))
        for block in self.blocks:
            sequence = block(sequence, mask)
        return self.norm(sequence)


def positions(sequence: torch.Tensor) -> torch.Tensor:
    """Sinusoids of the frame's number (Vaswani et al. 2017, section 3.5): (frames, size) for (batch, frames, size).

    Feature 2i is ``sin(frame / 10000^(2i / size))`` and feature 2i + 1 its cosine, for any number of frames.
    """
    size = sequence.shape[2]
    frame = torch.arange(sequence.shape[1], device=sequence.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, size, 2, device=sequence.device, dtype=torch.float32)
    angle = frame * torch.exp(even * (-math.log(10000.0) / size))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :size].to(sequence.dtype)


class ParallelCNNTransformerConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        kernel_sizes: one convolutional branch each; odd.
        channels: filters of each block of a branch.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        sequence_pooling: factors along frames and bands by which the transformer's frames are max-pooled.
        transformer_size, transformer_layers, transformer_heads, transformer_hidden: size of a frame, number of blocks,
            heads of each, hidden size of its feed-forward layer.
        transformer_dropout: probability within the transformer.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time, of each
            branch.
        conv_dropout, dropout: probability after each block (whole channels), and before the classifier.
    """

    model_type = "ser_parallel_cnn_transformer"

    kernel_sizes: list[int] = (3, 5)
    channels: list[int] = (16, 32, 64)
    time_pooling: list[int] = (2, 2, 4)
    band_pooling: list[int] = (2, 4, 4)
    sequence_pooling: list[int] = (2, 2)
    transformer_size: int = 64
    transformer_layers: int = 4
    transformer_heads: int = 4
    transformer_hidden: int = 256
    transformer_dropout: float = 0.1
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "mean"
    conv_dropout: float = 0.05
    dropout: float = 0.2


class ParallelCNNTransformerForAudioClassification(ConvolutionalClassifier):
    """Parallel CNNs and a transformer: CNN branches of several kernel sizes beside self-attention over frames.

    After IliaZenkov/transformer-cnn-emotion-recognition and the notebook "parallel_cnn_transformer" of
    Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch: a transformer encoder with four heads and four
    layers over a max-pooled spectrogram, averaged over time, beside CNNs of 16, 32 and 64 filters; what all branches
    return is joined before the classifier. There the CNNs are alike, flatten a clip of 3 s, and the transformer learns
    nothing of the frames' order. Ours differ in kernel size and pool real frames of any number; the transformer has
    sinusoidal positions, a projection to its own size, a feed-forward layer of half the width and normalises before
    each layer.
    """

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


class ParallelCNNAttentionLSTMConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        kernel_sizes: one convolutional branch each; odd.
        channels: filters of each block of a branch.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        sequence_pooling: factors along frames and bands by which the LSTM's frames are max-pooled.
        lstm_hidden, lstm_layers: size per direction, and depth.
        lstm_pooling: ``"attention"`` or ``"attentive_stats"`` over the LSTM's frames.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time, of each
            convolutional branch.
        conv_dropout, lstm_dropout, dropout: probability after each block (whole channels), after the LSTM (and between
            its layers), and before the classifier.
    """

    model_type = "ser_parallel_cnn_attention_lstm"

    kernel_sizes: list[int] = (3, 5)
    channels: list[int] = (16, 32, 64, 64)
    time_pooling: list[int] = (2, 2, 2, 2)
    band_pooling: list[int] = (2, 2, 4, 4)
    sequence_pooling: list[int] = (2, 2)
    lstm_hidden: int = 128
    lstm_layers: int = 1
    lstm_pooling: Literal["attention", "attentive_stats"] = "attention"
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "mean"
    conv_dropout: float = 0.05
    lstm_dropout: float = 0.1
    dropout: float = 0.2


class ParallelCNNAttentionLSTMForAudioClassification(ConvolutionalClassifier):
    """Parallel CNNs and an attentive LSTM: convolutional branches of several kernel sizes beside a bidirectional LSTM.

    After the notebook "parallel_cnn_attention_lstm" of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch:
    a CNN of 16, 32, 64 and 64 filters beside a bidirectional LSTM of 128 over a max-pooled spectrogram, whose outputs
    are averaged by attention; both are joined before the classifier. There is one CNN there, and it flattens a clip of
    3 s; ours are several, and pool real frames of any number.
    """

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
