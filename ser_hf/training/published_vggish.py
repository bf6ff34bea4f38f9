"""The published file of VGGish as ported to PyTorch, and where its tensors go in our network.

Port and original alike give the first dense layer frames before bands before channels, and so does our network. The
file of principal components (``vggish_pca_params-970ea276.pth``) has no place in it.
"""

from ..models.modeling_transfer_audio import BANDS, DEPTHS, FRAMES, VGGishConfig
from .published import Published

# Place of each convolution among the layers of the published network, stage by stage, and of each dense layer.
_CONVOLUTIONS = ((0,), (3,), (6, 8), (11, 13))
_DENSE = (0, 2, 4)


def published(config: VGGishConfig) -> Published:
    """The file for a network of these widths."""
    tensors, inputs = {}, 1
    for stage, (width, depth) in enumerate(zip(config.channels, DEPTHS, strict=True)):
        for i, place in zip(range(depth), _CONVOLUTIONS[stage], strict=True):
            ours = f"encoder.layers.{stage}.convolutions.{i}"
            tensors[f"features.{place}.weight"] = ((width, inputs, 3, 3), f"{ours}.weight")
            tensors[f"features.{place}.bias"] = ((width,), f"{ours}.bias")
            inputs = width
    halvings = 2 ** len(DEPTHS)
    inputs *= (FRAMES // halvings) * (BANDS // halvings)
    widths = (config.hidden, config.hidden, config.embedding_size)
    for i, (place, width) in enumerate(zip(_DENSE, widths, strict=True)):
        ours = f"encoder.layers.{len(DEPTHS) + i}"
        tensors[f"embeddings.{place}.weight"] = ((width, inputs), f"{ours}.weight")
        tensors[f"embeddings.{place}.bias"] = ((width,), f"{ours}.bias")
        inputs = width
    return Published(
        file="vggish-10086976.pth",
        source="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        licence="Apache-2.0",
        tensors=tensors,
    )
