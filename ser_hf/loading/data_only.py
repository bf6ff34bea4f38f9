"""Copies third-party models without their code; every command reads a model in this way."""

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

from ..models import (
    ARCHITECTURES,
    ENCODER_MODELS,
    Emotion2vecModel,
    PreparedFeatureExtractor,
)
from ..utils.errors import UserError
from ..utils.files import link_or_copy
from .files import (
    CONFIGURATIONS,
    WeightFiles,
    find_file,
    find_weights,
    model_commit,
    read_table,
)

_TRUST = "--trust-remote-code, where a command has it, runs it; use it only if you trust its author"
_MOST_LAYERS = 1000
_MODELS = Path(__file__).parents[1] / "models"

_NETWORKS = [*ARCHITECTURES.values(), *ENCODER_MODELS]
_CLASSES = [
    *_NETWORKS,
    Emotion2vecModel,
    PreparedFeatureExtractor,
    *(network.config_class for network in _NETWORKS),
]


def _auto_map_entry(cls: type) -> str:
    """The entry that transformers writes into `auto_map` for a class of ser_hf, as text."""
    module = cls.__module__.rpartition(".")[2]
    return str((cls._auto_class, f"{module}.{cls.__name__}"))


_AUTO_MAP_ENTRIES = {_auto_map_entry(cls) for cls in _CLASSES}
# The key of each configuration file that selects a class, and the values for which the installed
# class of ser_hf is loaded, whatever code the file names.
_MODEL_TYPES = {network.config_class.model_type for network in _NETWORKS}
_TYPE_KEYS = {
    "config.json": ("model_type", _MODEL_TYPES),
    "preprocessor_config.json": ("feature_extractor_type", {PreparedFeatureExtractor.__name__}),
}

# With these keys, transformers loads code or files from another place.
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
    """A temporary copy of a model that contains only data.

    `commit` is the commit of a model on the Hub, None for a folder. `names_code` is true if the
    configurations refer to classes of ser_hf.
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
    weights: bool | WeightFiles = True,
    code: bool = False,
) -> Iterator[DataOnlyCopy]:
    """Make a temporary copy of a model (folder or Hub id) that contains no code to run.

    The copy has safetensors files, and configurations that refer to no classes outside
    transformers and ser_hf. All other files are left out.

    Args:
        where: the subject of error messages; the source by default.
        weights: whether to include the safetensors files, or the files to include.
        code: whether to include Python files, for a process without ser_hf. They must equal those
            of ser_hf byte for byte. This process does not need them: it has the installed classes.

    Raises:
        UserError: if the model does not exist, or needs a file that is left out.
    """
    where = where or source
    commit = model_commit(source, where, revision)
    revision = commit or revision  # read all files from one commit, even if others are pushed now

    with tempfile.TemporaryDirectory(prefix="ser_hf-model-") as temporary:
        folder = Path(temporary)
        names_code = _copy_configurations(source, folder, where, revision, code)
        if weights:
            files = weights if isinstance(weights, WeightFiles) else None
            if files is None:
                files = find_weights(source, where, revision)
            for name, path in files.paths.items():
                link_or_copy(Path(path), folder / name)
        if names_code and code:
            _copy_code(source, folder, where, revision)
        try:
            yield DataOnlyCopy(temporary, commit, names_code)
        except Exception as error:
            # The message names the model, not the temporary folder.
            error.args = tuple(
                arg.replace(temporary, source) if isinstance(arg, str) else arg
                for arg in error.args
            )
            raise


def _copy_configurations(
    source: str, folder: Path, where: str, revision: str | None, code: bool
) -> bool:
    """Check and copy the configurations; returns whether any of them refers to code of ser_hf."""
    names_code = False
    for name in CONFIGURATIONS:
        path = find_file(source, name, revision)
        if not path:
            continue
        content = read_table(path)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _check_layers(content, f"{where}: {name}")
        if _check_references(content, name, where, code):
            names_code = True
    return names_code


def _check_layers(content: dict[str, Any], where: str) -> None:
    """Refuse a very large number of layers, which would take hours to build before any error."""
    for key, value in content.items():
        if key.endswith("layers") and isinstance(value, int) and value > _MOST_LAYERS:
            raise UserError(f"{where}: {key} is {value:.3g}, at most {_MOST_LAYERS}")


def _check_references(content: dict[str, Any], name: str, where: str, code: bool) -> bool:
    """Refuse settings that load code or files from another place.

    Returns whether the configuration in the file `name` refers to code of ser_hf, which is allowed.
    """
    loaded_here = not code and _has_installed_class(content, name)
    external_settings = references(content)
    for key, value in external_settings:
        names_ser_hf = isinstance(value, dict) and _AUTO_MAP_ENTRIES.issuperset(
            map(str, value.items())
        )
        # The code that a nested part names is never replaced by an installed class.
        replaced = loaded_here and value is content.get(key)
        if key != "auto_map" or not (replaced or names_ser_hf):
            raise UserError(
                f"{where}: {name} takes code or files from elsewhere ({key}: {value!r:.100}); "
                f"{_TRUST}"
            )
    return bool(external_settings)


def _has_installed_class(content: dict[str, Any], name: str) -> bool:
    """Whether the installed class of ser_hf loads the configuration in the file `name`.

    Only the key that selects the class of this kind of file counts: transformers ignores a
    `feature_extractor_type` in config.json when it selects the class of the configuration.
    """
    if name not in _TYPE_KEYS:
        return False
    key, installed_types = _TYPE_KEYS[name]
    selected = content.get(key)
    return isinstance(selected, str) and selected in installed_types


def references(content: Any) -> list[tuple[str, Any]]:
    """Find the settings, at any depth, that make transformers load code or files from elsewhere.

    Returns (key, value) of each.
    """
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
    """Copy the network files of ser_hf, after a check that the model's files equal them."""
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
    """The Python files of published networks: those of ser_hf, and the file of each plug-in."""
    networks = [Path(inspect.getfile(network)) for network in ARCHITECTURES.values()]
    return [*_MODELS.glob("*.py"), *networks]


def _published_code(path: Path) -> bytes:
    """The content of a network's file as it is published in the folder of a model.

    Its imports from ser_hf.models become relative, because these files are in the same folder.
    """
    return re.sub(rb"^from ser_hf\.models\.", b"from .", path.read_bytes(), flags=re.MULTILINE)


def save_code(model: PreTrainedModel, folder: Path) -> None:
    """Save the code of a plug-in's network, so that the model loads without ser_hf.

    The files of ser_hf.models that the plug-in imports are copied too. This function does nothing
    for the networks of ser_hf, whose code transformers saves.
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
