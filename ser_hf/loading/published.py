"""Loads weights that other projects publish for transferred networks: BYOL-S, CNN14, VGG16, VGGish.

The tables map the name of each published tensor to its name in our networks.
"""

import hashlib
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

logger = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
# {name of a published tensor: its name in our network, or None if our network does not have it}
Names = dict[str, str | None]


@dataclass(frozen=True)
class Published:
    """A published weight file. It is a pickle, which is opened only if its SHA-256 sum is right.

    Args:
        tensors: {published name of a tensor: its name in our network}.
        wrapper: the key of the file's content that holds the tensors; None if there is no such key.
        convert: changes the published tensors for the configuration of our network.
    """

    file: str
    sha256: str
    source: str
    licence: str
    tensors: Names
    wrapper: str | None = None
    convert: Callable[[Tensors, PreTrainedConfig], Tensors] | None = None

    @property
    def origin(self) -> str:
        """The file with its source and license, for messages."""
        return f"{self.file} from {self.source} (license: {self.licence})"


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


# {`model_type` of a network's configuration: its published file}
PUBLISHED = {
    "ser_byols": Published(
        file="default512_BYOLAs64x96.pth",
        sha256="449f5d0dc6b6fa8433d5e43769097520d3bc0fdae88977a7ac29e2e72ca51b52",
        source="https://github.com/Neclow/serab",
        licence="MIT",
        tensors=_byols(),
        convert=_convert_byols,
    ),
    "ser_cnn14": Published(
        file="Cnn14_16k_mAP=0.438.pth",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        source="https://zenodo.org/records/3987831",
        licence="CC-BY-4.0",
        tensors=_cnn14(),
        wrapper="model",
    ),
    "ser_vgg16": Published(
        file="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        source=(
            "https://download.pytorch.org/models/vgg16-397923af.pth "
            "(torchvision, VGG16_Weights.IMAGENET1K_V1)"
        ),
        licence="BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
        tensors=_vgg16(),
        convert=_convert_vgg16,
    ),
    "ser_vggish": Published(
        file="vggish-10086976.pth",
        sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        source="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        licence="Apache-2.0",
        tensors=_vggish(),
    ),
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


def published_file(config: PreTrainedConfig, path: str | Path | None) -> Path:
    """The path of a transferred network's published weights, which must exist.

    Raises:
        UserError: naming the source of the file, if `path` is None or not a file.
    """
    published = PUBLISHED[config.model_type]
    if path is None:
        raise UserError(
            f"model.checkpoint: missing; give the path of {published.origin}, "
            "or set model.random_init to true"
        )
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.checkpoint: no such file: {path}; download {published.origin}")
    return path


@torch.no_grad()
def load_published(model: TransferClassifier, path: str | Path | None) -> None:
    """Copy the published weights at `path` into the encoder of `model`; the head does not change.

    Raises:
        UserError: if the file does not hold exactly the published tensors.
    """
    published = PUBLISHED[model.config.model_type]
    path = published_file(model.config, path)
    tensors = _read(path, published)
    _require_published_names(tensors, path, published)
    for name in published.tensors:
        if not tensors[name].isfinite().all():
            raise UserError(f"model.checkpoint: {name} of {path} has values that are not finite")

    try:
        if published.convert is not None:
            tensors = published.convert(tensors, model.config)
        state = {ours: tensors[name] for name, ours in published.tensors.items() if ours}
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
    logger.info("encoder from %s: %d tensors of %s", path, len(published.tensors), published.source)


def _read(path: Path, published: Published) -> Tensors:
    """Read the tensors of a published file: {published name: tensor}."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"model.checkpoint: {path} is damaged or not a file of weights ({first_line(error)}); "
            f"download {published.origin} again"
        ) from None
    if sha256 != published.sha256:
        raise UserError(
            f"model.checkpoint: {path}: a pickle, which may run code, and not {published.file} "
            f"byte for byte; download {published.origin}, or save its tensors as safetensors"
        )
    with torch.serialization.safe_globals(_ARRAYS):
        content = torch.load(path, map_location="cpu", weights_only=True)
    return content if published.wrapper is None else content[published.wrapper]


def _require_published_names(tensors: Tensors, path: Path, published: Published) -> None:
    """Raise a `UserError` if a file has other tensors than the published ones."""
    missing = [name for name in published.tensors if name not in tensors]
    extra = [name for name in tensors if name not in published.tensors]
    other_file = f"model.checkpoint: {path} is not {published.file} of {published.source}"
    if missing:
        raise UserError(f"{other_file}: {len(missing)} tensors are missing, the first {missing[0]}")
    if extra:
        raise UserError(
            f"{other_file}: {len(extra)} tensors are not expected, the first {extra[0]}"
        )
