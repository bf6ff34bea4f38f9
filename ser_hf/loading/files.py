"""Files of a model, which is a folder or a repository of the Hub."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.utils import cached_file

from ..utils.errors import UserError
from ..utils.files import read_json

# The files by which transformers describes a model.
CONFIGURATIONS = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"


def find_file(
    source: str, name: str, revision: str | None = None, *, required: bool = True
) -> str | None:
    """The path of a file of a folder or Hub id; None without it, or, unless `required`, if the Hub
    is unreachable.
    """
    missing = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": required,
    }
    return cached_file(source, name, revision=revision, **missing)


def weight_files(source: str, where: str, revision: str | None = None) -> dict[str, str]:
    """Names of the safetensors (and their index) that transformers loads, and their paths."""
    if find_file(source, ADAPTER, revision):
        raise UserError(
            f"{where}: {ADAPTER}: an adapter beside a model loads another model; merge it into the weights, and move "
            "it into adapter/"
        )
    if path := find_file(source, WEIGHTS, revision):
        return {WEIGHTS: os.path.realpath(path)}
    index = find_file(source, INDEX, revision)
    if index is None:
        raise UserError(
            f"{where}: no {WEIGHTS}; a pickle, such as pytorch_model.bin, is not opened, because it may run code: "
            "save the weights as safetensors (docs/publishing.md)"
        )
    shards = read_table(index).get("weight_map")
    found = {INDEX: os.path.realpath(index)}
    for name in sorted(
        set(map(str, shards.values() if isinstance(shards, dict) and shards else [shards]))
    ):
        path = re.fullmatch(r"[\w-][\w.-]*\.safetensors", name) and find_file(
            source, name, revision
        )
        if not path:
            raise UserError(
                f"{where}: {INDEX} names {name!r:.100}, which is no safetensors file beside it"
            )
        found[name] = os.path.realpath(path)
    return found


def weights_hash(place: str | Path) -> str:
    """The hash of a file of weights, or of the safetensors in a folder."""
    digest = hashlib.sha256()
    for path in (
        sorted(Path(place).glob("*.safetensors")) if Path(place).is_dir() else [Path(place)]
    ):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return f"sha256:{digest.hexdigest()}"


def read_table(path: str) -> dict[str, Any]:
    content = read_json(path, most=2**22)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no table of settings")
    return content


def first_line(error: Exception) -> str:
    """The message of a library without its further advice."""
    message = str(error).strip()
    if isinstance(error, StrictDataclassError):
        return " ".join(message.split())  # the field in its first line, the fault in the next
    return (message or type(error).__name__).splitlines()[0].rstrip(".")[:300]
