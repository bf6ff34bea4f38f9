"""Parallel networks: convolutional branches beside a transformer or an LSTM."""

import math
from typing import Annotated, Literal

import torch
from torch import nn

from .configuration import (
    ConvolutionConfig,
    Count,
    Counts,
    Fraction,
    Layers,
    PoolingKind,
)
from .front_end import FrontEnd
from .layers import BiLSTM, ConvolutionStack2d, Pooling, as_frames, as_picture, pooled_mask
from .modeling_base import AcousticClassifier
from .options import Items, OddNumber, WholeNumber


class ParallelConfig(ConvolutionConfig):
    """Options of networks with parallel branches: convolutions, and one for the frame sequence.

    The convolutional branches differ only in the sizes of their kernels.
    """

    kernel_sizes: Annotated[
        list[int],
        Items(OddNumber(255), most=16),
        "size of the convolutions of each branch, along frames and bands",
    ] = (3, 5)
    channels: Counts = (16, 32, 64)
    time_pooling: Counts = (2, 2, 4)
    band_pooling: Counts = (2, 4, 4)
    sequence_pooling: Annotated[
        list[int],
        Items(WholeNumber(1, 65_536), fewest=2, most=2),
        "factors along frames and bands by which the frames of the sequence branch are max-pooled",
    ] = (2, 2)
    pooling: Annotated[
        PoolingKind, "how the frames of a convolutional branch become one vector"
    ] = "mean"
    dropout: Annotated[Fraction, "probability of dropout before the classifier"] = 0.2

    @property
    def min_frames(self) -> int:
        return max(super().min_frames, self.sequence_pooling[0])

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sequence_pooling[1] > self.bands:
            raise ValueError(
                f"sequence_pooling: {self.sequence_pooling}, the second factor is more than the "
                f"{self.bands} bands"
            )


