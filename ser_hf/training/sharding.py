"""Weights that FSDP or DeepSpeed shares out over processes: what they need to know, and how to have them whole again.

Written after accelerate 1.15 and transformers 5.23. FSDP2 was tried with two processes on a CPU and a small wav2vec2;
DeepSpeed was not run.
"""

import os
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForAudioClassification, PreTrainedModel, Trainer
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import UserError
from .encoders import layerdrop_key


def shards() -> str | None:
    """``fsdp`` or ``deepspeed`` where `accelerate launch` was told so; None where each process has all weights."""
    for word in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{word.upper()}", "false").lower() in ("1", "true"):
            return word
    return None


def prepare_for_sharding(model: PreTrainedModel, average: str | None = None) -> None:
    """Tells FSDP which modules to share out one by one, the transformer layers; nothing without FSDP or DeepSpeed.

    The models' own lists are empty, or name classes that a variant does not have: all weights would then be one unit,
    and gathered at once.

    Raises:
        UserError: for what cannot be had of shared-out weights.
    """
    kind = shards()
    if kind is None:
        return
    if average:
        raise UserError(f"training.average: averages need all weights in each process, which {kind} shares out")
    if isinstance(model, PeftModel):
        raise UserError(f"lora: little is left to learn, which needs no sharing out; launch without {kind}")
    if kind == "fsdp":
        if key := layerdrop_key(model.config):
            raise UserError(
                f"model.{key}: under FSDP all processes must run the same layers, and each would drop its own; "
                "set it to 0"
            )
        layers = {
            type(module).__name__ for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
        }
        # Blocks of the convolutional stem derive from the same class, and are small.
        model._no_split_modules = sorted(layer for layer in layers if "Conv" not in layer)
        model.get_input_embeddings = lambda: None  # accelerate asks for them, and speech encoders raise


def whole_model(trainer: Trainer) -> PreTrainedModel | PeftModel:
    """The trained model with all its weights, in process 0, adapters still beside them; every process has to ask for
    it.

    Where weights are shared out they are gathered into a new model: FSDP has put classes of its own into the old one.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if shards() is None:
        return model
    state: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    whole = AutoModelForAudioClassification.from_config(model.config)
    if trainer.is_world_process_zero():
        whole.load_state_dict(state)
    return whole


def size(parameter: torch.nn.Parameter) -> int:
    """How many numbers a parameter has, where ZeRO-3 has emptied it too."""
    return getattr(parameter, "ds_numel", parameter.numel())
