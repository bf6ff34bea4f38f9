"""Configuration of the CNN-LSTM."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


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
