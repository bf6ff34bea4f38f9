"""Published weights of transferred networks (BYOL-S, CNN14, VGG16, VGGish): tables of tensor names and shapes."""

import logging
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedConfig

from ..models.modeling_transfer import (
    BANDS,
    FRAMES,
    BYOLSConfig,
    CNN14Config,
    TransferClassifier,
    VGG16Config,
    VGGishConfig,
)
from ..utils.errors import UserError
from .loading import first_line

logger = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Published:
    """A file of weights.

    Attributes:
        file: its published name.
        source: where to get it.
        tensors: name in the file -> (shape, name in our model or None if unused).
        wrapper: key of the tensors within the file, None without one.
        convert: changes tensors before they are copied.
    """

    file: str
    source: str
    licence: str
    tensors: dict[str, tuple[tuple[int, ...], str | None]]
    wrapper: str | None = None
    convert: Callable[[Tensors, PreTrainedConfig], Tensors] | None = None


def weights(name: str, ours: str | None, shape: tuple[int, ...], bias: bool = True) -> dict[str, tuple]:
    """The tensors of a convolution or linear layer as `Published.tensors` lists them."""
    tensors = {f"{name}.weight": (shape, ours and f"{ours}.weight")}
    return tensors | ({f"{name}.bias": (shape[:1], ours and f"{ours}.bias")} if bias else {})


def batch_norm(name: str, ours: str, size: int) -> dict[str, tuple]:
    """The tensors of a batch normalization as `Published.tensors` lists them."""
    parts = ("weight", "bias", "running_mean", "running_var")
    tensors = {f"{name}.{part}": ((size,), f"{ours}.{part}") for part in parts}
    return tensors | {f"{name}.num_batches_tracked": ((), f"{ours}.num_batches_tracked")}


# Convolution and normalization of each block of BYOL-S.
_BYOLS_BLOCKS = (("features.0", "features.1"), ("features.4", "features.5"), ("features.8", "features.9"))


