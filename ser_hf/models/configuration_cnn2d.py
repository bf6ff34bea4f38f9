"""Configuration of the 2-D CNN."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class CNN2dConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each convolutional block.
        time_pooling, band_pooling: pooling factor of each block along frames and bands.
        kernel_size: of the convolutions; odd.
        pooling: ``"mean"``, ``"max"`` or ``"mean_max"`` (their sum).
        pooling_over: ``"frames_and_bands"``, as `AdaptiveAvgPool2d`, for which a pattern means the same in every band;
            ``"frames"`` keeps the bands that the blocks leave apart, as flattening does.
        hidden: size of the dense layer before the classifier.
        conv_dropout, dropout: probability after each block (whole channels), and around the dense layer.
    """

    model_type = "ser_cnn2d"

    channels: list[int] = (32, 64, 128, 128)
    time_pooling: list[int] = (2, 2, 2, 2)
    band_pooling: list[int] = (2, 2, 2, 2)
    kernel_size: int = 3
    pooling: Literal["mean", "max", "mean_max"] = "mean"
    pooling_over: Literal["frames_and_bands", "frames"] = "frames_and_bands"
    hidden: int = 64
    conv_dropout: float = 0.05
    dropout: float = 0.2
