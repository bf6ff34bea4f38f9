"""Loads weights that other projects publish for transferred networks: BYOL-S, CNN14, VGG16, VGGish.

The tables map the name of each published tensor to its name in our networks.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedConfig

from ..models.modeling_transfer import TransferClassifier
from ..utils.errors import UserError
from .files import first_line
from .published import PUBLISHED, require_published

logger = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
# {name of a published tensor: its name in our network, or None if our network does not have it}
Names = dict[str, str | None]


@dataclass(frozen=True)
class PublishedTensors:
    """The tensors of a published file.

    Args:
        names: {published name of a tensor: its name in our network}.
        wrapper: the key of the file's content that holds the tensors; None if there is no such key.
        convert: changes the published tensors for the configuration of our network.
    """

    names: Names
    wrapper: str | None = None
    convert: Callable[[Tensors, PreTrainedConfig], Tensors] | None = None


_LINEAR = ("weight", "bias")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _names(
    published_module: str, our_module: str | None, tensors: Sequence[str] = _LINEAR
) -> Names:
    """The name table of one published module, which has a weight and a bias by default."""
    if our_module is None:
        return {f"{published_module}.{tensor}": None for tensor in tensors}
    return {f"{published_module}.{tensor}": f"{our_module}.{tensor}" for tensor in tensors}


# Convolution and normalization of each block of BYOL-S.
_BYOLS_BLOCKS = (
    ("features.0", "features.1"),
    ("features.4", "features.5"),
    ("features.8", "features.9"),
)


def _byols() -> Names:
    """The name table of BYOL-S."""
    tensors: Names = {}
    for i, (conv, norm) in enumerate(_BYOLS_BLOCKS):
        tensors |= _names(conv, f"encoder.layers.{i}.conv", ["weight"])
        tensors |= _names(norm, f"encoder.layers.{i}.norm", _NORM)
        tensors[f"{conv}.bias"] = None  # part of the normalization in our network
    tensors |= _names("fc.0", "encoder.layers.3.linear")
    tensors |= _names("fc.3", "encoder.layers.4.linear")
    return tensors


def _convert_byols(tensors: Tensors, config: PreTrainedConfig) -> Tensors:
    """Transpose the kernels, and fold the biases of convolutions into the normalization."""
    tensors = dict(tensors)
    for conv, norm in _BYOLS_BLOCKS:
        tensors[f"{conv}.weight"] = tensors[f"{conv}.weight"].mT
        tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] - tensors[f"{conv}.bias"]
    return tensors


def _cnn14() -> Names:
    """The name table of CNN14."""
    tensors = _names("spectrogram_extractor.stft.conv_real", None, ["weight"])
    tensors |= _names("spectrogram_extractor.stft.conv_imag", None, ["weight"])
    tensors |= _names("logmel_extractor", None, ["melW"])
    tensors |= _names("bn0", "encoder.layers.0.bands_norm", _NORM)
    for block in range(6):
        for number in (1, 2):
            theirs = f"conv_block{block + 1}"
            ours = f"encoder.layers.{block}.convolutions.{number - 1}"
            tensors |= _names(f"{theirs}.conv{number}", f"{ours}.conv", ["weight"])
            tensors |= _names(f"{theirs}.bn{number}", f"{ours}.norm", _NORM)
    tensors |= _names("fc1", "encoder.layers.6.linear")
    tensors |= _names("fc_audioset", None)
    return tensors


def _vgg_stages(stages: Sequence[Sequence[int]]) -> Names:
    """The name table of the convolutions of each stage, given their published layer indices."""
    tensors: Names = {}
    for stage, layer_indices in enumerate(stages):
        for i, layer in enumerate(layer_indices):
            tensors |= _names(f"features.{layer}", f"encoder.layers.{stage}.convolutions.{i}")
    return tensors


def _vgg16() -> Names:
    """The name table of VGG16, without its dense layers for ImageNet."""
    tensors = _vgg_stages(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)))
    for layer in (0, 3, 6):
        tensors |= _names(f"classifier.{layer}", None)
    return tensors


def _convert_vgg16(tensors: Tensors, config: PreTrainedConfig) -> Tensors:
    """Adapt the first convolution to the number of input planes."""
    if config.deltas:
        return tensors  # the input has three planes, one for each color
    # The input is one plane, used as all three colors. A convolution is linear, so the kernels of
    # the colors can be added.
    first = "features.0.weight"
    return tensors | {first: tensors[first].sum(dim=1, keepdim=True)}


def _vggish() -> Names:
    """The name table of VGGish."""
    tensors = _vgg_stages(((0,), (3,), (6, 8), (11, 13)))
    for i, layer in enumerate((0, 2, 4)):
        tensors |= _names(f"embeddings.{layer}", f"encoder.layers.{4 + i}")
    return tensors


# {`model_type` of a network's configuration: the tensors of its published file}
TENSORS = {
    "ser_byols": PublishedTensors(_byols(), convert=_convert_byols),
    "ser_cnn14": PublishedTensors(_cnn14(), wrapper="model"),
    "ser_vgg16": PublishedTensors(_vgg16(), convert=_convert_vgg16),
    "ser_vggish": PublishedTensors(_vggish()),
}

# The checkpoint of CNN14 also holds numpy arrays. They are data, so it is safe to load them.
_RECONSTRUCT = np.array([0]).__reduce__()[0]
_ARRAYS = [
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),  # as numpy before version 2 wrote it
    (_RECONSTRUCT, "numpy._core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(word)) for word in ("bool", "int32", "int64", "uint32", "float32", "float64")},
]


@torch.no_grad()
def load_published(model: TransferClassifier, path: str | Path | None) -> None:
    """Copy the published weights at `path` into the encoder of `model`; the head does not change.

    Raises:
        UserError: if the file does not hold exactly the published tensors.
    """
    model_type = model.config.model_type
    published = TENSORS[model_type]
    path = require_published(model_type, path)
    tensors = _read(path, model_type)
    _require_published_names(tensors, path, model_type)
    for name in published.names:
        if not tensors[name].isfinite().all():
            raise UserError(f"model.checkpoint: {name} of {path} has values that are not finite")

    try:
        if published.convert is not None:
            tensors = published.convert(tensors, model.config)
        state = {ours: tensors[name] for name, ours in published.names.items() if ours}
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"model.checkpoint: {path}: {reason}; keep the published sizes in the model section"
        ) from None
    without_weights = [name for name in result.missing_keys if name.startswith("encoder.")]
    if without_weights or result.unexpected_keys:
        raise AssertionError(
            f"{type(model).__name__}: no weights for {without_weights}, "
            f"and no tensors called {result.unexpected_keys}"
        )
    source = PUBLISHED[model_type].source
    logger.info("encoder from %s: %d tensors of %s", path, len(published.names), source)


def _read(path: Path, model_type: str) -> Tensors:
    """Read the tensors of a published file, which `require_published` has accepted.

    Returns:
        {published name: tensor}.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"model.checkpoint: {path} is damaged or not a file of weights "
                f"({first_line(error)}); download {PUBLISHED[model_type].origin} again"
            ) from None
    with torch.serialization.safe_globals(_ARRAYS):
        content = torch.load(path, map_location="cpu", weights_only=True)
    wrapper = TENSORS[model_type].wrapper
    return content if wrapper is None else content[wrapper]


def _require_published_names(tensors: Tensors, path: Path, model_type: str) -> None:
    """Raise a `UserError` if a file has other tensors than the published ones."""
    published = PUBLISHED[model_type]
    names = TENSORS[model_type].names
    missing = [name for name in names if name not in tensors]
    extra = [name for name in tensors if name not in names]
    other_file = f"model.checkpoint: {path} is not {published.file} of {published.source}"
    if missing:
        raise UserError(f"{other_file}: {len(missing)} tensors are missing, the first {missing[0]}")
    if extra:
        raise UserError(
            f"{other_file}: {len(extra)} tensors are not expected, the first {extra[0]}"
        )
