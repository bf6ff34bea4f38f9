"""Configuration of CNN14."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class CNN14Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), here those of the published network at 16 kHz, and:

    Args:
        channels: filters of each block of two convolutions; all blocks but the last halve frames and bands.
        embedding: size of the layer after pooling.
        block_dropout: probability after each block.
        dropout: probability before that layer and after it.
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.
    """

    model_type = "ser_cnn14"

    n_fft: int = 512
    win_length: int = 512
    hop_length: int = 160
    center: bool = True
    edges: Literal["zeros", "reflect"] = "reflect"
    n_mels: int = 64
    f_min: float = 50.0
    f_max: float | None = 8000.0
    compression: Literal["log", "db", "pcen"] = "db"
    top_db: float | None = None
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "none"
    time_masks: int = 0
    band_masks: int = 0

    channels: list[int] = (64, 128, 256, 512, 1024, 2048)
    embedding: int = 2048
    block_dropout: float = 0.2
    dropout: float = 0.5
    standardize: bool = True
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.n_mels < 2 ** (len(self.channels) - 1):
            raise ValueError(f"channels {self.channels}: each block but the last halves the {self.n_mels} bands")