class ParallelClassifier(AcousticClassifier):
    """Convolutional branches beside a branch for the sequence of max-pooled frames.

    A network makes the layers of the sequence branch in `_sequence_branch`, and calls them in
    `_sequence`.
    """

    config_class = ParallelConfig
    classifier_gain = 0.3

    def __init__(self, config: ParallelConfig):
        super().__init__(config)
        self.front_end = FrontEnd(config)
        planes = self.front_end.planes
        bands = self.front_end.bands
        self.branches = nn.ModuleList(
            ConvolutionStack2d(planes, bands, config, size) for size in config.kernel_sizes
        )
        self.frame_pool = nn.MaxPool2d(tuple(config.sequence_pooling))
        pooled_bands = bands // config.sequence_pooling[1]
        sequence_pooling = self._sequence_branch(config, planes * pooled_bands)
        self.poolings = nn.ModuleList(
            Pooling(config.pooling, branch.size) for branch in self.branches
        )
        self.poolings.append(sequence_pooling)
        self.dropout = nn.Dropout(config.dropout)
        embedding = sum(pooling.output_size for pooling in self.poolings)
        self.classifier = nn.Linear(embedding, config.num_labels)
        self.post_init()

    def _sequence_branch(self, config: ParallelConfig, size: int) -> Pooling:
        """Make the layers of the sequence branch, for frames of `size` numbers.

        Returns:
            The pooling of the frames that `_sequence` returns.
        """
        raise NotImplementedError

    def _sequence(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size of the branch)."""
        raise NotImplementedError

    def embed(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, sum of the pooled sizes)."""
        outputs = [branch(features, mask) for branch in self.branches]
        frames, frame_mask = self._pooled_frames(features, mask)
        outputs.append((self._sequence(frames, frame_mask), frame_mask))

        vectors = []
        for pooling, (sequence, sequence_mask) in zip(self.poolings, outputs, strict=True):
            vectors.append(pooling(sequence, sequence_mask))
        return self.dropout(torch.cat(vectors, dim=1))

    def _pooled_frames(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the frames of the sequence branch, and their mask (batch, fewer frames)."""
        frame_mask = pooled_mask(mask, self.frame_pool.kernel_size[0])
        picture = self.frame_pool(as_picture(features, self.front_end.planes))
        frames = as_frames(picture)
        return frames * frame_mask[:, :, None], frame_mask


class ParallelCNNTransformerConfig(ParallelConfig):
    """The options of parallel CNNs and a transformer."""

    model_type = "ser_parallel_cnn_transformer"

    transformer_size: Annotated[Count, "size of a frame in the transformer"] = 64
    transformer_layers: Annotated[int, WholeNumber(0, 100), "blocks of the transformer"] = 4
    transformer_heads: Annotated[Count, "attention heads of each block"] = 4
    transformer_hidden: Annotated[Count, "units of each block's feed-forward layer"] = 256
    transformer_dropout: Annotated[Fraction, "probability of dropout in the transformer"] = 0.1

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.transformer_size % self.transformer_heads:
            raise ValueError(
                f"transformer_size: {self.transformer_size} is not a multiple of transformer_heads "
                f"{self.transformer_heads}"
            )


class SelfAttention(nn.Module):
    """Scaled dot-product attention with several heads, among the real frames.

    Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.project = nn.Linear(size, 3 * size)  # queries, keys and values
        self.join = nn.Linear(size, size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        # Each of them has the shape (batch, heads, frames, size / heads).
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.project(sequence).chunk(3, dim=2)
        )
        attended = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.join(attended.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """A block equal to `nn.TransformerEncoderLayer` with ``norm_first``."""

    def __init__(self, size: int, heads: int, feed_forward: int, dropout: float):
        super().__init__()
        self.attention = SelfAttention(size, heads, dropout)
        self.widen = nn.Linear(size, feed_forward)
        self.narrow = nn.Linear(feed_forward, size)
        self.attention_norm = nn.LayerNorm(size)
        self.feed_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size), mask (batch, frames) -> (batch, frames, size)."""
        sequence = sequence + self.dropout(self.attention(self.attention_norm(sequence), mask))
        hidden = self.dropout(torch.relu(self.widen(self.feed_norm(sequence))))
        return sequence + self.dropout(self.narrow(hidden))


class Transformer(nn.Module):
    """Projects frames to the transformer's size, adds positions, and applies pre-norm blocks."""

    def __init__(self, inputs: int, config: ParallelCNNTransformerConfig):
        super().__init__()
        size = config.transformer_size
        rate = config.transformer_dropout
        self.enter = nn.Linear(inputs, size)
        self.dropout = nn.Dropout(rate)
        self.blocks = nn.ModuleList(
            TransformerBlock(size, config.transformer_heads, config.transformer_hidden, rate)
            for _ in range(config.transformer_layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs), mask (batch, frames) -> (batch, frames, size)."""
        sequence = self.enter(sequence)
        sequence = self.dropout(sequence + positions(sequence))
        for block in self.blocks:
            sequence = block(sequence, mask)
        return self.norm(sequence)


def positions(sequence: torch.Tensor) -> torch.Tensor:
    """Encode the number of each frame by sinusoids (Vaswani et al. 2017, section 3.5).

    (batch, frames, size) -> (frames, size).
    """
    size = sequence.shape[2]
    frame = torch.arange(sequence.shape[1], device=sequence.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, size, 2, device=sequence.device, dtype=torch.float32)
    angle = frame * torch.exp(even * (-math.log(10000.0) / size))
    pairs = torch.stack([angle.sin(), angle.cos()], dim=2)
    return pairs.flatten(1)[:, :size].to(sequence.dtype)


class ParallelCNNTransformerForAudioClassification(ParallelClassifier):
    """Parallel CNNs and a transformer over frames.

    After IliaZenkov/transformer-cnn-emotion-recognition and the notebook "parallel_cnn_transformer"
    of Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch, for clips of any length and
    with positions.
    """

    config_class = ParallelCNNTransformerConfig

    def _sequence_branch(self, config: ParallelCNNTransformerConfig, size: int) -> Pooling:
        self.transformer = Transformer(size, config)
        return Pooling(config.pooling, config.transformer_size)

    def _sequence(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.transformer(frames, mask)


class ParallelCNNAttentionLSTMConfig(ParallelConfig):
    """The options of parallel CNNs and an LSTM with attention."""

    model_type = "ser_parallel_cnn_attention_lstm"

    channels: Counts = (16, 32, 64, 64)
    time_pooling: Counts = (2, 2, 2, 2)
    band_pooling: Counts = (2, 2, 4, 4)
    lstm_hidden: Annotated[Count, "units of the LSTM in each direction"] = 128
    lstm_layers: Annotated[Layers, "layers of the LSTM"] = 1
    lstm_pooling: Annotated[
        Literal["attention", "attentive_stats"], "how the LSTM's frames become one vector"
    ] = "attention"
    lstm_dropout: Annotated[
        Fraction, "probability of dropout between the LSTM's layers and after it"
    ] = 0.1


class ParallelCNNAttentionLSTMForAudioClassification(ParallelClassifier):
    """Parallel CNNs and a bidirectional LSTM whose frames are pooled by attention.

    After the notebook "parallel_cnn_attention_lstm" of
    Data-Science-kosta/Speech-Emotion-Classification-with-PyTorch.
    """

    config_class = ParallelCNNAttentionLSTMConfig

    def _sequence_branch(self, config: ParallelCNNAttentionLSTMConfig, size: int) -> Pooling:
        self.lstm = BiLSTM(size, config.lstm_hidden, config.lstm_layers, config.lstm_dropout)
        self.lstm_dropout = nn.Dropout(config.lstm_dropout)
        return Pooling(config.lstm_pooling, 2 * config.lstm_hidden)

    def _sequence(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.lstm_dropout(self.lstm(frames, mask))
