"""Configuration of the stacked CNN-LSTM."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


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
