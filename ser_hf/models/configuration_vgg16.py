"""Configuration of VGG16 on log-mel spectrograms."""

from typing import Literal

from .configuration_acoustic import AcousticConfig


class VGG16Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each of the five stages; those of the published weights by default.
        pooling: over time: how a clip's frames become one vector (`ser_hf.models.masked_layers.Pooling`).
        standardize: batch normalisation, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.

    The network learnt from pictures of three colours, less their mean in all of ImageNet and divided by their
    deviation (torchvision's transforms). `normalization` ``"corpus_level"`` does the same to spectrograms, by the
    training clips: what comes in has the scale that the weights know, zero is what stands beyond the edge, and
    loudness and spectral tilt remain. `deltas` 0 shows one plane in all three colours; 2 shows the features and their
    two derivatives, a colour each (Zhang et al. 2018, "Speech emotion recognition using deep convolutional neural
    network and discriminant temporal pyramid matching", IEEE Transactions on Multimedia 20).
    """

    model_type = "ser_vgg16"

    # Sharp and tall enough a picture for five halvings: four bands and 0.5 s remain.
    n_fft: int = 1024
    win_length: int = 1024
    n_mels: int = 128
    normalization: Literal["clip", "clip_bands", "corpus", "corpus_level", "fixed", "none"] = "corpus_level"
    deltas: Literal[0, 2] = 0
    channels: list[int] = (64, 128, 256, 512, 512)
    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention", "attentive_stats"] = "mean"
    standardize: bool = True
    dropout: float = 0.3
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.channels) != 5:
            raise ValueError(f"channels {self.channels}: expected five numbers, one for each stage")
        if (self.n_mfcc if self.features == "mfcc" else self.n_mels) < 32:
            raise ValueError("n_mels, or n_mfcc of features mfcc: expected 32 or more, which are halved five times")
