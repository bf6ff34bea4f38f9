"""The files of weights that other projects publish for transferred networks, and their SHA-256.

This module needs no torch, so that a missing file is found before anything is loaded.
`transferred` loads the files, `download` fetches them.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ..utils.errors import UserError

# The folder of published files in the shipped recipes.
WEIGHTS_FOLDER = "weights"


@dataclass(frozen=True)
class Published:
    """A published file of weights. It is a pickle, which is opened only if its SHA-256 is right.

    Args:
        megabytes: the size of the file, rounded.
        url: the address of the file itself; None if there is no lasting one.
        source: the page or address that users read about the file.
        recipe: the name of the shipped recipe that starts from the file.
    """

    file: str
    sha256: str
    megabytes: int
    url: str | None
    source: str
    licence: str
    recipe: str

    @property
    def origin(self) -> str:
        """The file with its SHA-256 and its source, for messages."""
        return f"{self.file} (SHA-256 {self.sha256}) from {self.source}"


# {`model_type` of a network's configuration: its published file}
PUBLISHED = {
    "ser_byols": Published(
        file="default512_BYOLAs64x96.pth",
        sha256="449f5d0dc6b6fa8433d5e43769097520d3bc0fdae88977a7ac29e2e72ca51b52",
        megabytes=2,
        url=None,
        source="https://github.com/Neclow/serab",
        licence="MIT",
        recipe="ravdess_byols",
    ),
    "ser_cnn14": Published(
        file="Cnn14_16k_mAP=0.438.pth",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        megabytes=359,
        url="https://zenodo.org/records/3987831/files/Cnn14_16k_mAP%3D0.438.pth?download=1",
        source="https://zenodo.org/records/3987831",
        licence="CC-BY-4.0",
        recipe="ravdess_cnn14",
    ),
    "ser_vgg16": Published(
        file="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        megabytes=553,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        source=(
            "https://download.pytorch.org/models/vgg16-397923af.pth "
            "(torchvision, VGG16_Weights.IMAGENET1K_V1)"
        ),
        licence="BSD-3-Clause, that of torchvision; the pictures of ImageNet are for research",
        recipe="ravdess_vgg16",
    ),
    "ser_vggish": Published(
        file="vggish-10086976.pth",
        sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        megabytes=289,
        url=(
            "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
        ),
        source="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
        licence="Apache-2.0",
        recipe="ravdess_vggish",
    ),
}


# The suffixes of files of weights.
_WEIGHT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_model(checkpoint: str | None) -> bool:
    """Whether a checkpoint is a model (folder or Hub id), not a file of published weights."""
    if checkpoint is None:
        return False
    path = Path(checkpoint)
    if path.exists():
        return path.is_dir()
    is_weight_file = path.suffix in _WEIGHT_SUFFIXES
    return not is_weight_file and _HUB_ID.fullmatch(checkpoint) is not None


def architecture_of(model_type: str) -> str:
    """The name of a network in recipes, from its `model_type`."""
    return model_type.removeprefix("ser_")


def published_file(model_type: str, path: str | Path | None) -> Path:
    """The path of a transferred network's published weights, which must exist.

    Raises:
        UserError: naming the file, its SHA-256 and its source, if `path` is None or not a file.
    """
    published = PUBLISHED[model_type]
    if path is None:
        raise UserError(
            f"model.checkpoint: missing; give the path of {published.origin}, "
            "or set model.random_init to true"
        )
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.checkpoint: no such file: {path}; {_remedy(model_type, path)}")
    return path


def _remedy(model_type: str, path: Path) -> str:
    """How to get a missing file: by `ser-hf download weights`, where it has an address."""
    published = PUBLISHED[model_type]
    if published.url is None:
        return f"download {published.origin}"
    command = f"ser-hf download weights {architecture_of(model_type)}"
    if path.parent != Path(WEIGHTS_FOLDER):
        command += f" --output {path.parent}"
    # A message has 300 characters, so a file name is not repeated.
    file = "it" if path.name == published.file else published.file
    return f"`{command}` downloads {file} (SHA-256 {published.sha256}) from {published.source}"


def require_published(model_type: str, path: str | Path | None) -> Path:
    """The path of published weights: safetensors, or the published pickle byte for byte.

    The tensors of safetensors are compared when they are loaded.

    Raises:
        UserError: if the file is missing, unreadable, or a pickle with another SHA-256.
    """
    path = published_file(model_type, path)
    if path.suffix == ".safetensors":
        return path
    published = PUBLISHED[model_type]
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise UserError(f"model.checkpoint: {path}: cannot be read ({error.strerror})") from None
    if actual != published.sha256:
        raise UserError(
            f"model.checkpoint: {path}: a pickle, which may run code, and not {published.file} "
            f"byte for byte; download {published.origin}, or save its tensors as safetensors"
        )
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
