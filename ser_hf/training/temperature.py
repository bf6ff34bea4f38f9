"""The temperature of calibration, folded into the last linear layer of a trained classifier."""

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedModel

from ..models.configuration import TEMPERATURE_KEY
from ..utils.errors import UserError
from .freezing import innermost


def store_temperature(model: PreTrainedModel | PeftModel, temperature: float | None) -> None:
    """Divide weights and bias of the last linear layer by `temperature`; None removes one of an
    earlier checkpoint.
    """
    bare = innermost(model)
    if temperature is None:
        if hasattr(bare.config, TEMPERATURE_KEY):
            delattr(bare.config, TEMPERATURE_KEY)
        return
    head = bare.classifier
    if isinstance(head, ModulesToSaveWrapper):  # of an adapted model the trained one
        head = head.modules_to_save[head.active_adapters[0]]
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not linear:
        kind = bare.config.model_type
        raise UserError(
            f"evaluation.temperature: the logits of {kind} are not of a linear layer; set it to report"
        )
    with torch.no_grad():
        linear[-1].weight /= temperature
        if linear[-1].bias is not None:
            linear[-1].bias /= temperature
    setattr(bare.config, TEMPERATURE_KEY, temperature)
