"""Networks pretrained on images: VGG16."""

from typing import Literal

import torch
from torch import nn

from .configuration import AcousticConfig
from .front_end import FrontEnd
from .layers import as_picture
from .modeling_transfer import VGGClassifier, VGGStage


class VGG16Config(AcousticConfig):
    """The front end's settings (`AcousticConfig`), and:

    Args:
        channels: filters of each of the five stages; those of the published weights by default.
        pooling: over time: how a clip's frames become one vector (`ser_hf.models.layers.Pooling`).
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


# Convolutions of each stage (configuration D of the paper).
DEPTHS = (2, 2, 3, 3, 3)


class VGG16Encoder(nn.Module):
    """The five stages, `layers`.

    A single plane stands for three equal ones: the kernels of the published first layer are then to be added up over
    its colours, which is exact. A frame that comes out is `size` numbers: all channels of all bands that are left,
    since where in frequency something is heard tells emotions apart (pitch, tilt) as much as what it looks like.
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


class VGG16ForAudioClassification(VGGClassifier):
    """VGG16 that learnt to tell pictures, on log-mel spectrograms: five stages, pooling over time, a classifier.

    Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556,
    configuration D, transferred from ImageNet: edges and textures of photographs are onsets and harmonics of
    spectrograms. Its three dense layers, which take pictures of one size and make up most of it, stay behind.
    """

    config_class = VGG16Config

    def __init__(self, config: VGG16Config):
        front_end = FrontEnd(config, min_frames=2 ** len(DEPTHS))
        super().__init__(config, front_end, VGG16Encoder(front_end.planes, front_end.bands, config.channels))
