"""VGG16, pretrained on images: configuration and network."""

from typing import Literal

import torch
from torch import nn

from .configuration import AcousticConfig, Count, Counts, Fraction, Normalization, PoolingKindOrMeanMax
from .front_end import FrontEnd
from .layers import as_picture
from .modeling_transfer import PooledTransferClassifier, VGGStage

# Convolutions of each stage (configuration D of the paper).
DEPTHS = (2, 2, 3, 3, 3)


class VGG16Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each of the five stages; those of the published weights by default.
        pooling: over time, see `Pooling`.
        standardize: batch normalization, without weights, of the clip's vector before the classifier.
        dropout: probability before the classifier.
        head: ``"linear"``, or ``"svm"``, which scikit-learn fits.

    The published network takes images of three colors, standardized by ImageNet's mean and deviation (torchvision's
    transforms). `normalization` ``"corpus_level"`` does the same to spectrograms, by the training clips: inputs have
    the scale that the weights expect, zero is the padding beyond the edge, and loudness and spectral tilt remain.
    `deltas` 0 shows one plane in all three colors; 2 shows the features and their two derivatives, a color each
    (Zhang et al. 2018, "Speech emotion recognition using deep convolutional neural network and discriminant temporal
    pyramid matching", IEEE Transactions on Multimedia 20).
    """

    model_type = "ser_vgg16"

    # Large enough a picture for five halvings: four bands and 0.5 s remain.
    n_fft: Count = 1024
    win_length: Count = 1024
    n_mels: Count = 128
    normalization: Normalization = "corpus_level"
    deltas: Literal[0, 2] = 0
    channels: Counts = (64, 128, 256, 512, 512)
    pooling: PoolingKindOrMeanMax = "mean"
    standardize: bool = True
    dropout: Fraction = 0.3
    head: Literal["linear", "svm"] = "linear"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.channels) != 5:
            raise ValueError(f"channels {self.channels}: expected five numbers, one for each stage")
        if (self.n_mfcc if self.features == "mfcc" else self.n_mels) < 32:
            raise ValueError("n_mels, or n_mfcc of features mfcc: expected 32 or more, which are halved five times")


class VGG16Encoder(nn.Module):
    """The five stages, `layers`.

    A single plane stands for three equal ones: the kernels of the published first layer are then summed over its
    colors, which is exact. An output frame has `size` numbers: all channels of all remaining bands.
    """

    def __init__(self, planes: int, bands: int, channels: list[int]):
        super().__init__()
        self.planes = planes
        widths = [planes, *channels]
        self.layers = nn.ModuleList(VGGStage(widths[i], widths[i + 1], depth) for i, depth in enumerate(DEPTHS))
        self.size = channels[-1] * (bands // 2 ** len(DEPTHS))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, planes * bands), mask -> (batch, frames // 32, size), and the mask of those frames."""
        picture = as_picture(features, self.planes)
        for stage in self.layers:
            picture, mask = stage(picture, mask)
        return picture.transpose(1, 2).flatten(2), mask


class VGG16ForAudioClassification(PooledTransferClassifier):
    """VGG16 pretrained on images, on log-mel spectrograms: five stages, pooling over time, a classifier.

    Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556,
    configuration D, transferred from ImageNet: edges and textures of photographs become onsets and harmonics of
    spectrograms. Its three dense layers, which need images of one size and hold most of the weights, are left out.
    """

    config_class = VGG16Config
    classifier_gain = 0.3

    def __init__(self, config: VGG16Config):
        front_end = FrontEnd(config, min_frames=2 ** len(DEPTHS))
        super().__init__(config, front_end, VGG16Encoder(front_end.planes, front_end.bands, config.channels))
