"""Reads a model of ser_hf that a training starts from: its network, options and preparation.

The model is the parent of the new one. `weights.load_model` then loads its tensors.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..models import ARCHITECTURES, PooledEncoderConfig
from ..models.options import options_of
from ..models.preparation import PreparedFeatureExtractor
from ..utils.errors import UserError
from .checkpoint import Checkpoint, read_checkpoint
from .files import find_file

# Options that act in training only, or on predictions only: no weight depends on them. Options
# whose names end with "dropout" belong to them too.
_FREE_OPTIONS = frozenset(
    {
        "time_masks",
        "time_width",
        "band_masks",
        "band_width",
        "band_warp",
        "time_stretch",
        "mix_style",
        "test_speeds",
    }
)
_HEAD_KEYS = ("pooling", "head_layers", "head_dropout", "weighted_layer_sum")
_PREPARATION_KEYS = ("trim_silence", "level", "target_level", "fixed_duration")


@dataclasses.dataclass(frozen=True)
class Parent:
    """The keys of a recipe that a parent model decides.

    Args:
        source: the model folder or Hub id, for messages.
        architecture: the value of `model.architecture`.
        model: {key of the section `model`: value}.
        audio: {key of the section `audio`: value}.
    """

    source: str
    architecture: str
    model: dict[str, Any]
    audio: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class LabelMatch:
    """The labels of a new model, compared by name with those of its parent.

    Args:
        kept: labels whose rows of the last layer come from the parent.
        new: labels of the new model that the parent does not have; their rows are random.
        dropped: labels of the parent that the new model does not have.
    """

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]


def match_labels(parent_names: Sequence[str], labels: Sequence[str]) -> LabelMatch:
    """Compare the labels of a model with those of its parent.

    Args:
        parent_names: the names of the parent's outputs (see `output_names.output_names`).
        labels: the labels of the model, in the order of their ids.
    """
    return LabelMatch(
        kept=tuple(label for label in labels if label in parent_names),
        new=tuple(label for label in labels if label not in parent_names),
        dropped=tuple(name for name in parent_names if name not in labels),
    )


def model_source(source: str) -> str:
    """The model of a run's folder; any other folder, file or Hub id is unchanged.

    Raises:
        UserError: for the folder of a run that has no model.
    """
    folder = Path(source)
    if (folder / "config.json").is_file():
        return source
    model = folder / "model"
    if (model / "config.json").is_file():
        return str(model)
    if (folder / "recipe.yaml").is_file():
        raise UserError(
            f"model.checkpoint: {source} is a run without a finished model; finish it with --resume"
        )
    return source


def architecture_of(config: PreTrainedConfig) -> str:
    """The value of `model.architecture` for a configuration."""
    for name, network in ARCHITECTURES.items():
        if network.config_class.model_type == config.model_type:
            return name
    return "encoder"


def read_parent(source: str, revision: str | None = None) -> Parent:
    """Read the recipe keys that a model decides, without its weights.

    A checkpoint that no run of ser_hf wrote decides the architecture only.

    Raises:
        UserError: if the model does not exist or cannot be read.
    """
    source = model_source(source)
    checkpoint = read_checkpoint(source, revision)
    architecture = architecture_of(checkpoint.config)
    if architecture != "encoder":
        return Parent(
            source,
            architecture,
            model=_network_options(checkpoint.config),
            audio=_audio_keys(checkpoint.config, checkpoint.extractor),
        )
    if not is_documented(checkpoint):
        return Parent(source, architecture, model={}, audio={})
    return Parent(
        source,
        architecture,
        model=_head_keys(checkpoint.config),
        audio=_preparation_keys(checkpoint.extractor),
    )


def is_documented(checkpoint: Checkpoint) -> bool:
    """Whether ser_hf wrote a model: its network, its extractor or its report shows it."""
    return (
        checkpoint.config.model_type.startswith("ser_")
        or isinstance(checkpoint.extractor, PreparedFeatureExtractor)
        or find_file(checkpoint.source, "report.json", checkpoint.revision, required=False)
        is not None
    )


def _network_options(config: PreTrainedConfig) -> dict[str, Any]:
    """The options of a network of ser_hf, as a recipe writes them."""
    values = {}
    for name in options_of(type(config)):
        value = getattr(config, name)
        values[name] = list(value) if isinstance(value, tuple) else value
    values.pop("sampling_rate", None)
    return values


def _head_keys(config: PreTrainedConfig) -> dict[str, Any]:
    """The keys of the head on an encoder."""
    if isinstance(config, PooledEncoderConfig):
        return {key: getattr(config, key) for key in _HEAD_KEYS}
    if hasattr(config, "use_weighted_layer_sum"):
        return {"weighted_layer_sum": config.use_weighted_layer_sum}
    return {}


def _audio_keys(
    config: PreTrainedConfig, extractor: SequenceFeatureExtractor | None
) -> dict[str, Any]:
    """The keys of `audio` that a network of ser_hf decides."""
    keys = {"sampling_rate": config.sampling_rate, **_preparation_keys(extractor)}
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        keys["normalize"] = extractor.do_normalize
    return keys


def _preparation_keys(extractor: SequenceFeatureExtractor | None) -> dict[str, Any]:
    """The keys of `audio` for the preparation of clips; a stock extractor prepares nothing."""
    return {key: getattr(extractor, key, None) for key in _PREPARATION_KEYS}


def is_free(option: str) -> bool:
    """Whether a training may change an option of its parent's network."""
    return option in _FREE_OPTIONS or option.endswith("dropout")


def require_same_network(
    parent: Checkpoint, config: PreTrainedConfig, extractor: SequenceFeatureExtractor
) -> None:
    """Check that a network of ser_hf has the options of its parent.

    Raises:
        UserError: naming the first key of the recipe that differs, and the parent's value.
    """
    architecture = architecture_of(parent.config)
    if parent.config.model_type != config.model_type:
        raise UserError(
            f"model.architecture: {architecture_of(config)}, but {parent.source} is a model of "
            f"architecture {architecture}; leave it out"
        )
    if parent.config.sampling_rate != config.sampling_rate:
        raise _conflict(
            "audio.sampling_rate",
            config.sampling_rate,
            parent.source,
            parent.config.sampling_rate,
        )
    options = _network_options(config)
    for name, value in _network_options(parent.config).items():
        if options[name] != value and not is_free(name):
            raise _conflict(f"model.{name}", options[name], parent.source, value)
    if isinstance(parent.extractor, Wav2Vec2FeatureExtractor):
        normalize = parent.extractor.do_normalize
        if normalize != extractor.do_normalize:
            raise _conflict("audio.normalize", extractor.do_normalize, parent.source, normalize)


def _conflict(key: str, value: Any, source: str, parent_value: Any) -> UserError:
    """The error for a key of the recipe that differs from the parent."""
    return UserError(
        f"{key}: {_yaml(value)}, but {source} was trained with {_yaml(parent_value)}; leave it out"
    )


def _yaml(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
