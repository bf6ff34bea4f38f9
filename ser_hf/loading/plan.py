"""Model and feature extractor of a recipe: our own networks, or any checkpoint of a speech encoder."""

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING

from ..models import ARCHITECTURES, TRANSFERRED, PooledEncoderConfig
from ..models.configuration import RANGES_KEY
from ..models.preparation import UNPREPARED, Preparation, PreparedFeatureExtractor
from ..utils.environment import usable_memory
from ..utils.errors import UserError
from .data_only import data_only
from .encoders import (
    ENCODERS,
    check_extractor,
    encoder_config,
    encoder_facts,
    layerdrop_key,
    longest_clip,
    mask_valid,
    normalizes,
    shorten_window,
    shortest_clip,
)
from .files import first_line
from .published import load_published

logger = logging.getLogger(__name__)

_LABELS = "the labels of the corpus decide"
_CHECKPOINT = "model.checkpoint decides"
_TRAINING = "training decides; leave it out"
# Keys of a configuration that something else decides, and what.
MANAGED = {
    **dict.fromkeys(("num_labels", "id2label", "label2id"), _LABELS),
    **dict.fromkeys(("dtype", "torch_dtype"), "weights are in float32; use training.precision"),
    **dict.fromkeys(("model_type", "architectures", "transformers_version"), _CHECKPOINT),
    **dict.fromkeys(
        ("problem_type", "return_dict", "output_hidden_states", "output_attentions"), _TRAINING
    ),
    "sampling_rate": "audio.sampling_rate decides",
}

# What configurations, extractors and layers raise for settings that are invalid or do not fit each
# other.
_INVALID = (
    OSError,
    StrictDataclassError,
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    ArithmeticError,
)
_INVALID += (AttributeError, ImportError)


def set_options(config: PreTrainedConfig, checkpoint: str, options: dict[str, Any]) -> None:
    """Set options of the encoder's configuration, and float32."""
    encoder = encoder_config(config)
    known = {field.name for field in dataclasses.fields(encoder)} | {
        *encoder.to_dict(),
        *encoder.attribute_map,
    }
    for key, value in options.items():
        if key not in known or key.startswith("_"):
            raise UserError(
                f"model.{key}: the configuration of {checkpoint} ({encoder.model_type}) has no such key"
            )
        if key == "use_weighted_layer_sum" and value:
            raise UserError(
                f"model.{key}: use model.weighted_layer_sum instead, which works with every head"
            )
        most = 100 if key.endswith("_layers") else 1_000_000
        if any(
            isinstance(number, int) and abs(number) > most for number in np.ravel(value).tolist()
        ):
            raise UserError(f"model.{key}: expected at most {most:,}, got {value}")
        share = key.endswith("_prob") or "drop" in key
        if share and isinstance(value, int | float) and not 0 <= value <= 1:
            raise UserError(f"model.{key}: expected a probability, 0 to 1, got {value}")
        try:
            setattr(encoder, key, value)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise UserError(f"model.{key}: {error}") from None
    config.dtype = encoder.dtype = torch.float32
    if getattr(config, "weighted_layer_sum", False) or getattr(
        config, "use_weighted_layer_sum", False
    ):
        if (key := layerdrop_key(encoder)) in options:
            raise UserError(
                f"model.{key}: leaves out layers that model.weighted_layer_sum sums; set it to 0"
            )
        _without_layerdrop(encoder, checkpoint)


