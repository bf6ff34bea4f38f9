"""Configuration of the CRNN."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class CRNNConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each convolutional block.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        lstm_hidden, lstm_layers: size per direction, and depth.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        conv_dropout, dropout: probability after each block (whole channels), and around the LSTM and classifier.
    """

    model_type = "ser_crnn"

    channels: list[int] = (32, 64, 128, 128)
    time_pooling: list[int] = (2, 2, 2, 1)
    band_pooling: list[int] = (2, 2, 2, 2)
    lstm_hidden: int = 96
    lstm_layers: int = 1
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "attention"
    conv_dropout: float = 0.05
    dropout: float = 0.3
