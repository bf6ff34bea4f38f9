"""A temperature in the weights: a classifier whose last linear layer is divided by T answers softmax(logits / T).

That is exact, and whatever loads the weights (`pipeline`, ONNX, an adapter) need know nothing of it. The configuration
tells of it as `calibration_temperature`: `temperature` is the name of a setting of text generation, with which
transformers refuses to save a configuration.
"""

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedModel

from ..utils.errors import UserError
from .freezing import innermost

KEY = "calibration_temperature"


def store_temperature(model: PreTrainedModel | PeftModel, temperature: float | None) -> None:
    """Divides the logits that a trained classifier answers by `temperature`, in place; None leaves them, and takes
    from its configuration what a checkpoint that it began with told of its own.

    Raises:
        UserError: naming `evaluation.temperature`, if no linear layer makes its logits.
    """
    config = innermost(model).config
    if temperature is None:
        if hasattr(config, KEY):
            delattr(config, KEY)
        return
    last = _last_linear(model)
    with torch.no_grad():
        last.weight /= temperature
        if last.bias is not None:
            last.bias /= temperature
    setattr(config, KEY, temperature)


def _last_linear(model: PreTrainedModel | PeftModel) -> nn.Linear:
    """The layer that makes the logits; of an adapted model the one that learnt, beside which peft keeps the old."""
    head = innermost(model).classifier
    if isinstance(head, ModulesToSaveWrapper):
        head = head.modules_to_save[head.active_adapters[0]]
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not linear:
        kind = innermost(model).config.model_type
        raise UserError(f"evaluation.temperature: no linear layer makes the logits of {kind}; leave it at report")
    return linear[-1]
