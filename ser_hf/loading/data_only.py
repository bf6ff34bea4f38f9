"""Copies of models that hold nothing but data: how every command reads a model of others."""

import contextlib
import dataclasses
import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from ..models import (
    ARCHITECTURES,
    PooledEncoderForAudioClassification,
    PreparedFeatureExtractor,
)
from ..utils.errors import UserError
from .files import CONFIGURATIONS, find_file, first_line, read_table, weight_files

_TRUST = "--trust-remote-code, where a command has it, runs it; use it only if you trust its author"
_MOST_LAYERS = 1000
_MODELS = Path(__file__).parents[1] / "models"

_NETWORKS = [*ARCHITECTURES.values(), PooledEncoderForAudioClassification]
_CLASSES = [
    *_NETWORKS,
    PreparedFeatureExtractor,
    *(network.config_class for network in _NETWORKS),
]


def _auto_map_entry(cls: type) -> str:
    """What transformers writes in `auto_map` for a class of this package, as text."""
    module = cls.__module__.rpartition(".")[2]
    return str((cls._auto_class, f"{module}.{cls.__name__}"))


_AUTO_MAP_ENTRIES = {_auto_map_entry(cls) for cls in _CLASSES}
# Values of `model_type` and `feature_extractor_type` for which the installed class is loaded.
_TYPES = {getattr(cls, "model_type", cls.__name__) for cls in _CLASSES}

# Keys by which transformers takes code or files from elsewhere.
_ELSEWHERE = {
    "auto_map",
    "custom_pipelines",
    "configuration_files",
    "transformers_weights",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
}
# transformers accepts the name of any of its classes as a feature extractor.
_EXTRACTORS = {*FEATURE_EXTRACTOR_MAPPING_NAMES.values(), PreparedFeatureExtractor.__name__}


@dataclasses.dataclass(frozen=True)
class DataOnlyCopy:
    """A temporary copy of a model that holds nothing but data.

    `commit` is that of a model on the Hub; `names_code` is true if its configurations name code of
    this package.
    """

    folder: str
    commit: str | None
    names_code: bool


@contextlib.contextmanager
def data_only(
    source: str,
    *,
    where: str | None = None,
    revision: str | None = None,
    weights: bool = True,
    code: bool = False,
) -> Iterator[DataOnlyCopy]:
    """A temporary copy of a model (folder or Hub id) without anything that a library would run.

    It holds configurations that name no code but this package's, and safetensors. Everything else
    is left out.

    Args:
        where: the subject of error messages; the source by default.
        weights: include the safetensors.
        code: include Python files, which must be this package's byte for byte: for a process
            without ser_hf. In this process the installed classes load our networks.

    Raises:
        UserError: if the model does not exist, or needs what is left out.
    """
    where = where or source
    commit = _commit(source, where, revision)
    revision = commit or revision  # all files of one commit, whatever is pushed meanwhile

    with tempfile.TemporaryDirectory(prefix="ser_hf-model-") as temporary:
        folder = Path(temporary)
        names_code = _copy_configurations(source, folder, where, revision, code)
        if weights:
            for name, path in weight_files(source, where, revision).items():
                (folder / name).symlink_to(path)
        if names_code and code:
            _copy_code(source, folder, where, revision)
        try:
            yield DataOnlyCopy(temporary, commit, names_code)
        except Exception as error:
            # Name the model, not this folder.
            error.args = tuple(
                arg.replace(temporary, source) if isinstance(arg, str) else arg
                for arg in error.args
            )
            raise


def _commit(source: str, where: str, revision: str | None) -> str | None:
    """The commit of a model on the Hub; None for a folder."""
    try:
        return extract_commit_hash(cached_file(source, "config.json", revision=revision), None)
    except OSError as error:
        reason = first_line(error)
        if not Path(source).is_dir():
            reason = f"no such folder here, and as a model on the Hub: {reason}"
        raise UserError(f"{where}: {reason}") from None


def _copy_configurations(
    source: str, folder: Path, where: str, revision: str | None, code: bool
) -> bool:
    """Copy the configurations that are safe; whether any of them names code of this package."""
    names_code = False
    for name in CONFIGURATIONS:
        path = find_file(source, name, revision)
        if not path:
            continue
        content = read_table(path)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _check_layers(content, f"{where}: {name}")
        if _check_references(content, f"{where}: {name}", code):
            names_code = True
    return names_code


def _check_layers(content: dict[str, Any], where: str) -> None:
    """Refuse very many layers: to build them takes hours before a tensor is found missing."""
    for key, value in content.items():
        if key.endswith("layers") and isinstance(value, int) and value > _MOST_LAYERS:
            raise UserError(f"{where}: {key} is {value:.3g}, at most {_MOST_LAYERS}")


def _check_references(content: dict[str, Any], where: str, code: bool) -> bool:
    """Refuse settings that take code or files from elsewhere; whether code of this package is
    named.
    """
    # The installed class loads a type of this package, whatever code another version has written.
    types = {str(content.get("model_type")), str(content.get("feature_extractor_type"))}
    loaded_here = not code and bool(_TYPES & types)

    taken = references(content)
    for key, value in taken:
        ours = isinstance(value, dict) and _AUTO_MAP_ENTRIES.issuperset(map(str, value.items()))
        if key != "auto_map" or not (loaded_here or ours):
            raise UserError(
                f"{where} takes code or files from elsewhere ({key}: {value!r:.100}); {_TRUST}"
            )
    return bool(taken)


def references(content: Any) -> list[tuple[str, Any]]:
    """Nested settings, (key, value), by which transformers takes code or files from elsewhere."""
    if isinstance(content, list):
        return [pair for item in content for pair in references(item)]
    if not isinstance(content, dict):
        return []

    pairs = []
    for key, value in content.items():
        other_extractor = key == "feature_extractor_type" and str(value) not in _EXTRACTORS
        if value and (other_extractor or key in _ELSEWHERE):
            pairs.append((key, value))
        else:
            pairs += references(value)
    return pairs


def _copy_code(source: str, folder: Path, where: str, revision: str | None) -> None:
    """Write this package's networks, which the model's own files must equal."""
    for file in _code_files():
        path = find_file(source, file.name, revision)
        if not path:
            continue
        content = _published_code(file)
        (folder / file.name).write_bytes(content)
        if Path(path).read_bytes() != content:
            raise UserError(
                f"{where}: {file.name} is changed, or of another version of ser_hf; {_TRUST}"
            )


def _code_files() -> list[Path]:
    """The Python files of published networks: this package's, and one of each plug-in."""
    networks = [Path(inspect.getfile(network)) for network in ARCHITECTURES.values()]
    return [*_MODELS.glob("*.py"), *networks]


def _published_code(path: Path) -> bytes:
    """The content of a network's file beside published weights.

    Modules of ser_hf.models are its siblings there.
    """
    return re.sub(rb"^from ser_hf\.models\.", b"from .", path.read_bytes(), flags=re.MULTILINE)


def save_code(model: PreTrainedModel, folder: Path) -> None:
    """Save the code of a plug-in's network, so that the model loads without ser_hf.

    The files of ser_hf.models that it imports are copied with it. The networks of ser_hf are left
    out: transformers saves them.
    """
    file = Path(inspect.getfile(type(model)))
    if file not in _code_files() or file.parent == _MODELS:
        return
    (folder / file.name).write_bytes(_published_code(file))
    imports = re.findall(
        r"^from ser_hf\.models\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE
    )
    for name in imports:
        sibling = str(_MODELS / f"{name}.py")
        for path in [sibling, *get_relative_import_files(sibling)]:
            shutil.copy(path, folder)
