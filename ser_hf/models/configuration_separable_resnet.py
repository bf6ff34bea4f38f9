"""Configuration of the separable residual network."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class SeparableResNetConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels, depths: width of each stage and its residual blocks; each stage halves frames and bands.
        expansion: hidden width of a block's pointwise layers, in multiples of its own.
        kernel_size: of the depthwise convolutions, along frames and bands.
        squeeze: hidden width of squeeze-and-excitation, as a share of the block's hidden width; 4 at least.
        embedding: size of a frame when its bands have been joined.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        drop_path: chance that a residual block is passed by, rising linearly from 0 to this in the last block.
        dropout: probability before the joined frames and before the classifier.
    """

    model_type = "ser_separable_resnet"

    # Corpora have few voices, so training makes up others.
    band_warp: float = 0.1
    time_stretch: float = 0.1

    channels: list[int] = (32, 64, 128)
    depths: list[int] = (1, 2, 2)
    expansion: int = 2
    kernel_size: int = 5
    squeeze: float = 0.25
    embedding: int = 192
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "attentive_stats"
    drop_path: float = 0.1
    dropout: float = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.channels) != len(self.depths):
            raise ValueError("channels and depths need one entry per stage")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is not odd: a window needs a frame in its middle")
        if not 0 < self.squeeze <= 1:
            raise ValueError(f"squeeze {self.squeeze}: expected a share, more than 0 and up to 1")
