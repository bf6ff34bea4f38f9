"""Configuration of the 1-D CNN over frame descriptors."""

from typing import Literal

from .configuration_acoustic import FrameConfig
from .descriptors import DESCRIPTORS
from .frame_statistics import STATISTICS


class CNN1dDescriptorsConfig(FrameConfig):
    """The front end's settings (`FrameConfig`), and:

    Args:
        features: descriptors, see `descriptors.FrameDescriptors`.
        window: of the spectral descriptors.
        normalization: descriptors differ in unit, so that each is standardised by itself: by the training clips'
            statistics, or by the clip's own.
        descriptors: which of `descriptors.DESCRIPTORS`.
        roll_off: share of a frame's magnitude below the spectral roll-off.
        pitch_min, pitch_max: Hz between which the pitch is sought; a frame (`n_fft`) must hold two periods of the
            lowest.
        aggregate: convolve over the clip's one vector of `statistics` of each descriptor, in place of its frames.
        statistics: out of ``mean``, ``std``, ``min``, ``max``, ``skewness``, ``kurtosis``.
        channels: filters of each convolutional block.
        pooling_factors: pooling factor of each block.
        kernel_size: of the convolutions; odd.
        pooling: ``"mean"``, ``"max"``, ``"mean_std"``, ``"attention"`` or ``"attentive_stats"`` over what the last
            block returns.
        hidden: size of the dense layer before the classifier.
        conv_dropout, dropout: probability after each block (whole channels), and around the dense layer.
    """

    model_type = "ser_cnn1d_descriptors"

    features: Literal["descriptors"] = "descriptors"
    window: Literal["hann"] = "hann"
    n_fft: int = 1024
    win_length: int = 1024
    normalization: Literal["corpus", "clip_bands"] = "corpus"
    time_masks: int = 0
    band_masks: int = 0
    descriptors: list[str] = DESCRIPTORS
    roll_off: float = 0.85
    pitch_min: float = 60.0
    pitch_max: float = 500.0
    aggregate: bool = False
    statistics: list[str] = ("mean", "std", "min", "max")
    channels: list[int] = (64, 128, 128)
    pooling_factors: list[int] = (2, 2, 2)
    kernel_size: int = 5
    pooling: Literal["mean", "max", "mean_std", "attention", "attentive_stats"] = "mean_std"
    hidden: int = 64
    conv_dropout: float = 0.05
    dropout: float = 0.2

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for key, known in (("descriptors", DESCRIPTORS), ("statistics", STATISTICS)):
            names = getattr(self, key)
            if not names or len(set(names)) < len(names) or not set(names) <= set(known):
                raise ValueError(f"{key} {names}: choose from {', '.join(known)}, each once at most")
        if len(self.channels) != len(self.pooling_factors):
            raise ValueError("channels and pooling_factors need one entry per block")
        if self.aggregate and self.normalization == "clip_bands":
            raise ValueError("normalization clip_bands makes all clips' statistics alike; aggregate needs corpus")
