"""From a recipe's words to a model and its feature extractor: our own networks, or any classification checkpoint."""

import copy
import dataclasses
import logging
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING
from transformers.utils import cached_file

from ..errors import UserError
from ..models import ARCHITECTURES
from ..models.feature_extraction_prepared import PreparedFeatureExtractor
from ..models.waveform_preparation import Preparation

logger = logging.getLogger(__name__)

UNPREPARED = Preparation()


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Everything about a model but its weights, so that mistakes show before any audio is touched."""

    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor
    checkpoint: str | None
    random_init: bool
    preparation: Preparation = UNPREPARED
    attention: str | None = None

    @property
    def published_extractor(self) -> SequenceFeatureExtractor:
        """The extractor that goes with the model: it prepares raw clips as those that the model learnt from were."""
        if not self.preparation.active:
            return self.extractor
        return PreparedFeatureExtractor.from_stock(self.extractor, self.preparation)

    @property
    def padding_safe(self) -> bool:
        """Whether a padded clip gets the logits it gets alone.

        Group normalisation over time (wav2vec2-base and kin) sees the padding even where a mask is given; such
        models were trained without a mask and are judged one clip at a time.
        """
        return getattr(self.config, "feat_extract_norm", "layer") != "group"


def blueprint(
    architecture: str,
    labels: list[str],
    *,
    sampling_rate: int = 16000,
    normalize: bool | None = None,
    checkpoint: str | None = None,
    random_init: bool = False,
    weighted_layer_sum: bool = False,
    attention: str | None = None,
    preparation: Preparation = UNPREPARED,
    options: dict[str, Any] | None = None,
) -> Blueprint:
    """Configuration and feature extractor of a model.

    Args:
        architecture: a key of `ser_hf.models.ARCHITECTURES`, or ``"encoder"`` for `checkpoint`.
        labels: class names in the order of their ids.
        normalize: zero mean and unit variance of each waveform; None is the checkpoint's habit, off for our networks.
        checkpoint: Hub id or folder of a transformers speech encoder.
        random_init: take the checkpoint's configuration only, and start from random weights.
        weighted_layer_sum: classify a learnt mean of all the encoder's layers in place of the last one.
        attention: how an encoder computes it (``eager``, ``sdpa``, ``flash_attention_2``); None leaves the choice.
        preparation: what was done to the waveforms that the model is to hear.
        options: configuration values by name.

    Raises:
        UserError: naming the recipe key.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    if architecture != "encoder":
        try:
            config = ARCHITECTURES[architecture].config_class(sampling_rate=sampling_rate, **(options or {}), **names)
            with torch.device("meta"):  # the layers' own complaints, without their memory
                ARCHITECTURES[architecture](copy.deepcopy(config))
        except (ValueError, RuntimeError, IndexError, ArithmeticError) as error:
            raise UserError(f"model: {error}") from None
        return Blueprint(config, _extractor(sampling_rate, bool(normalize)), None, True, preparation)

    config = _checkpoint_config(checkpoint)
    options = dict(options or {})
    if weighted_layer_sum:
        options["use_weighted_layer_sum"] = True
    for key, value in options.items():
        if not hasattr(config, key):
            raise UserError(f"model.{key}: the configuration of {checkpoint} ({config.model_type}) has no such key")
        try:
            setattr(config, key, value)
        except (TypeError, ValueError) as error:
            raise UserError(f"model.{key}: {' '.join(str(error).split())}") from None
    config.id2label, config.label2id = names["id2label"], names["label2id"]
    extractor = _checkpoint_extractor(checkpoint, config, sampling_rate)
    if extractor.sampling_rate != sampling_rate:
        raise UserError(
            f"audio.sampling_rate: {checkpoint} expects {extractor.sampling_rate} Hz, the recipe says {sampling_rate}"
        )
    if normalize is not None:
        extractor.do_normalize = normalize
    if isinstance(extractor, PreparedFeatureExtractor):
        if extractor.preparation != preparation:
            logger.warning(
                "%s learnt from waveforms prepared otherwise (%s) than the recipe's audio section says",
                *(checkpoint, extractor.preparation),
            )
        extractor = extractor.stock()
    if preparation.active and not isinstance(extractor, Wav2Vec2FeatureExtractor):
        raise UserError(
            f"audio: {checkpoint} has a feature extractor of its own ({type(extractor).__name__}) that prepares "
            "waveforms in its own way; leave out trim_silence, level and fixed_duration"
        )
    return Blueprint(config, extractor, checkpoint, random_init, preparation, attention)


