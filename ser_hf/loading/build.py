"""The model of a blueprint: new, from a checkpoint, or from a published file of weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForAudioClassification, PreTrainedModel

from ..utils.errors import UserError
from .plan import Blueprint
from .published import load_published
from .weights import load_model, whole_parameters


def build_model(plan: Blueprint) -> PreTrainedModel:
    """The model of a blueprint. Seed first.

    Raises:
        UserError: if the weights cannot be read or do not fit, or for an unavailable attention.
    """
    settings = {} if plan.attention is None else {"attn_implementation": plan.attention}
    # Only the weights that other projects publish for a transferred network are a single file.
    from_file = not plan.random_init and Path(plan.checkpoint).is_file()
    try:
        if not plan.random_init and not from_file:
            return load_model(plan.checkpoint, plan.config, plan.revision, **settings)
        model = AutoModelForAudioClassification.from_config(plan.config, **settings)
    except (ValueError, ImportError) as error:
        if plan.attention is None or isinstance(error, UserError):
            raise
        raise UserError(f"model.attention: {error}") from None
    if from_file:
        load_published(model, plan.checkpoint)
    return model


@torch.no_grad()
def start_at(model: PreTrainedModel, means: Sequence[float]) -> None:
    """Set the bias of a new head to these values; a trained head stays as it is.

    Dimensions start at the mean of the training targets, not at 0.
    """
    linear = [module for module in model.classifier.modules() if isinstance(module, nn.Linear)]
    bias = linear[-1].bias
    with whole_parameters([bias]):
        if not bias.any():
            bias.copy_(torch.tensor(means))
