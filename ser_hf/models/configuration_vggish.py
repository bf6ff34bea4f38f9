"""Configuration of VGGish."""

from typing import Literal

from .configuration_acoustic import WaveformConfig


class VGGishConfig(WaveformConfig):
    """What the network hears is part of it (`ser_hf.models.vggish_front_end`): 16 kHz, examples of 96 frames and 64
    mel bands.

    Args:
        example_hop: frames of 10 ms from one example to the next: 96, as published, leaves no overlap. What is left
            after the last whole example, up to `example_hop` frames, is not heard.
        channels: filters of each of the four stages; those of the published weights by default, as are
        hidden: units of the two dense layers, and
        embedding_size: of the third, an example's embedding.
        activation: what is done to embeddings: ``"relu"`` as in the PyTorch port, or ``"none"`` as in later versions
            of the original, which leave a non-linearity to those who build upon them.
        pooling: how a clip's examples become one vector (`ser_hf.models.masked_layers.Pooling`).
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_vggish"

    example_hop: int = 96
    channels: list[int] = (64, 128, 256, 512)
    hidden: int = 4096
    embedding_size: int = 128
    activation: Literal["relu", "none"] = "relu"
    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"] = "mean"
    standardize: bool = True
    dropout: float = 0.2
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sampling_rate != 16000:
            raise ValueError(f"sampling_rate {self.sampling_rate}: vggish hears 16000 Hz; set audio.sampling_rate")
        if len(self.channels) != 4:
            raise ValueError(f"channels {self.channels}: expected four numbers, one for each stage")
