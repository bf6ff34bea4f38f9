"""Finds and reads the files of a model, which is a folder or a repository on the Hub."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.utils import cached_file

from ..utils.errors import UserError
from ..utils.files import read_json

# The files in which transformers describes a model.
CONFIGURATIONS = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"

_MOST_BYTES = 2**22  # the largest size of a JSON file of settings
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")


def find_file(
    source: str, name: str, revision: str | None = None, *, required: bool = True
) -> str | None:
    """The path of a file of a model (folder or Hub id), or None if the model does not have it.

    If the file is not `required`, the result is also None when the Hub cannot be reached.
    """
    return cached_file(
        source,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=required,
    )


def weight_files(source: str, where: str, revision: str | None = None) -> dict[str, str]:
    """The safetensors files (and their index) that transformers loads: {name: path}.

    Raises:
        UserError: about `where`, if there are no such files, or if the model also contains an
            adapter.
    """
    if find_file(source, ADAPTER, revision):
        raise UserError(
            f"{where}: {ADAPTER}: an adapter beside a model loads another model; "
            "merge it into the weights, and move it into adapter/"
        )
    weights = find_file(source, WEIGHTS, revision)
    if weights:
        return {WEIGHTS: os.path.realpath(weights)}

    index = find_file(source, INDEX, revision)
    if index is None:
        raise UserError(
            f"{where}: no {WEIGHTS}; a pickle, such as pytorch_model.bin, is not opened, because "
            "it may run code: save the weights as safetensors (docs/publishing.md)"
        )
    paths = {INDEX: os.path.realpath(index)}
    for name in _shard_names(index):
        path = find_file(source, name, revision) if _SHARD.fullmatch(name) else None
        if not path:
            raise UserError(
                f"{where}: {INDEX} names {name!r:.100}, which is no safetensors file beside it"
            )
        paths[name] = os.path.realpath(path)
    return paths


def _shard_names(index: str) -> list[str]:
    """The sorted file names in an index of safetensors.

    For a malformed index, the result is a name that no file has, which the caller then refuses.
    """
    weight_map = read_table(index).get("weight_map")
    if isinstance(weight_map, dict) and weight_map:
        return sorted({str(name) for name in weight_map.values()})
    return [str(weight_map)]


def weights_hash(path: str | Path) -> str:
    """The SHA-256 sum of a weight file, or of all safetensors files in a folder together."""
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for weights in files:
        with weights.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return f"sha256:{digest.hexdigest()}"


def read_table(path: str) -> dict[str, Any]:
    """Read a table of settings from a JSON file.

    Raises:
        UserError: if the file does not contain a table.
    """
    content = read_json(path, most=_MOST_BYTES)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no table of settings")
    return content


def first_line(error: Exception) -> str:
    """The first line of a library's error message, without the advice that follows."""
    message = str(error).strip()
    if isinstance(error, StrictDataclassError):
        # The first line of this message names the field, the next line has the reason.
        return " ".join(message.split())
    first = (message or type(error).__name__).splitlines()[0]
    return first.rstrip(".")[:300]
