"""Finds and reads the files of a model, which is a folder or a repository on the Hub."""

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from ..utils.errors import UserError
from ..utils.files import read_json
from .converted import converted_revision
from .hub_connection import connection_problem, unreachable_message

logger = logging.getLogger(__name__)

# The files in which transformers describes a model.
CONFIGURATIONS = ("config.json", "preprocessor_config.json", "processor_config.json")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
# A page that opens a pull request with safetensors in a repository that has only a pickle.
CONVERTER_PAGE = "https://huggingface.co/spaces/safetensors/convert"
# Statistics of the embeddings of the training speakers (`ser_hf.inference.adaptation`).
STATISTICS = "adaptation.safetensors"

_MOST_BYTES = 2**22  # the largest size of a JSON file of settings
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_file(
    source: str,
    name: str,
    revision: str | None = None,
    *,
    required: bool = True,
    token: str | None = None,
) -> str | None:
    """The path of a file of a model (folder or Hub id), or None if the model does not have it.

    If the file is not `required`, the result is also None when the Hub cannot be reached.
    """
    return cached_file(
        source,
        name,
        revision=revision,
        token=token,
        local_files_only=_only_downloaded(source, name, revision),
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=required,
    )


def model_commit(source: str, where: str, revision: str | None) -> str | None:
    """The commit of a model on the Hub; None for a folder.

    Raises:
        UserError: if there is no such model.
    """
    only_downloaded = _only_downloaded(source, "config.json", revision)
    try:
        path = cached_file(
            source, "config.json", revision=revision, local_files_only=only_downloaded
        )
    except OSError as error:
        raise UserError(f"{where}: {_missing_model_reason(source, error)}") from None
    if only_downloaded and not is_offline_mode():
        logger.warning(
            "%s: the downloaded version is used, because the Hub cannot be reached: %s",
            where,
            connection_problem(),
        )
    return extract_commit_hash(path, None)


def _only_downloaded(source: str, name: str, revision: str | None) -> bool:
    """Whether a file of a model on the Hub is searched among the downloaded files only."""
    if os.path.isdir(source):
        return False
    # The client needs no connection for a file of a commit that is downloaded.
    if revision is not None and _COMMIT.fullmatch(revision):
        with contextlib.suppress(HFValidationError):  # the client refuses the name later
            if try_to_load_from_cache(source, name, revision=revision) is not None:
                return False
    return connection_problem() is not None


def _missing_model_reason(source: str, error: OSError) -> str:
    """Why a model is not found, and what to do."""
    if os.path.isdir(source):
        return first_line(error)
    unreachable = unreachable_message()
    if unreachable is not None and isinstance(error.__cause__, LocalEntryNotFoundError):
        return (
            f"no such folder here, not among the downloaded models, and {unreachable}, "
            "or name the folder of a model"
        )
    return f"no such folder here, and as a model on the Hub: {first_line(error)}"


@dataclasses.dataclass(frozen=True)
class WeightFiles:
    """The safetensors files (and their index) of a model.

    Args:
        paths: {name: path}.
        converted: the pull request of the Hub's converter that has the files, such as
            ``refs/pr/1``; None if they are at the requested revision itself.
    """

    paths: dict[str, str]
    converted: str | None = None

    def require_own_revision(self, where: str) -> None:
        """Refuse weights of a pull request, where transformers itself loads a revision."""
        if self.converted is not None:
            raise UserError(
                f"{where}: its safetensors are in a pull request; name that revision: "
                f"--revision {self.converted}"
            )

    @property
    def tensor_files(self) -> list[str]:
        """The paths of the files that contain tensors."""
        return [path for name, path in self.paths.items() if name.endswith(".safetensors")]


def find_weights(
    source: str, where: str, revision: str | None = None, token: str | None = None
) -> WeightFiles:
    """Find the weights of a model. Every command decides here where weights come from.

    They are the safetensors in the folder or at the revision, or those that the Hub's converter
    has made of a pickle at this revision (`loading.converted`).

    Raises:
        UserError: about `where`, if there are no such files, or if the model also contains an
            adapter.
    """
    if find_file(source, ADAPTER, revision, token=token):
        raise UserError(
            f"{where}: {ADAPTER}: an adapter beside a model loads another model; "
            "merge it into the weights, and move it into adapter/"
        )
    paths = _safetensors(source, where, revision, token)
    if paths:
        return WeightFiles(paths)

    converted = converted_revision(source, revision, token)
    paths = _safetensors(source, where, converted, token) if converted else None
    if paths:
        return WeightFiles(paths, converted)
    raise UserError(
        f"{where}: no {WEIGHTS}; a pickle, such as pytorch_model.bin, is not opened, because it "
        f"may run code: {_conversion_advice(source)}"
    )


def _safetensors(
    source: str, where: str, revision: str | None, token: str | None
) -> dict[str, str] | None:
    """The safetensors files at a revision, {name: path}; None if there are none."""
    weights = find_file(source, WEIGHTS, revision, token=token)
    if weights:
        return {WEIGHTS: os.path.realpath(weights)}

    index = find_file(source, INDEX, revision, token=token)
    if index is None:
        return None
    paths = {INDEX: os.path.realpath(index)}
    for name in _shard_names(index):
        path = None
        if _SHARD.fullmatch(name):
            path = find_file(source, name, revision, token=token)
        if not path:
            raise UserError(
                f"{where}: {INDEX} names {name!r:.100}, which is no safetensors file beside it"
            )
        paths[name] = os.path.realpath(path)
    return paths


def _conversion_advice(source: str) -> str:
    """How the user gets safetensors in place of a pickle."""
    if os.path.isdir(source):
        return "save the weights as safetensors (docs/publishing.md)"
    return (
        "name a revision that has safetensors (--revision refs/pr/N, in a recipe model.revision), "
        f"or let {CONVERTER_PAGE} make them"
    )


def _shard_names(index: str) -> list[str]:
    """The sorted file names in an index of safetensors.

    For a malformed index, the result is a name that no file has, which the caller then refuses.
    """
    weight_map = read_table(index).get("weight_map")
    if isinstance(weight_map, dict) and weight_map:
        return sorted({str(name) for name in weight_map.values()})
    return [str(weight_map)]


def weights_hash(path: str | Path) -> str:
    """The SHA-256 sum of a weight file, or of all files of weights in a folder together."""
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.safetensors")) if file.name != STATISTICS]
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
