"""The published file of VGG16 (torchvision's, trained on ImageNet), and where its tensors go in our network."""

from ..models.modeling_transfer_image import DEPTHS, VGG16Config
from .published import Published, Tensors

# Place of each convolution among the layers of the published network, stage by stage.
_CONVOLUTIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_COLOURS = 3
_FIRST = "features.0.weight"


def published(config: VGG16Config) -> Published:
    """The file for a network of these widths. Its dense layers tell the thousand classes of ImageNet apart, and are
    left behind."""
    tensors, inputs = {}, _COLOURS
    for stage, (width, depth) in enumerate(zip(config.channels, DEPTHS, strict=True)):
        for i, place in zip(range(depth), _CONVOLUTIONS[stage], strict=True):
            ours = f"encoder.layers.{stage}.convolutions.{i}"
            tensors[f"features.{place}.weight"] = ((width, inputs, 3, 3), f"{ours}.weight")
            tensors[f"features.{place}.bias"] = ((width,), f"{ours}.bias")
            inputs = width
    sizes = (inputs * 7 * 7, 4096, 4096, 1000)
    for i, place in enumerate((0, 3, 6)):
        tensors[f"classifier.{place}.weight"] = ((sizes[i + 1], sizes[i]), None)
        tensors[f"classifier.{place}.bias"] = ((sizes[i + 1],), None)
    return Published(
        file="vgg16-397923af.pth",
        source="https://download.pytorch.org/models/vgg16-397923af.pth (torchvision, VGG16_Weights.IMAGENET1K_V1)",
        licence="BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
        tensors=tensors,
        convert=_convert,
    )


def _convert(tensors: Tensors, config: VGG16Config) -> Tensors:
    if config.deltas:
        return tensors  # three planes, one for each colour
    # One plane in all three colours: a convolution is linear, so that its kernels add up.
    return tensors | {_FIRST: tensors[_FIRST].sum(dim=1, keepdim=True)}
