"""What learns, and how fast: freezing and learning rates per part of the model."""

import logging

import torch
from transformers import PreTrainedModel, TrainingArguments
from transformers.trainer import Trainer

from ..errors import UserError

logger = logging.getLogger(__name__)


def freeze(model: PreTrainedModel, feature_encoder: bool = False) -> None:
    """Switches gradients off. `feature_encoder` is the convolutional stem of a wav2vec2-like model."""
    if not feature_encoder:
        return
    if not hasattr(model, "freeze_feature_encoder"):
        raise UserError(f"freeze.feature_encoder: {type(model).__name__} has no convolutional feature encoder")
    model.freeze_feature_encoder()


def trainable_table(model: PreTrainedModel) -> str:
    """Parameters in all, and how many of them learn, per top-level module."""
    lines = [f"{'module':<24} {'parameters':>12} {'trained':>12}"]
    for name, module in [*model.named_children(), ("total", model)]:
        total = sum(parameter.numel() for parameter in module.parameters())
        trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        if total:
            lines.append(f"{name:<24} {total:>12,} {trained:>12,}")
    return "\n".join(lines)


def head_parameter_groups(
    model: PreTrainedModel, arguments: TrainingArguments, head_learning_rate: float
) -> tuple[type[torch.optim.Optimizer], dict]:
    """`optimizer_cls_and_kwargs` for the Trainer: the head at its own rate, weight decay on matrices only.

    The head is whatever stands outside the encoder (`base_model_prefix`).
    """
    encoder = model.base_model_prefix + "."
    if not model.base_model_prefix or not any(name.startswith(encoder) for name, _ in model.named_parameters()):
        raise UserError(
            f"training.head_learning_rate: {type(model).__name__} has no encoder to tell its head from; "
            "use training.learning_rate"
        )
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((not name.startswith(encoder), name in decayed), []).append(parameter)
    optimizer, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    settings["params"] = [
        {
            "params": parameters,
            "lr": head_learning_rate if head else arguments.learning_rate,
            "weight_decay": arguments.weight_decay if decay else 0.0,
        }
        for (head, decay), parameters in groups.items()
    ]
    return optimizer, settings
