"""Published weights of transferred networks (BYOL-S, CNN14, VGG16, VGGish): tables of tensor names."""

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
Names = dict[str, str | None]


@dataclass(frozen=True)
class Published:
    """A file of weights, a pickle, which is opened only if it has the SHA-256 sum.

    `tensors` maps its names to ours, `wrapper` is their key, `convert` changes them.
    """

    file: str
    sha256: str
    source: str
    licence: str
    tensors: Names
    wrapper: str | None = None
    convert: Callable[[Tensors, PreTrainedConfig], Tensors] | None = None


def _names(name: str, ours: str | None, *parts: str) -> Names:
    return {f"{name}.{part}": ours and f"{ours}.{part}" for part in parts or ("weight", "bias")}


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# Convolution and normalization of each block of BYOL-S.
_BYOLS_BLOCKS = (
    ("features.0", "features.1"),
    ("features.4", "features.5"),
    ("features.8", "features.9"),
)


def _byols() -> Names:
    tensors = _names("fc.0", "encoder.layers.3.linear") | _names("fc.3", "encoder.layers.4.linear")
    for i, (conv, norm) in enumerate(_BYOLS_BLOCKS):
        tensors |= _names(conv, f"encoder.layers.{i}.conv", "weight")
        tensors |= _names(norm, f"encoder.layers.{i}.norm", *_NORM)
        tensors[f"{conv}.bias"] = None  # part of the normalization in our network
    return tensors


def _convert_byols(tensors: Tensors, config: PreTrainedConfig) -> Tensors:
    tensors = dict(tensors)
    for conv, norm in _BYOLS_BLOCKS:
        tensors[f"{conv}.weight"] = tensors[f"{conv}.weight"].transpose(2, 3)
        tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] - tensors[f"{conv}.bias"]
    return tensors


def _cnn14() -> Names:
    front_end = ("stft.conv_real.weight", "stft.conv_imag.weight")
    tensors = _names("spectrogram_extractor", None, *front_end) | _names(
        "logmel_extractor", None, "melW"
    )
    tensors |= _names("bn0", "encoder.layers.0.bands_norm", *_NORM)
    for i in range(6):
        for j in (1, 2):
            theirs = f"conv_block{i + 1}"
            ours = f"encoder.layers.{i}.convolutions.{j - 1}"
            tensors |= _names(f"{theirs}.conv{j}", f"{ours}.conv", "weight")
            tensors |= _names(f"{theirs}.bn{j}", f"{ours}.norm", *_NORM)
    return tensors | _names("fc1", "encoder.layers.6.linear") | _names("fc_audioset", None)


def _vgg_stages(places: Sequence[Sequence[int]]) -> Names:
    """Convolutions of each stage, by their places among the layers of the published network."""
    tensors: Names = {}
    for stage, own in enumerate(places):
        for i, place in enumerate(own):
            tensors |= _names(f"features.{place}", f"encoder.layers.{stage}.convolutions.{i}")
    return tensors


def _vgg16() -> Names:
    """Without the dense layers for ImageNet."""
    tensors = _vgg_stages(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)))
    return (
        tensors
        | _names("classifier.0", None)
        | _names("classifier.3", None)
        | _names("classifier.6", None)
    )


def _convert_vgg16(tensors: Tensors, config: PreTrainedConfig) -> Tensors:
    if config.deltas:
        return tensors  # three planes, one for each color
    # One plane in all three colors: a convolution is linear, so that its kernels add up.
    first = "features.0.weight"
    return tensors | {first: tensors[first].sum(dim=1, keepdim=True)}


def _vggish() -> Names:
    tensors = _vgg_stages(((0,), (3,), (6, 8), (11, 13)))
    for i, place in enumerate((0, 2, 4)):
        tensors |= _names(f"embeddings.{place}", f"encoder.layers.{4 + i}")
    return tensors


# `model_type` of a network's configuration -> its published file.
PUBLISHED = {
    "ser_byols": Published(
        "default512_BYOLAs64x96.pth",
        "449f5d0dc6b6fa8433d5e43769097520d3bc0fdae88977a7ac29e2e72ca51b52",
        "https://github.com/Neclow/serab",
        "MIT",
        _byols(),
        convert=_convert_byols,
    ),
    "ser_cnn14": Published(
        "Cnn14_16k_mAP=0.438.pth",
        "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        "https://zenodo.org/records/3987831",
        "CC-BY-4.0",
        _cnn14(),
        wrapper="model",
    ),
    "ser_vgg16": Published(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "https://download.pytorch.org/models/vgg16-397923af.pth (torchvision, VGG16_Weights.IMAGENET1K_V1)",
        "BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
        _vgg16(),
        convert=_convert_vgg16,
    ),
    "ser_vggish": Published(
        "vggish-10086976.pth",
        "10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        "https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        "Apache-2.0",
        _vggish(),
    ),
}

# The checkpoint of CNN14 also holds arrays: data, not code.
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
    """Copy the published weights at `path` into the encoder of `model`; its head stays as it is."""
    known = PUBLISHED[model.config.model_type]
    origin = f"{known.file} from {known.source} (license: {known.licence})"
    if path is None:
        raise UserError(
            f"model.checkpoint: missing; give the path of {origin}, or set model.random_init to true"
        )
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.checkpoint: no such file: {path}; download {origin}")
    tensors = _read(path, known, origin)
    missing = [name for name in known.tensors if name not in tensors]
    extra = [name for name in tensors if name not in known.tensors]
    for names, what in ((missing, "are missing"), (extra, "are not expected")):
        if names:
            raise UserError(
                f"model.checkpoint: {path} is not {known.file} of {known.source}: {len(names)} tensors {what}, the "
                f"first {names[0]}"
            )
    for name in known.tensors:
        if not tensors[name].isfinite().all():
            raise UserError(f"model.checkpoint: {name} of {path} has values that are not finite")
    if known.convert is not None:
        tensors = known.convert(tensors, model.config)
    try:
        found = model.load_state_dict(
            {own: tensors[name] for name, own in known.tensors.items() if own}, strict=False
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"model.checkpoint: {path}: {reason}; keep the published sizes in the model section"
        ) from None
    without = [name for name in found.missing_keys if name.startswith("encoder.")]
    if without or found.unexpected_keys:
        raise AssertionError(
            f"{type(model).__name__}: no weights for {without}, no place for {found.unexpected_keys}"
        )
    logger.info("encoder from %s: %d tensors of %s", path, len(known.tensors), known.source)


def _read(path: Path, known: Published, origin: str) -> Tensors:
    """The tensors of a file by name."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            published = hashlib.file_digest(file, "sha256").hexdigest() == known.sha256
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"model.checkpoint: {path} is damaged or not a file of weights ({first_line(error)}); download {origin} "
            "again"
        ) from None
    if not published:
        raise UserError(
            f"model.checkpoint: {path}: a pickle, which may run code, and not {known.file} byte for byte; download "
            f"{origin}, or save its tensors as safetensors"
        )
    with torch.serialization.safe_globals(_ARRAYS):
        content = torch.load(path, map_location="cpu", weights_only=True)
    return content if known.wrapper is None else content[known.wrapper]
