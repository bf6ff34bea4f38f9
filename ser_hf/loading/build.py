"""Builds the model of a blueprint: random, from a checkpoint, or from a published weight file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForAudioClassification, PreTrainedModel

from ..models.target_heads import RATING_HEAD
from ..utils.errors import UserError
from .plan import Blueprint
from .transferred import load_published
from .weights import load_model, whole_parameters


def build_model(plan: Blueprint) -> PreTrainedModel:
    """Build the model of a blueprint. New weights are random: set the random seed before.

    Raises:
        UserError: if the weights cannot be read or do not fit the model, or if the implementation
            of attention is not available.
    """
    settings = {} if plan.attention is None else {"attn_implementation": plan.attention}
    # A checkpoint that is a single file has the published weights of a transferred network.
    from_file = not plan.random_init and Path(plan.checkpoint).is_file()
    try:
        if not plan.random_init and not from_file:
            return load_model(
                plan.checkpoint, plan.config, plan.revision, plan.label_names, **settings
            )
        model = AutoModelForAudioClassification.from_config(
            plan.config, trust_remote_code=False, **settings
        )
    except (ValueError, ImportError) as error:
        if plan.attention is None or isinstance(error, UserError):
            raise
        raise UserError(f"model.attention: {error}") from None
    if from_file:
        load_published(model, plan.checkpoint)
    return model


@torch.no_grad()
def set_initial_bias(model: PreTrainedModel, means: Sequence[float]) -> None:
    """Set the bias of a new head to the means of the training targets.

    Predicted dimensions then start at these means, not at 0. A trained head does not change.
    """
    head = getattr(model, RATING_HEAD, model.classifier)
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    bias = linear[-1].bias
    with whole_parameters([bias]):
        if not bias.any():
            bias.copy_(torch.tensor(means))
