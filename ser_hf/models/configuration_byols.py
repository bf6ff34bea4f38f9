"""Configuration of BYOL-S."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class BYOLSConfig(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those that the published weights learnt with, and:

    Args:
        channels: filters of each of the three convolutional blocks.
        embedding: size of a frame of 80 ms, and of a clip.
        pooling: ``"mean_max"``, sum of mean and maximum over time, as published, or another of `Pooling`.
        frame_dropout: probability between the two linear layers of the encoder.
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_byols"

    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: int = 64
    f_min: float = 60.0
    f_max: float | None = 7800.0
    floor: float = 2.0**-23
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "corpus_level"
    time_masks: int = 0
    band_masks: int = 0

    channels: int = 64
    embedding: int = 512
    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"] = "mean_max"
    frame_dropout: float = 0.3
    standardize: bool = True
    dropout: float = 0.0
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 8:
            raise ValueError(f"n_mels {self.n_mels}: three blocks halve the bands, which takes 8 or more")