def _extractor(sampling_rate: int, normalize: bool, mask: bool = True) -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=sampling_rate,
        padding_value=0.0,
        do_normalize=normalize,
        return_attention_mask=mask,
    )


def _checkpoint_config(checkpoint: str) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(f"model.checkpoint: {checkpoint} cannot be loaded: {_first_line(error)}") from None
    if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
        raise UserError(
            f"model.checkpoint: no audio classifier in transformers for {config.model_type} ({checkpoint})"
        )
    return config


def _checkpoint_extractor(checkpoint: str, config: PreTrainedConfig, sampling_rate: int) -> SequenceFeatureExtractor:
    """The checkpoint's own extractor (or the stock one where it has none), its mask switched on where it is valid."""
    if _has_extractor(checkpoint):
        try:
            extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
        except (OSError, ValueError, HfHubHTTPError) as error:
            raise UserError(f"model.checkpoint: feature extractor of {checkpoint}: {_first_line(error)}") from None
    elif _main_input(config) == "input_values":
        logger.info("%s has no feature extractor; waveforms are given as they are", checkpoint)
        extractor = _extractor(sampling_rate, normalize=False)
    else:
        raise UserError(
            f"model.checkpoint: {checkpoint} has no feature extractor (preprocessor_config.json), and "
            f"{config.model_type} needs one of its own"
        )
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        extractor.return_attention_mask = getattr(config, "feat_extract_norm", "layer") != "group"
    return extractor


def _has_extractor(checkpoint: str) -> bool:
    """Whether the checkpoint comes with one: a file that cannot be fetched is not one that is not there."""
    try:
        found = cached_file(checkpoint, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(f"model.checkpoint: {checkpoint} cannot be loaded: {_first_line(error)}") from None
    return found is not None


def _main_input(config: PreTrainedConfig) -> str:
    return MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING[type(config)].main_input_name


def build_model(plan: Blueprint) -> PreTrainedModel:
    """The model of a blueprint. Random weights follow torch's seed, so seed first.

    Raises:
        UserError: if any tensor but the classification head would start from random numbers unasked.
    """
    attention = {} if plan.attention is None else {"attn_implementation": plan.attention}
    try:
        if plan.random_init:
            return AutoModelForAudioClassification.from_config(plan.config, **attention)
        model, info = AutoModelForAudioClassification.from_pretrained(
            plan.checkpoint, config=plan.config, ignore_mismatched_sizes=True, output_loading_info=True, **attention
        )
    except (ValueError, ImportError) as error:
        if not attention:
            raise
        raise UserError(f"model.attention: {' '.join(str(error).split())}") from None
    except (OSError, SafetensorError, HfHubHTTPError) as error:
        raise UserError(f"model.checkpoint: weights of {plan.checkpoint}: {_first_line(error)}") from None
    _check_loading(model, plan.checkpoint, info)
    if "layer_weights" in info["missing_keys"]:
        # transformers initialises modules, and this parameter belongs to none: it would stay uninitialised memory
        # (values of 1e21 were seen), and the weighted sum would be one arbitrary layer or NaN.
        model.layer_weights.data.fill_(1 / len(model.layer_weights))
    return model


def _check_loading(model: PreTrainedModel, checkpoint: str, info: dict[str, Any]) -> None:
    """A fresh head is expected; a backbone tensor that did not load, or was left over, is a different architecture."""
    backbone = model.base_model_prefix + "."
    # A checkpoint saved without a head names its tensors without the prefix.
    children = {name for name, _ in model.base_model.named_children()}
    mismatched = [item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]]
    missing = [key for key in [*info["missing_keys"], *mismatched] if key.startswith(backbone)]
    left_over = [key for key in info["unexpected_keys"] if key.removeprefix(backbone).partition(".")[0] in children]
    for keys, what in ((missing, "not in the checkpoint"), (left_over, "in the checkpoint but not in the model")):
        # SpecAugment's mask embedding is only used, and only saved, by some checkpoints.
        keys = sorted(key for key in keys if not key.endswith("masked_spec_embed"))
        if keys:
            raise UserError(
                f"model.checkpoint: {checkpoint} does not fit {type(model).__name__}: {len(keys)} encoder tensors are "
                f"{what}, the first {keys[0]}; use a checkpoint of the same architecture"
            )
    head = sorted({key.partition(".")[0] for key in [*info["missing_keys"], *mismatched]} - {model.base_model_prefix})
    if head:
        logger.info("new, random head on %s: %s", checkpoint, ", ".join(head))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