def _without_layerdrop(encoder: PreTrainedConfig, checkpoint: str) -> None:
    if key := layerdrop_key(encoder):
        logger.info(
            "%s: %s (%g) is set to 0, because the layer sum needs all layers",
            checkpoint,
            key,
            getattr(encoder, key),
        )
        setattr(encoder, key, 0.0)


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Everything about a model but its weights, whose source is `checkpoint`: Hub id (with the
    commit `revision`), folder, or file of a transferred network. A classifier without gradient
    (support vector machines, a forest) needs scikit-learn."""

    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor
    checkpoint: str | None
    random_init: bool
    preparation: Preparation = UNPREPARED
    attention: str | None = None
    revision: str | None = None
    gradient_free_head: bool = False

    @property
    def published_extractor(self) -> SequenceFeatureExtractor:
        """The extractor to publish with the model, which prepares raw clips as the training clips
        were.
        """
        if not self.preparation.active:
            return self.extractor
        return PreparedFeatureExtractor.from_stock(self.extractor, self.preparation)

    @property
    def padding_safe(self) -> bool:
        """Whether a padded clip gets the same logits as alone. Others are evaluated in batches of
        equal length.
        """
        return self.encoder_config is None or mask_valid(self.encoder_config)

    @property
    def encoder_config(self) -> PreTrainedConfig | None:
        """The configuration of the transformers encoder; None for networks without one."""
        config = encoder_config(self.config)
        return config if config.model_type in ENCODERS else None

    @property
    def longest_clip(self) -> int | None:
        """Samples beyond which the extractor would cut a clip; None without a limit."""
        return (
            None
            if self.encoder_config is None
            else longest_clip(self.encoder_config, self.extractor)
        )

    @property
    def shortest_clip(self) -> int:
        """Samples below which silence is added to a clip."""
        return 0 if self.encoder_config is None else shortest_clip(self.encoder_config)

    @property
    def remote_code(self) -> bool:
        """Whether the saved model needs `trust_remote_code` where ser_hf is not installed."""
        return self.config.model_type not in ENCODERS or self.preparation.active


def blueprint(
    architecture: str,
    labels: list[str],
    *,
    sampling_rate: int = 16000,
    normalize: bool | None = None,
    checkpoint: str | None = None,
    random_init: bool = False,
    weighted_layer_sum: bool = False,
    pooling: str | None = None,
    head_layers: Sequence[int] = (),
    head_dropout: float = 0.0,
    attention: str | None = None,
    revision: str | None = None,
    window: int | None = None,
    preparation: Preparation = UNPREPARED,
    problem_type: str | None = None,
    ranges: Mapping[str, Sequence[float]] | None = None,
    options: dict[str, Any] | None = None,
) -> Blueprint:
    """Configuration and feature extractor of a model, from the keys of a recipe.

    Args:
        architecture: a key of `ser_hf.models.ARCHITECTURES`, or ``"encoder"`` for `checkpoint`.
        normalize: None for the checkpoint's setting.
        checkpoint: Hub id or folder of a speech encoder or our model, or a file of published
            weights.
        revision: of a checkpoint on the Hub: a branch, tag or commit.
        window: seconds to which the input of Whisper is shortened.
        problem_type: of the configuration, see `ser_hf.evaluation.tasks`.
        ranges: of the ratings of each dimension, [lowest, highest]; published as `target_ranges`.
        options: values of the (encoder's) configuration.

    Raises:
        UserError: naming the key of `model` or `audio` that is wrong or does not fit the
            checkpoint.
    """
    names = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    own_head = {"pooling": pooling, "head_layers": list(head_layers), "head_dropout": head_dropout}
    own_head = {key: value for key, value in own_head.items() if value}
    options = dict(options or {})
    for key in options.keys() & MANAGED.keys():
        raise UserError(f"model.{key}: {MANAGED[key]}")
    if architecture != "encoder":
        for key in own_head:
            raise UserError(f"model.{key}: belongs to architecture encoder, not to {architecture}")
        config, model = plan_network(architecture, sampling_rate, options, **names)
        extractor = _extractor(sampling_rate, bool(normalize))
        if architecture not in TRANSFERRED:
            checkpoint = None
            random_init = True
        elif not random_init and not Path(checkpoint or "").is_file():
            load_published(model, checkpoint)  # raises, naming the source of the file
        gradient_free = not any(
            parameter.requires_grad for parameter in model.classifier.parameters()
        )
        _set_task(config, problem_type, ranges)
        return Blueprint(
            config,
            extractor,
            checkpoint,
            random_init,
            preparation,
            gradient_free_head=gradient_free,
        )

    if revision is not None and Path(checkpoint).exists():
        raise UserError(
            f"model.revision: {checkpoint} is a folder, which has no revisions; leave it out"
        )
    config, own_extractor, revision = _read_checkpoint(checkpoint, revision)
    config = _with_head(config, checkpoint, sampling_rate, weighted_layer_sum, own_head)
    config.id2label = names["id2label"]
    config.label2id = names["label2id"]
    _set_task(config, problem_type, ranges)
    set_options(config, checkpoint, options)
    try:  # to find invalid settings
        encoder_config(config).validate()
        with torch.device("meta"):
            network = AutoModelForAudioClassification.from_config(copy.deepcopy(config))
    except _INVALID as error:
        raise UserError(f"model: {type(error).__name__}: {error}") from None
    _require_memory(network, copies=1)
    extractor = _checkpoint_extractor(own_extractor, checkpoint, config, sampling_rate)
    if window is not None:
        shorten_window(config, extractor, window)
    if extractor.sampling_rate != sampling_rate:
        raise UserError(
            f"audio.sampling_rate: {checkpoint} expects {extractor.sampling_rate} Hz, not {sampling_rate}"
        )
    if normalize is not None:
        if not isinstance(extractor, Wav2Vec2FeatureExtractor):
            raise UserError(
                f"audio.normalize: {type(extractor).__name__} of {checkpoint} has no normalization; leave it out"
            )
        extractor.do_normalize = normalize
    if isinstance(extractor, PreparedFeatureExtractor):
        if extractor.functionals:
            raise UserError(
                f"model.checkpoint: {checkpoint} takes functionals; set model.architecture to train one"
            )
        if extractor.preparation != preparation:
            logger.warning(
                "%s was trained on waveforms prepared in another way (%s) than in the recipe's audio section",
                *(checkpoint, extractor.preparation),
            )
        extractor = extractor.stock()
    if preparation.active and not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise UserError(
            f"audio: {type(extractor).__name__} of {checkpoint} prepares waveforms itself; leave out trim_silence, "
            "level and fixed_duration"
        )
    gradient_free = not any(
        parameter.requires_grad for parameter in network.classifier.parameters()
    )
    return Blueprint(
        config, extractor, checkpoint, random_init, preparation, attention, revision, gradient_free
    )


def _set_task(
    config: PreTrainedConfig, problem_type: str | None, ranges: Mapping[str, Sequence[float]] | None
) -> None:
    """Set what `pipeline` reads of the task; a checkpoint's `problem_type` describes its old
    labels.
    """
    config.problem_type = problem_type
    vars(config).pop(RANGES_KEY, None)
    if ranges:
        setattr(config, RANGES_KEY, {name: list(bounds) for name, bounds in ranges.items()})


def plan_network(
    architecture: str, sampling_rate: int, options: dict[str, Any], **names: Any
) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """The configuration of a network of ser_hf, and its layers without their memory.

    Raises:
        UserError: naming the key of a wrong setting, or for more parameters than the machine can
            train.
    """
    try:
        config = ARCHITECTURES[architecture].config_class(
            sampling_rate=sampling_rate, **options, **names
        )
    except ValueError as error:
        raise UserError(
            f"{'audio' if str(error).startswith('sampling_rate') else 'model'}.{error}"
        ) from None
    try:
        with torch.device("meta"):
            model = ARCHITECTURES[architecture](copy.deepcopy(config))
    except (ValueError, RuntimeError, IndexError, ArithmeticError) as error:
        raise UserError(f"model: {error}") from None
    _require_memory(model, copies=4)  # weights, gradients and two moments
    return config, model


def _require_memory(model: PreTrainedModel, copies: int) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    memory = usable_memory()
    if 4 * copies * parameters > memory:
        raise UserError(
            f"model: {parameters:,} parameters take {4 * copies * parameters / 1e9:,.0f} GB, and this machine has "
            f"{memory / 1e9:,.0f} GB; use smaller layers"
        )


def _with_head(
    config: PreTrainedConfig,
    checkpoint: str,
    sampling_rate: int,
    weighted_layer_sum: bool,
    own_head: dict[str, Any],
) -> PreTrainedConfig:
    """The configuration of the stock classifier, or of our head if any of its settings is given.

    A checkpoint with our head keeps it, but for a sum of layers and dropout. The stock sum leaves
    out the norm that some encoders have after their last layer in transformers 5, and has it in
    version 4, so these need our head.
    """
    if isinstance(config, PooledEncoderConfig):
        for key in ("pooling", "head_layers"):
            has = getattr(config, key)
            if own_head.get(key, has) != has:
                raise UserError(
                    f"model.{key}: the head of {checkpoint} has {has}, which is kept; leave it out"
                )
        config.head_dropout = own_head.get("head_dropout", config.head_dropout)
        config.weighted_layer_sum = weighted_layer_sum
    elif config.model_type not in ENCODERS:
        for key in [*own_head, *(["weighted_layer_sum"] if weighted_layer_sum else [])]:
            raise UserError(
                f"model.{key}: {checkpoint} ({config.model_type}) is not a speech encoder; leave it out"
            )
    elif own_head:
        # What is left of a head that it had would be published with ours.
        config.num_labels = 2
        config.architectures = None
        if hasattr(config, "use_weighted_layer_sum"):
            config.use_weighted_layer_sum = False
        if weighted_layer_sum:
            _without_layerdrop(config, checkpoint)
        try:
            return PooledEncoderConfig(
                encoder=config,
                weighted_layer_sum=weighted_layer_sum,
                sampling_rate=sampling_rate,
                **own_head,
            )
        except ValueError as error:
            raise UserError(f"model.{error}") from None
    else:
        known = hasattr(config, "use_weighted_layer_sum")
        if weighted_layer_sum and not (
            known and "encoder.layer_norm" not in encoder_facts(config).above
        ):
            raise UserError(
                f"model.weighted_layer_sum: for {checkpoint} set model.pooling too, such as mean"
            )
        if known:
            config.use_weighted_layer_sum = weighted_layer_sum
    return config


def _extractor(sampling_rate: int, normalize: bool) -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(
        sampling_rate=sampling_rate,
        padding_value=0.0,
        do_normalize=normalize,
        return_attention_mask=True,
    )


def _read_checkpoint(
    checkpoint: str, revision: str | None
) -> tuple[PreTrainedConfig, SequenceFeatureExtractor | None, str | None]:
    """The configuration of a checkpoint, its extractor if it has one, and its commit on the Hub."""
    is_path = (
        checkpoint.startswith((".", "/", "~"))
        or checkpoint.count("/") > 1
        or Path(checkpoint).is_absolute()
    )
    if is_path and not Path(checkpoint).is_dir():
        raise UserError(f"model.checkpoint: no such folder: {checkpoint}")
    where = f"model.checkpoint: {checkpoint}"
    extractor = None
    try:
        with data_only(checkpoint, where=where, revision=revision, weights=False) as (
            folder,
            commit,
            _,
        ):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
                raise UserError(
                    f"model.checkpoint: no audio classifier in transformers for {config.model_type} ({checkpoint})"
                )
            if Path(folder, "preprocessor_config.json").is_file():
                where = f"model.checkpoint: feature extractor of {checkpoint}"
                extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
    except UserError:
        raise
    except _INVALID as error:
        raise UserError(f"{where}: {first_line(error)}") from None
    return config, extractor, commit


def _checkpoint_extractor(
    extractor: SequenceFeatureExtractor | None,
    checkpoint: str,
    config: PreTrainedConfig,
    sampling_rate: int,
) -> SequenceFeatureExtractor:
    """The checkpoint's extractor (or a stock one without any), returning a mask where that is
    useful.
    """
    if extractor is not None:
        check_extractor(config, extractor, checkpoint)
    elif (
        MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[type(encoder_config(config))].main_input_name
        == "input_values"
    ):
        logger.info("%s has no feature extractor; waveforms are passed on unchanged", checkpoint)
        extractor = _extractor(sampling_rate, normalize=False)
    else:
        raise UserError(
            f"model.checkpoint: {checkpoint} has no preprocessor_config.json for {config.model_type}"
        )
    if isinstance(config, PooledEncoderConfig):
        # For the head, which pools real frames only.
        if isinstance(extractor, Wav2Vec2FeatureExtractor | WhisperFeatureExtractor):
            extractor.return_attention_mask = True
    elif isinstance(extractor, Wav2Vec2FeatureExtractor):
        extractor.return_attention_mask = not normalizes(config)
    return extractor
