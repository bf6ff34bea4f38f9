"""Configuration of the parallel CNN and LSTM with attention."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


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
