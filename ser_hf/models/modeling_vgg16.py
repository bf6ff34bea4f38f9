"""VGG16 that learnt to tell pictures, on log-mel spectrograms: five stages, pooling over time, a classifier.

Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556,
configuration D, transferred from ImageNet: edges and textures of photographs are onsets and harmonics of spectrograms.
Its three dense layers, which take pictures of one size and make up most of it, stay behind.
"""

import torch
from torch import nn

from .configuration_vgg16 import VGG16Config
from .front_end import FrontEnd
from .masked_layers import as_picture
from .modeling_vgg import VGGClassifier
from .vgg_stage import VGGStage

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
    config_class = VGG16Config

    def __init__(self, config: VGG16Config):
        front_end = FrontEnd(config, min_frames=2 ** len(DEPTHS))
        super().__init__(config, front_end, VGG16Encoder(front_end.planes, front_end.bands, config.channels))
