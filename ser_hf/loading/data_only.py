"""Copies of models that hold nothing but data: how every command reads a model of others."""

import contextlib
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

_MOST_LAYERS = 1000
_MODELS = Path(__file__).parents[1] / "models"
TRUST = "--trust-remote-code, where a command has it, runs it; use it only if you trust its author"
# What this package writes in `auto_map`, as text.
_CLASSES = [*ARCHITECTURES.values(), PooledEncoderForAudioClassification, PreparedFeatureExtractor]
_CLASSES += [network.config_class for network in _CLASSES[:-1]]
_OWN = {
    str((known._auto_class, f"{known.__module__.rpartition('.')[2]}.{known.__name__}"))
    for known in _CLASSES
}
_TYPES = {getattr(known, "model_type", known.__name__) for known in _CLASSES}
_WORDS = ("model", "feature_extractor")
# Keys by which transformers takes code or files from elsewhere.
_ELSEWHERE = {
    "auto_map",
    "custom_pipelines",
    "configuration_files",
    "transformers_weights",
    "quantization_config",
}
_ELSEWHERE |= {f"{mark}{part}_implementation" for mark in ("", "_") for part in ("attn", "experts")}
# transformers accepts the name of any of its classes.
_EXTRACTORS = {*FEATURE_EXTRACTOR_MAPPING_NAMES.values(), PreparedFeatureExtractor.__name__}


@contextlib.contextmanager
def data_only(
    source: str,
    *,
    where: str | None = None,
    revision: str | None = None,
    weights: bool = True,
    code: bool = False,
) -> Iterator[tuple[str, str | None, bool]]:
    """A temporary folder with nothing of a model (folder or Hub id) that runs code when a library
    loads it.

    It holds configurations that name no code but this package's, and safetensors. Everything else
    is left out; what the model needs of it is a `UserError` about `where`. With `code`, for a
    process without ser_hf, it also holds Python files, which must be this package's byte for byte;
    here the installed classes load our networks.

    Yields:
        The folder, the commit of a model on the Hub, and whether its configurations name this
        package's code.
    """
    where = where or source
    try:
        commit = extract_commit_hash(cached_file(source, "config.json", revision=revision), None)
    except OSError as error:
        known = "" if Path(source).is_dir() else "no such folder here, and as a model on the Hub: "
        raise UserError(f"{where}: {known}{first_line(error)}") from None
    revision = commit or revision  # all files of one commit, whatever is pushed meanwhile
    with tempfile.TemporaryDirectory(prefix="ser_hf-model-") as temporary:
        folder = Path(temporary)
        own_code = False
        for name in CONFIGURATIONS:
            if path := find_file(source, name, revision):
                content = read_table(path)
                (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
                # building many takes hours before a tensor is found missing
                for key, item in content.items():
                    if key.endswith("layers") and isinstance(item, int) and item > _MOST_LAYERS:
                        raise UserError(
                            f"{where}: {name}: {key} is {item:.3g}, at most {_MOST_LAYERS}"
                        )
                # Which loads here with the installed class, whatever code another version has
                # written.
                registered = not code and _TYPES & {
                    str(content.get(f"{word}_type")) for word in _WORDS
                }
                for key, item in references(content):
                    named = isinstance(item, dict) and _OWN.issuperset(map(str, item.items()))
                    own_code = key == "auto_map" and bool(registered or named)
                    if not own_code:
                        taken = f"takes code or files from elsewhere ({key}: {item!r:.100})"
                        raise UserError(f"{where}: {name} {taken}; {TRUST}")
        for name, path in weight_files(source, where, revision).items() if weights else ():
            (folder / name).symlink_to(path)
        for own in _code_files() if own_code and code else ():
            if path := find_file(source, own.name, revision):
                (folder / own.name).write_bytes(_published_code(own))
                if Path(path).read_bytes() != _published_code(own):
                    raise UserError(
                        f"{where}: {own.name} is changed, or of another version of ser_hf; {TRUST}"
                    )
        try:
            yield temporary, commit, own_code
        except Exception as error:  # name the model, not this folder
            error.args = tuple(
                arg.replace(temporary, source) if isinstance(arg, str) else arg
                for arg in error.args
            )
            raise


def _code_files() -> list[Path]:
    """The Python files of which published networks consist: this package's, and one for each
    plug-in.
    """
    return [
        *_MODELS.glob("*.py"),
        *(Path(inspect.getfile(network)) for network in ARCHITECTURES.values()),
    ]


def _published_code(path: Path) -> bytes:
    """The content of a network's file beside published weights, where modules of ser_hf.models are
    siblings.
    """
    return re.sub(rb"^from ser_hf\.models\.", b"from .", path.read_bytes(), flags=re.MULTILINE)


def save_code(model: PreTrainedModel, folder: Path) -> None:
    """Save a plug-in's network with the files of ser_hf.models that it imports, so that it loads
    without ser_hf.
    """
    own = Path(inspect.getfile(type(model)))
    if own in _code_files() and own.parent != _MODELS:
        (folder / own.name).write_bytes(_published_code(own))
        for name in re.findall(
            r"^from ser_hf\.models\.(\w+)", own.read_text(encoding="utf-8"), re.MULTILINE
        ):
            sibling = str(_MODELS / f"{name}.py")
            for path in [sibling, *get_relative_import_files(sibling)]:
                shutil.copy(path, folder)


def references(content: Any) -> list[tuple[str, Any]]:
    """Nested settings by which transformers takes code or files from elsewhere."""
    if isinstance(content, list):
        return [one for item in content for one in references(item)]
    found = []
    for key, item in content.items() if isinstance(content, dict) else ():
        other = key == "feature_extractor_type" and str(item) not in _EXTRACTORS
        found += [(key, item)] if item and (other or key in _ELSEWHERE) else references(item)
    return found
