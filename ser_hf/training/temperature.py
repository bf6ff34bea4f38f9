"""Stores calibrations and the thresholds of predictions in a trained classifier."""

from collections.abc import Mapping

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedModel

from ..evaluation.sections import RatingCalibration
from ..models.configuration import TEMPERATURE_KEY, UNKNOWN_KEY
from ..models.target_heads import dimension_names
from ..utils.errors import UserError
from .freezing import innermost


def store_temperature(model: PreTrainedModel | PeftModel, temperature: float | None) -> None:
    """Divide weights and bias of the last linear layer by `temperature` (Guo et al. 2017).

    None removes the note on a temperature of the checkpoint from which the training started. See
    arXiv:1706.04599.

    Raises:
        UserError: for a classifier without a linear layer.
    """
    bare = innermost(model)
    if temperature is None:
        if hasattr(bare.config, TEMPERATURE_KEY):
            delattr(bare.config, TEMPERATURE_KEY)
        return
    last = _last_linear(bare)
    if last is None:
        kind = bare.config.model_type
        raise UserError(
            f"evaluation.temperature: the logits of {kind} are not of a linear layer; "
            "set it to report"
        )
    with torch.no_grad():
        last.weight /= temperature
        if last.bias is not None:
            last.bias /= temperature
    setattr(bare.config, TEMPERATURE_KEY, temperature)


def _last_linear(bare: PreTrainedModel) -> nn.Linear | None:
    """The layer that computes the logits; None if it is not linear."""
    return _linear_of(bare.classifier)


def _linear_of(head: nn.Module) -> nn.Linear | None:
    """The last linear layer of a head, also of one that adapters wrap; None without any."""
    if isinstance(head, ModulesToSaveWrapper):  # of an adapted model the trained one
        head = head.modules_to_save[head.active_adapters[0]]
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None


@torch.no_grad()
def store_rating_scale(
    model: PreTrainedModel | PeftModel, calibrations: Mapping[str, RatingCalibration]
) -> None:
    """Apply the map of each dimension to weights and bias of the layer that predicts it.

    Raises:
        UserError: for a classifier without a linear layer with bias.
    """
    if not calibrations:
        return
    bare = innermost(model)
    names = dimension_names(bare.config)
    last = _linear_of(bare.rating_head) if names else _last_linear(bare)
    if last is None or last.bias is None:
        raise UserError(
            f"evaluation.rating_scale: the outputs of {bare.config.model_type} are not of a "
            "linear layer with bias; set it to none"
        )
    for i, name in enumerate(names) if names else bare.config.id2label.items():
        calibration = calibrations[name]
        last.weight[i] *= calibration.slope
        last.bias[i] = last.bias[i] * calibration.slope + calibration.offset


def store_threshold(
    model: PreTrainedModel | PeftModel, threshold: float | None, key: str = UNKNOWN_KEY
) -> None:
    """Store a threshold in the configuration.

    None removes that of the checkpoint from which the training started.

    Args:
        threshold: the probability below which a prediction is better called unknown.
        key: the key of the configuration; `LABEL_THRESHOLD_KEY` for sets of classes.
    """
    config = innermost(model).config
    if threshold is not None:
        setattr(config, key, threshold)
    elif hasattr(config, key):
        delattr(config, key)
