"""Configuration of the residual network with squeeze-and-excitation."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class SEResNetConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: width of each stage of one residual block. The stem and each stage after the first halve frames and
            bands.
        squeeze: hidden width of squeeze-and-excitation, as a share of the block's width; 4 at least.
        embedding: size of a frame when its bands have been joined.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        drop_path: chance that a residual block is passed by, rising linearly from 0 to this in the last block.
        dropout: probability before the joined frames and before the classifier.
    """

    model_type = "ser_se_resnet"

    # Windows of 50 ms tell a voice's harmonics apart, and so its melody.
    n_fft: int = 1024
    win_length: int = 800
    n_mels: int = 80
    # Corpora have few voices, so training makes up others.
    band_warp: float = 0.1
    mix_style: float = 0.3

    channels: list[int] = (24, 48, 96, 160)
    squeeze: float = 0.25
    embedding: int = 192
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "attentive_stats"
    drop_path: float = 0.15
    dropout: float = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if not 0 < self.squeeze <= 1:
            raise ValueError(f"squeeze {self.squeeze}: expected a share, more than 0 and up to 1")
