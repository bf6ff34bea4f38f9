"""A recipe's words about a checkpoint's configuration: which of its keys may be set, and to what.

Every fault is told before any weights are read, and names the key that it comes from.
"""

import copy
import dataclasses
import logging
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForAudioClassification, PreTrainedConfig, PreTrainedModel

from ..errors import UserError
from .encoders import encoder_config, layerdrop_key

logger = logging.getLogger(__name__)

_LABELS = "the labels of the corpus decide"
_PRECISION = "weights learn in float32; training.precision says what is computed in"
_CHECKPOINT = "model.checkpoint decides"
_RETURNED = "training decides what a network returns"
# Keys of a configuration that something else decides, and what.
MANAGED = {
    "num_labels": _LABELS,
    "id2label": _LABELS,
    "label2id": _LABELS,
    "problem_type": "a clip has one label of several; leave it out",
    "dtype": _PRECISION,
    "torch_dtype": _PRECISION,
    "model_type": _CHECKPOINT,
    "architectures": _CHECKPOINT,
    "transformers_version": _CHECKPOINT,
    "sampling_rate": "audio.sampling_rate decides",
    "return_dict": _RETURNED,
    "output_hidden_states": _RETURNED,
    "output_attentions": _RETURNED,
}

# What a network's layers raise where settings have no meaning, or do not fit each other.
_IMPOSSIBLE = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, StrictDataclassError)
_STEM = ("conv_dim", "conv_stride", "conv_kernel")


def refuse_managed(options: dict[str, Any]) -> None:
    """Raises a `UserError` for a key that is decided elsewhere."""
    for key in options:
        if key in MANAGED:
            raise UserError(f"model.{key}: {MANAGED[key]}")


def set_options(config: PreTrainedConfig, checkpoint: str, options: dict[str, Any]) -> None:
    """Sets options of the encoder's configuration, or of that of a network without one, and float32.

    Raises:
        UserError: for a key that the configuration does not have, or that is decided elsewhere, and for a value of
            another type or out of its range.
    """
    encoder = encoder_config(config)
    refuse_managed(options)
    known = (
        {field.name for field in dataclasses.fields(encoder)} | encoder.to_dict().keys() | encoder.attribute_map.keys()
    )
    for key, value in options.items():
        if key not in known or key.startswith("_"):
            raise UserError(f"model.{key}: the configuration of {checkpoint} ({encoder.model_type}) has no such key")
        if key == "use_weighted_layer_sum" and value:
            raise UserError(f"model.{key}: set model.weighted_layer_sum, which is for every head")
        try:
            setattr(encoder, key, value)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise UserError(f"model.{key}: {_reason(error)}") from None
    _check_ranges(encoder)
    # Published in half precision, weights are still learnt in single.
    config.dtype = encoder.dtype = torch.float32
    summed = getattr(config, "weighted_layer_sum", False) or getattr(config, "use_weighted_layer_sum", False)
    if summed and (key := layerdrop_key(encoder)):
        if key in options:
            raise UserError(f"model.{key}: leaves out layers that model.weighted_layer_sum sums; set it to 0")
        logger.info("%s: %s %g switched off, a sum of layers needs them all", checkpoint, key, getattr(encoder, key))
        setattr(encoder, key, 0.0)


def _check_ranges(encoder: PreTrainedConfig) -> None:
    """What the layers do not ask, or ask at the first training step."""
    for key, value in encoder.to_dict().items():
        share = key.endswith("_prob") or "dropout" in key or "layerdrop" in key
        if share and isinstance(value, int | float) and not 0 <= value <= 1:
            raise UserError(f"model.{key}: expected a probability, 0 to 1, got {value}")
    for axis in ("time", "feature"):
        length = getattr(encoder, f"mask_{axis}_length", 1)
        if getattr(encoder, f"mask_{axis}_prob", 0) and length < 1:
            raise UserError(f"model.mask_{axis}_length: expected 1 or more, got {length}")
    if getattr(encoder, "mask_feature_prob", 0) and encoder.mask_feature_length > encoder.hidden_size:
        raise UserError(
            f"model.mask_feature_length: expected at most the {encoder.hidden_size} of hidden_size, got "
            f"{encoder.mask_feature_length}"
        )
    if all(hasattr(encoder, key) for key in _STEM):
        sizes = [len(getattr(encoder, key)) for key in _STEM]
        if len(set(sizes)) > 1:
            odd = next(key for key, size in zip(_STEM, sizes, strict=True) if sizes.count(size) == 1)
            raise UserError(
                f"model.{odd}: {', '.join(_STEM)} each have a number for every layer of the stem, and must be of one "
                f"length; they have {', '.join(map(str, sizes))}"
            )


def skeleton(config: PreTrainedConfig, before: PreTrainedConfig, options: dict[str, Any]) -> PreTrainedModel:
    """The network of a configuration on torch's meta device: the layers' own complaints, without their memory.

    Args:
        before: the configuration without `options`, to tell which of them is to blame.

    Raises:
        UserError: naming the option without which the network is possible, if it is one.
    """
    try:
        return _skeleton(config)
    except _IMPOSSIBLE as error:
        fault = error
    for key in options:
        other = copy.deepcopy(config)
        setattr(encoder_config(other), key, getattr(encoder_config(before), key))
        try:
            _skeleton(other)
        except _IMPOSSIBLE:
            continue
        raise UserError(f"model.{key}: {_reason(fault).removeprefix(f'{key}: ')}") from None
    raise UserError(f"model: {_reason(fault)}") from None


def _skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    encoder_config(config).validate()
    with torch.device("meta"):
        return AutoModelForAudioClassification.from_config(copy.deepcopy(config))


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is none that transformers knows"
    if isinstance(error, IndexError):
        return f"the settings do not fit each other ({error})"
    return " ".join(str(error).split())
