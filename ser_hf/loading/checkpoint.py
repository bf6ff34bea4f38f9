"""Reads the configuration and the extractor of a checkpoint, and applies the recipe's settings."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    PreTrainedConfig,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING

from ..models import PooledEncoderConfig
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..utils.errors import UserError
from .data_only import data_only
from .encoders import (
    ENCODERS,
    check_extractor,
    encoder_config,
    encoder_entry,
    layerdrop_key,
    normalizes,
    shorten_window,
)
from .files import first_line
from .published_start import published_head_options, read_named_encoder

logger = logging.getLogger(__name__)

# Exceptions that configurations, extractors and layers raise for invalid or inconsistent settings.
INVALID = (
    OSError,
    StrictDataclassError,
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
)

# Layers with larger numbers would take hours to build, or would not fit into memory.
_MOST_LAYERS = 100
_MOST = 1_000_000


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The configuration of a checkpoint, and its feature extractor if it has one.

    `source` is the Hub id or folder. `revision` is the commit on the Hub, None for a folder.
    """

    source: str
    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor | None
    revision: str | None


@dataclasses.dataclass(frozen=True)
class Head:
    """Settings of the classifier on an encoder.

    Any setting except `weighted_layer_sum` selects the head of ser_hf, not that of transformers.
    """

    pooling: str | None = None
    head_layers: tuple[int, ...] = ()
    head_dropout: float = 0.0
    weighted_layer_sum: bool = False

    @property
    def has_layers(self) -> bool:
        """Whether the layers are set, so that no head of a checkpoint is kept in their place."""
        return bool(self.pooling or self.head_layers)

    @property
    def settings(self) -> dict[str, str | list[int] | float]:
        """The settings that select the head of ser_hf and have a value, by their recipe keys."""
        settings: dict[str, str | list[int] | float] = {}
        if self.pooling:
            settings["pooling"] = self.pooling
        if self.head_layers:
            settings["head_layers"] = list(self.head_layers)
        if self.head_dropout:
            settings["head_dropout"] = self.head_dropout
        return settings


def read_checkpoint(source: str, revision: str | None) -> Checkpoint:
    """Read the configuration and the feature extractor of a checkpoint (folder or Hub id).

    Raises:
        UserError: if the checkpoint does not exist or cannot be read, or if transformers has no
            audio classifier for its model type.
    """
    if revision is not None and Path(source).exists():
        raise UserError(
            f"model.revision: {source} is a folder, which has no revisions; leave it out"
        )
    is_path = (
        source.startswith((".", "/", "~")) or source.count("/") > 1 or Path(source).is_absolute()
    )
    if is_path and not Path(source).is_dir():
        raise UserError(f"model.checkpoint: no such folder: {source}")

    named = read_named_encoder(source, revision)
    if named is not None:
        return Checkpoint(source, named.config, named.extractor, named.revision)

    where = f"model.checkpoint: {source}"
    extractor = None
    try:
        with data_only(source, where=where, revision=revision, weights=False) as copy:
            config = AutoConfig.from_pretrained(copy.folder, trust_remote_code=False)
            if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
                raise UserError(
                    "model.checkpoint: no audio classifier in transformers for "
                    f"{config.model_type} ({source})"
                )
            if Path(copy.folder, "preprocessor_config.json").is_file():
                where = f"model.checkpoint: feature extractor of {source}"
                extractor = AutoFeatureExtractor.from_pretrained(
                    copy.folder, trust_remote_code=False
                )
    except UserError:
        raise
    except INVALID as error:
        raise UserError(f"{where}: {first_line(error)}") from None
    return Checkpoint(source, config, extractor, copy.commit)


def with_published_head(checkpoint: Checkpoint, sampling_rate: int) -> Checkpoint:
    """The checkpoint with the head of its classifier as a head of ser_hf.

    A checkpoint is returned unchanged if its classifier is that of transformers, or if ser_hf does
    not have its head (see `published_start`).
    """
    config = checkpoint.config
    if config.model_type not in ENCODERS:
        return checkpoint
    options = published_head_options(checkpoint.source, checkpoint.revision)
    if options is None:
        return checkpoint
    labels = config.id2label
    pooled = _with_pooled_head(config, options, sampling_rate)
    pooled.id2label = labels
    pooled.label2id = {name: i for i, name in labels.items()}
    return dataclasses.replace(checkpoint, config=pooled)


