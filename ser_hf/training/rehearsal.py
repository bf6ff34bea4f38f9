"""What would fail at a training's first step, found before its folder is taken."""

import math

import torch
from transformers import AutoModelForAudioClassification, Trainer

from ..errors import UserError
from .arguments import EmotionTrainingArguments
from .build import Blueprint
from .frozen_parts import frozen_part
from .layers import Freezing, freeze
from .lora import Lora, add_lora
from .optimizer import parameter_groups
from .schedules import make_schedule
from .trainer import expect_unused

_ALL = Freezing()


def rehearse(
    plan: Blueprint,
    arguments: EmotionTrainingArguments,
    clips: int,
    freezing: Freezing = _ALL,
    lora: Lora | None = None,
    cache: bool = False,
) -> None:
    """Makes the network without its numbers, freezes it, gives it adapters, finds what can be cached of it, makes its
    groups, an optimiser and its schedule over `clips` training clips.

    Raises:
        UserError: naming the key that is wrong.
    """
    if arguments.find_batch_size and arguments.world_size > 1:
        raise UserError(
            "training.auto_find_batch_size: in one process only; of several, some would wait for others for ever"
        )
    attention = {} if plan.attention is None else {"attn_implementation": plan.attention}
    try:
        with torch.device("meta"):
            model = AutoModelForAudioClassification.from_config(plan.config, **attention)
    except (ValueError, ImportError) as error:
        if not attention:
            raise
        raise UserError(f"model.attention: {' '.join(str(error).split())}") from None
    expect_unused(arguments, model, freezing.every is not None)
    freeze(model, freezing)
    freeze(model, freezing.ever())
    if lora is not None:
        model = add_lora(model, lora)
    if cache:
        frozen_part(model, freezing)
    own = (arguments.learning_rate, arguments.weight_decay, arguments.head_learning_rate, arguments.layer_decay)
    groups = [group | {"params": [torch.nn.Parameter(torch.zeros(1))]} for group in parameter_groups(model, *own)]
    try:
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
        standard = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and "params" not in settings
        optimizer = kind(groups, **settings) if standard else torch.optim.SGD(groups)
    except (ValueError, ImportError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        optim = getattr(arguments.optim, "value", arguments.optim)
        raise UserError(f"training.optim: {optim} with these optim_args and adam settings: {told}") from None
    steps = math.ceil(clips / arguments.step_batch_size)
    planned = arguments.max_steps if arguments.max_steps > 0 else math.ceil(steps * arguments.num_train_epochs)
    epochs = math.ceil(planned / steps)
    if freezing.every is not None and freezing.every >= epochs:
        raise UserError(
            f"freeze.gradual.every: nothing would be thawed after {freezing.every} epochs, the training has {epochs}; "
            "thaw earlier, or freeze.encoder"
        )
    try:
        make_schedule(
            arguments.schedule,
            optimizer,
            steps=planned,
            warmup_steps=arguments.get_warmup_steps(planned),
            epochs=planned / steps,
            kwargs=arguments.lr_scheduler_kwargs,
            greater_is_better=arguments.greater_is_better,
        )
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"training.lr_scheduler_type: {arguments.schedule}: {' '.join(str(error).split())}") from None
