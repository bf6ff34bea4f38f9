"""Configuration of the 1-D CNN over the waveform."""

from typing import Literal

from .configuration_acoustic import WaveformConfig


class CNN1dConfig(WaveformConfig):
    """The waveform's rate (`WaveformConfig`), and:

    Args:
        normalization: ``"clip"`` brings each clip to unit root mean square, ``"none"`` leaves its level, an emotion
            cue, as it is.
        first_kernel, first_stride: samples of the first layer's filters, and from one of its frames to the next.
        channels, depths: filters of each block, and its convolutions; M5 has one each, M11 ``[1, 2, 2, 3, 2]`` for
            channels ``[64, 64, 128, 256, 512]``.
        kernel_size: of all layers but the first; odd.
        pool: factor by which each block pools time.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over time.
        conv_dropout, dropout: probability after each block (whole channels), and before the classifier.
    """

    model_type = "ser_cnn1d"

    normalization: Literal["clip", "none"] = "clip"
    first_kernel: int = 160
    first_stride: int = 8
    channels: list[int] = (128, 128, 256, 512)
    depths: list[int] = (1, 1, 1, 1)
    kernel_size: int = 3
    pool: int = 4
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "mean"
    conv_dropout: float = 0.05
    dropout: float = 0.2

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if not self.channels or len(self.channels) != len(self.depths):
            raise ValueError("channels and depths need one entry per block, the same number each")
        if min(*self.channels, *self.depths, self.first_kernel, self.first_stride, self.pool) < 1:
            raise ValueError("channels, depths, first_kernel, first_stride and pool are 1 or more")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is not odd: a window needs a frame in its middle")