def with_head(checkpoint: Checkpoint, head: Head, sampling_rate: int) -> PreTrainedConfig:
    """The configuration of the classifier: the stock one, or ours if `head` selects it.

    A checkpoint that has our head keeps this head; only the layer sum and dropout may change.

    Raises:
        UserError: for settings that do not fit the checkpoint.
    """
    config = checkpoint.config
    if isinstance(config, PooledEncoderConfig):
        return _with_existing_pooled_head(config, checkpoint.source, head)

    if config.model_type not in ENCODERS:
        keys = list(head.settings)
        if head.weighted_layer_sum:
            keys.append("weighted_layer_sum")
        if keys:
            raise UserError(
                f"model.{keys[0]}: {checkpoint.source} ({config.model_type}) is not a speech "
                "encoder; leave it out"
            )
        return config

    if head.settings:
        return _with_new_pooled_head(config, checkpoint.source, head, sampling_rate)
    return _with_stock_head(config, checkpoint.source, head)


def _with_existing_pooled_head(
    config: PooledEncoderConfig, source: str, head: Head
) -> PooledEncoderConfig:
    """The configuration of a checkpoint that already has our head."""
    settings = head.settings
    for key in ("pooling", "head_layers"):
        present = getattr(config, key)
        if settings.get(key, present) != present:
            raise UserError(
                f"model.{key}: the head of {source} has {present}, which is kept; leave it out"
            )
    config.head_dropout = settings.get("head_dropout", config.head_dropout)
    config.weighted_layer_sum = head.weighted_layer_sum
    return config


def _with_new_pooled_head(
    config: PreTrainedConfig, source: str, head: Head, sampling_rate: int
) -> PooledEncoderConfig:
    """The configuration of an encoder with a new head of ser_hf."""
    if head.weighted_layer_sum:
        _without_layerdrop(config, source)
    options = {**head.settings, "weighted_layer_sum": head.weighted_layer_sum}
    return _with_pooled_head(config, options, sampling_rate)


def _with_pooled_head(
    config: PreTrainedConfig, options: dict[str, Any], sampling_rate: int
) -> PooledEncoderConfig:
    """The configuration of a head of ser_hf on an encoder, whose `config` is changed."""
    # Remove the settings of the checkpoint's old head, which would be published with the new one.
    config.num_labels = 2
    config.architectures = None
    if hasattr(config, "use_weighted_layer_sum"):
        config.use_weighted_layer_sum = False
    try:
        return PooledEncoderConfig(encoder=config, sampling_rate=sampling_rate, **options)
    except ValueError as error:
        raise UserError(f"model.{error}") from None


def _with_stock_head(config: PreTrainedConfig, source: str, head: Head) -> PreTrainedConfig:
    """The configuration of the classifier of transformers.

    Some encoders have a layer norm after their last layer. The layer sum of transformers 4
    includes this norm, and that of version 5 does not, so a layer sum on these encoders needs
    our head.
    """
    has_sum = hasattr(config, "use_weighted_layer_sum")
    sum_is_stable = has_sum and "encoder.layer_norm" not in encoder_entry(config).above
    if head.weighted_layer_sum and not sum_is_stable:
        raise UserError(
            f"model.weighted_layer_sum: for {source} set model.pooling too, such as mean"
        )
    if has_sum:
        config.use_weighted_layer_sum = head.weighted_layer_sum
    return config


def set_options(config: PreTrainedConfig, source: str, options: dict[str, Any]) -> None:
    """Set `options` in the encoder's configuration, and set the weights to float32.

    Raises:
        UserError: for an unknown key or a value that is out of range.
    """
    encoder = encoder_config(config)
    keys = {field.name for field in dataclasses.fields(encoder)}
    keys |= {*encoder.to_dict(), *encoder.attribute_map}
    for key, value in options.items():
        if key not in keys or key.startswith("_"):
            raise UserError(
                f"model.{key}: the configuration of {source} ({encoder.model_type}) has no such key"
            )
        _check_option(key, value)
        try:
            setattr(encoder, key, value)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise UserError(f"model.{key}: {error}") from None
    encoder.dtype = torch.float32
    config.dtype = torch.float32

    sums_layers = getattr(config, "weighted_layer_sum", False) or getattr(
        config, "use_weighted_layer_sum", False
    )
    if sums_layers:
        layerdrop = layerdrop_key(encoder)
        if layerdrop in options:
            raise UserError(
                f"model.{layerdrop}: leaves out layers that model.weighted_layer_sum sums; "
                "set it to 0"
            )
        _without_layerdrop(encoder, source)


def _check_option(key: str, value: Any) -> None:
    """Refuse a value that no encoder can have."""
    if key == "use_weighted_layer_sum" and value:
        raise UserError(
            f"model.{key}: use model.weighted_layer_sum instead, which works with every head"
        )
    most = _MOST_LAYERS if key.endswith("_layers") else _MOST
    numbers = np.ravel(value).tolist()
    if any(isinstance(number, int) and abs(number) > most for number in numbers):
        raise UserError(f"model.{key}: expected at most {most:,}, got {value}")
    is_share = key.endswith("_prob") or "drop" in key
    if is_share and isinstance(value, int | float) and not 0 <= value <= 1:
        raise UserError(f"model.{key}: expected a probability, 0 to 1, got {value}")