def published_byols(config: BYOLSConfig) -> Published:
    """The file for a network of these widths."""
    tensors, inputs, channels = {}, 1, config.channels
    for i, (conv, norm) in enumerate(_BYOLS_BLOCKS):
        tensors[f"{conv}.weight"] = ((channels, inputs, 3, 3), f"encoder.layers.{i}.conv.weight")
        tensors[f"{conv}.bias"] = ((channels,), None)  # part of the normalization in our network
        tensors |= batch_norm(norm, f"encoder.layers.{i}.norm", channels)
        inputs = channels
    tensors |= weights("fc.0", "encoder.layers.3.linear", (config.embedding, channels * (config.n_mels // 8)))
    tensors |= weights("fc.3", "encoder.layers.4.linear", (config.embedding, config.embedding))
    return Published(
        file="default512_BYOLAs64x96.pth",
        source="https://github.com/Neclow/serab",
        licence="MIT",
        tensors=tensors,
        convert=_convert_byols,
    )


def _convert_byols(tensors: Tensors, config: BYOLSConfig) -> Tensors:
    tensors = dict(tensors)
    for conv, norm in _BYOLS_BLOCKS:
        tensors[f"{conv}.weight"] = tensors[f"{conv}.weight"].transpose(2, 3)
        tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] - tensors[f"{conv}.bias"]
    return tensors


_REAL = "spectrogram_extractor.stft.conv_real.weight"
_IMAGINARY = "spectrogram_extractor.stft.conv_imag.weight"
_MEL = "logmel_extractor.melW"
_AUDIOSET_TAGS = 527


def published_cnn14(config: CNN14Config) -> Published:
    """The file for a network of these widths."""
    bins, bands = config.n_fft // 2 + 1, config.n_mels
    tensors = dict.fromkeys((_REAL, _IMAGINARY), ((bins, 1, config.n_fft), None)) | {_MEL: ((bins, bands), None)}
    tensors |= batch_norm("bn0", "encoder.layers.0.bands_norm", bands)
    inputs = 1
    for i, channels in enumerate(config.channels):
        for j in range(2):
            theirs, ours = f"conv_block{i + 1}", f"encoder.layers.{i}.convolutions.{j}"
            tensors |= weights(f"{theirs}.conv{j + 1}", f"{ours}.conv", (channels, inputs, 3, 3), bias=False)
            tensors |= batch_norm(f"{theirs}.bn{j + 1}", f"{ours}.norm", channels)
            inputs = channels
    tensors |= weights("fc1", f"encoder.layers.{len(config.channels)}.linear", (config.embedding, inputs))
    tensors |= weights("fc_audioset", None, (_AUDIOSET_TAGS, config.embedding))
    return Published(
        file="Cnn14_16k_mAP=0.438.pth",
        source="https://zenodo.org/records/3987831",
        licence="CC-BY-4.0",
        tensors=tensors,
        wrapper="model",
    )


def _vgg_stages(channels: Sequence[int], places: Sequence[Sequence[int]], inputs: int) -> dict[str, tuple]:
    """Convolutions of each stage, by their places among the layers of the published network."""
    tensors = {}
    for stage, width in enumerate(channels):
        for i, place in enumerate(places[stage]):
            ours = f"encoder.layers.{stage}.convolutions.{i}"
            tensors |= weights(f"features.{place}", ours, (width, inputs, 3, 3))
            inputs = width
    return tensors


_COLORS = 3
_FIRST = "features.0.weight"


def published_vgg16(config: VGG16Config) -> Published:
    """The file for a network of these widths; its dense layers for ImageNet are not used."""
    places = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    sizes = (config.channels[-1] * 7 * 7, 4096, 4096, 1000)
    tensors = _vgg_stages(config.channels, places, _COLORS)
    for i, place in enumerate((0, 3, 6)):
        tensors |= weights(f"classifier.{place}", None, (sizes[i + 1], sizes[i]))
    return Published(
        file="vgg16-397923af.pth",
        source="https://download.pytorch.org/models/vgg16-397923af.pth (torchvision, VGG16_Weights.IMAGENET1K_V1)",
        licence="BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
        tensors=tensors,
        convert=_convert_vgg16,
    )


def _convert_vgg16(tensors: Tensors, config: VGG16Config) -> Tensors:
    if config.deltas:
        return tensors  # three planes, one for each color
    # One plane in all three colors: a convolution is linear, so that its kernels add up.
    return tensors | {_FIRST: tensors[_FIRST].sum(dim=1, keepdim=True)}


def published_vggish(config: VGGishConfig) -> Published:
    """The file for a network of these widths."""
    places = ((0,), (3,), (6, 8), (11, 13))
    tensors = _vgg_stages(config.channels, places, 1)
    halvings = 2 ** len(places)
    inputs = config.channels[-1] * (FRAMES // halvings) * (BANDS // halvings)
    for i, (place, width) in enumerate(
        zip((0, 2, 4), (config.hidden, config.hidden, config.embedding_size), strict=True)
    ):
        tensors |= weights(f"embeddings.{place}", f"encoder.layers.{len(places) + i}", (width, inputs))
        inputs = width
    return Published(
        file="vggish-10086976.pth",
        source="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        licence="Apache-2.0",
        tensors=tensors,
    )


# `model_type` of a network's configuration -> what is known of its published file.
PUBLISHED = {
    "ser_byols": published_byols,
    "ser_cnn14": published_cnn14,
    "ser_vgg16": published_vgg16,
    "ser_vggish": published_vggish,
}

# Possible errors of a damaged file.
_DAMAGE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
)

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
    known: Published = PUBLISHED[model.config.model_type](model.config)
    origin = f"{known.file} from {known.source} (licence: {known.licence})"
    if path is None:
        raise UserError(f"model.checkpoint: missing; give the path of {origin}, or set model.random_init to true")
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.checkpoint: there is no file {path}; get {origin}")
    tensors = _read(path, known, origin)
    missing = [name for name in known.tensors if name not in tensors]
    extra = [name for name in tensors if name not in known.tensors]
    for names, what in ((missing, "are missing"), (extra, "are not expected")):
        if names:
            raise UserError(
                f"model.checkpoint: {path} is not {known.file} of {known.source}: {len(names)} tensors {what}, the "
                f"first {names[0]}"
            )
    for name, (shape, _) in known.tensors.items():
        if tuple(tensors[name].shape) != shape:
            raise UserError(
                f"model.checkpoint: {name} of {path} has shape {tuple(tensors[name].shape)}, this network needs "
                f"{shape}; leave the sizes under model as they were published"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"model.checkpoint: {name} of {path} has values that are not finite")
    if known.convert is not None:
        tensors = known.convert(tensors, model.config)
    ours = {own: tensors[name] for name, (_, own) in known.tensors.items() if own is not None}
    found = model.load_state_dict(ours, strict=False)
    without = [name for name in found.missing_keys if name.startswith("encoder.")]
    if without or found.unexpected_keys:
        raise AssertionError(f"{type(model).__name__}: no weights for {without}, no place for {found.unexpected_keys}")
    logger.info("encoder from %s: %d tensors of %s", path, len(known.tensors), known.source)


def _read(path: Path, known: Published, origin: str) -> Tensors:
    """The tensors of a file by name."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_ARRAYS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise UserError(
            f"model.checkpoint: {path} is damaged or no file of weights ({first_line(error)}); get {origin} again"
        ) from None
    if known.wrapper is not None:
        content = content.get(known.wrapper) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"model.checkpoint: {path} does not hold tensors by name, as {known.file} does")
    return content
