"""The published file of BYOL-S (Elbanna et al. 2022, arXiv:2206.12038), and where its tensors go in our network.

Its convolutions see pictures of bands x frames, ours of frames x bands: the kernels are turned. They have biases,
which the batch normalisation after them takes out again: ours have none, and the bias goes into the running mean.
"""

from ..models.modeling_transfer_audio import BYOLSConfig
from .published import Published, Tensors, batch_norm

# Convolution and normalisation of each block, by their places among the layers of the published network.
_BLOCKS = (("features.0", "features.1"), ("features.4", "features.5"), ("features.8", "features.9"))
# The two linear layers, and the layers of our encoder that they are.
_LINEAR = {"fc.0": "encoder.layers.3.linear", "fc.3": "encoder.layers.4.linear"}


def published(config: BYOLSConfig) -> Published:
    """The file for a network of these widths."""
    tensors, inputs, channels = {}, 1, config.channels
    for i, (conv, norm) in enumerate(_BLOCKS):
        tensors[f"{conv}.weight"] = ((channels, inputs, 3, 3), f"encoder.layers.{i}.conv.weight")
        tensors[f"{conv}.bias"] = ((channels,), None)
        tensors |= batch_norm(norm, f"encoder.layers.{i}.norm", channels)
        inputs = channels
    inputs = channels * (config.n_mels // 8)
    for name, ours in _LINEAR.items():
        tensors[f"{name}.weight"] = ((config.embedding, inputs), f"{ours}.weight")
        tensors[f"{name}.bias"] = ((config.embedding,), f"{ours}.bias")
        inputs = config.embedding
    return Published(
        file="default512_BYOLAs64x96.pth",
        source="https://github.com/Neclow/serab",
        licence="MIT",
        tensors=tensors,
        convert=_convert,
    )


def _convert(tensors: Tensors, config: BYOLSConfig) -> Tensors:
    tensors = dict(tensors)
    for conv, norm in _BLOCKS:
        tensors[f"{conv}.weight"] = tensors[f"{conv}.weight"].transpose(2, 3)
        tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] - tensors[f"{conv}.bias"]
    return tensors