def _without_layerdrop(encoder: PreTrainedConfig, source: str) -> None:
    """Set layerdrop to 0: a sum over layers needs every layer in every step."""
    key = layerdrop_key(encoder)
    if key:
        logger.info(
            "%s: %s (%g) is set to 0, because the layer sum needs all layers",
            source,
            key,
            getattr(encoder, key),
        )
        setattr(encoder, key, 0.0)


def waveform_extractor(sampling_rate: int, normalize: bool) -> Wav2Vec2FeatureExtractor:
    """A feature extractor that only pads waveforms and returns a mask.

    With `normalize` it also standardizes each clip.
    """
    return Wav2Vec2FeatureExtractor(
        sampling_rate=sampling_rate,
        padding_value=0.0,
        do_normalize=normalize,
        return_attention_mask=True,
    )


def configure_extractor(
    checkpoint: Checkpoint,
    config: PreTrainedConfig,
    *,
    sampling_rate: int,
    normalize: bool | None,
    window: int | None,
    preparation: Preparation,
) -> SequenceFeatureExtractor:
    """The checkpoint's feature extractor with the settings of the recipe (see `blueprint`).

    Raises:
        UserError: naming the key of `audio` or `model` that does not fit the extractor.
    """
    source = checkpoint.source
    extractor = _stock_extractor(checkpoint, config, sampling_rate)
    if window is not None:
        shorten_window(config, extractor, window)
    if extractor.sampling_rate != sampling_rate:
        raise UserError(
            f"audio.sampling_rate: {source} expects {extractor.sampling_rate} Hz, "
            f"not {sampling_rate}"
        )
    if normalize is not None:
        if not isinstance(extractor, Wav2Vec2FeatureExtractor):
            raise UserError(
                f"audio.normalize: {type(extractor).__name__} of {source} has no normalization; "
                "leave it out"
            )
        extractor.do_normalize = normalize
    if isinstance(extractor, PreparedFeatureExtractor):
        extractor = _without_preparation(extractor, source, preparation)
    if preparation.active and not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise UserError(
            f"audio: {type(extractor).__name__} of {source} prepares waveforms itself; "
            "leave out trim_silence, level and fixed_duration"
        )
    return extractor


def _stock_extractor(
    checkpoint: Checkpoint, config: PreTrainedConfig, sampling_rate: int
) -> SequenceFeatureExtractor:
    """The checkpoint's extractor, or a plain waveform extractor if the checkpoint has none.

    The extractor returns a mask if the head or the encoder uses it.
    """
    extractor = checkpoint.extractor
    classifier = MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[type(encoder_config(config))]
    if extractor is not None:
        check_extractor(config, extractor, checkpoint.source)
    elif classifier.main_input_name == "input_values":
        logger.info(
            "%s has no feature extractor; waveforms are passed on unchanged", checkpoint.source
        )
        extractor = waveform_extractor(sampling_rate, normalize=False)
    else:
        raise UserError(
            f"model.checkpoint: {checkpoint.source} has no preprocessor_config.json "
            f"for {config.model_type}"
        )

    if isinstance(config, PooledEncoderConfig):
        # The head uses the mask: it pools the frames of the clip, not those of the padding.
        if isinstance(extractor, Wav2Vec2FeatureExtractor | WhisperFeatureExtractor):
            extractor.return_attention_mask = True
    elif isinstance(extractor, Wav2Vec2FeatureExtractor):
        extractor.return_attention_mask = not normalizes(config)
    return extractor


def _without_preparation(
    extractor: PreparedFeatureExtractor, source: str, preparation: Preparation
) -> SequenceFeatureExtractor:
    """The extractor of a model of ser_hf, without preparation.

    In a training, the waveform store holds waveforms that are prepared already.
    """
    if extractor.functionals:
        raise UserError(
            f"model.checkpoint: {source} takes functionals; set model.architecture to train one"
        )
    _warn_of_other_preparation(extractor, source, preparation)
    return extractor.stock()


def warn_of_preparation(checkpoint: Checkpoint, preparation: Preparation) -> None:
    """Log a warning if a model of ser_hf was trained on clips that were prepared in another way."""
    extractor = checkpoint.extractor
    if isinstance(extractor, PreparedFeatureExtractor):
        _warn_of_other_preparation(extractor, checkpoint.source, preparation)


def _warn_of_other_preparation(
    extractor: PreparedFeatureExtractor, source: str, preparation: Preparation
) -> None:
    if extractor.preparation != preparation:
        logger.warning(
            "%s was trained on waveforms prepared in another way (%s) than in the recipe's "
            "audio section",
            source,
            extractor.preparation,
        )
