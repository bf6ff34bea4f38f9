"""Configuration of the parallel CNN and transformer."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


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
