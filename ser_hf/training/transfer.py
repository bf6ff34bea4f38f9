"""Published weights into our networks: every tensor of the file has a place, every tensor of the encoder is read."""

import logging
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import UserError
from ..models.modeling_transfer import TransferClassifier
from . import published_byols, published_cnn14, published_vgg16, published_vggish
from .loading import first_line
from .published import Published, Tensors

logger = logging.getLogger(__name__)

# `model_type` of a network's configuration -> what is known of its published file.
PUBLISHED = {
    "ser_byols": published_byols.published,
    "ser_cnn14": published_cnn14.published,
    "ser_vgg16": published_vgg16.published,
    "ser_vggish": published_vggish.published,
}

# What reading a file that is not whole, or is something else, may raise.
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

_NAMED = 3  # tensors that a message names

# Beside tensors a checkpoint may hold arrays, such as where a sampler stood (that of CNN14 does): data, not code.
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
    """Copies the published weights at `path` into the encoder of `model`; its head is left as it is.

    Raises:
        UserError: if the file is missing, damaged, or holds tensors of other names or shapes than the network's; it
            names `model.checkpoint`, the file and the tensor. The model is then untouched.
    """
    known: Published = PUBLISHED[model.config.model_type](model.config)
    origin = f"{known.file} from {known.source} (licence: {known.licence})"
    if path is None:
        raise UserError(f"model.checkpoint: missing; give the path of {origin}, or set model.random_init to true")
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.checkpoint: there is no file {path}; get {origin}")
    tensors = _unwrapped(_read(path, origin), known, path)
    _check_names(tensors, known, path)
    for name, (shape, _) in known.tensors.items():
        _check_tensor(name, tensors[name], shape, path)
    if known.convert is not None:
        try:
            tensors = known.convert(tensors, model.config)
        except ValueError as error:
            raise UserError(f"model.checkpoint: {path}: {error}") from None
    _copy({ours: tensors[name] for name, (_, ours) in known.tensors.items() if ours is not None}, model)
    logger.info("encoder from %s: %d tensors of %s", path, len(known.tensors), known.source)


def _read(path: Path, origin: str) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_ARRAYS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise UserError(
            f"model.checkpoint: {path} is damaged or no file of weights ({first_line(error)}); get {origin} again"
        ) from None


def _unwrapped(content: object, known: Published, path: Path) -> Tensors:
    """The tensors of a file by name."""
    if known.wrapper is not None:
        if not isinstance(content, dict) or known.wrapper not in content:
            raise UserError(
                f"model.checkpoint: {path} has no entry {known.wrapper!r}, where {known.file} has its tensors"
            )
        content = content[known.wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"model.checkpoint: {path} holds something else than tensors by name, as {known.file} does")
    return content


def _check_names(tensors: Tensors, known: Published, path: Path) -> None:
    missing = [name for name in known.tensors if name not in tensors]
    extra = [name for name in tensors if name not in known.tensors]
    if missing or extra:
        faults = [f"{_some(missing)} not there"] * bool(missing) + [f"{_some(extra)} not expected"] * bool(extra)
        raise UserError(f"model.checkpoint: {path} is not {known.file} of {known.source}: {'; '.join(faults)}")


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _check_tensor(name: str, tensor: torch.Tensor, shape: tuple[int, ...], path: Path) -> None:
    if tuple(tensor.shape) != shape:
        raise UserError(
            f"model.checkpoint: {name} of {path} has shape {tuple(tensor.shape)}, this network needs {shape}; leave "
            "the sizes under model as they were published"
        )
    if not tensor.isfinite().all():
        raise UserError(f"model.checkpoint: {name} of {path} has values that are not finite")


def _copy(tensors: Tensors, model: nn.Module) -> None:
    """By our names, into every tensor of the encoder and no other."""
    targets = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("encoder.")}
    # A fault of the table, which the tests of each network would show: never a random tensor in silence.
    unfed, homeless = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
    misshapen = sorted(name for name in targets.keys() & tensors.keys() if targets[name].shape != tensors[name].shape)
    if unfed or homeless or misshapen:
        raise AssertionError(
            f"{type(model).__name__}: no weights for {unfed}, no place for {homeless}, wrong shape of {misshapen}"
        )
    for name, target in targets.items():
        target.copy_(tensors[name])
