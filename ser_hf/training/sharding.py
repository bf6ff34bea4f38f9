"""Prepares models for FSDP or DeepSpeed, which shard weights, and collects sharded weights."""

import os
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForAudioClassification, PreTrainedModel, Trainer
from transformers.modeling_layers import GradientCheckpointingLayer

from ..loading.encoders import layerdrop_key
from ..utils.errors import UserError


def sharding_library() -> str | None:
    """``fsdp`` or ``deepspeed`` if `accelerate launch` uses it; else None."""
    for name in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() in ("1", "true"):
            return name
    return None


def prepare_for_sharding(model: PreTrainedModel, average: str | None = None) -> None:
    """Name the transformer layers as units of FSDP: the models' own lists are empty or incomplete.

    Raises:
        UserError: for settings that need all weights in each process.
    """
    library = sharding_library()
    if library is None:
        return
    if average:
        raise UserError(
            f"training.average: averages need all weights in each process, and {library} shards "
            "them"
        )
    if isinstance(model, PeftModel):
        raise UserError(f"lora: adapters are too small to be sharded; launch without {library}")
    if library == "fsdp":
        layerdrop = layerdrop_key(model.config)
        if layerdrop:
            raise UserError(
                f"model.{layerdrop}: under FSDP every process must run the same layers; set it to 0"
            )
        layers = {
            type(module).__name__
            for module in model.modules()
            if isinstance(module, GradientCheckpointingLayer)
        }
        # Blocks of the convolutional stem derive from the same class, and are small.
        model._no_split_modules = sorted(layer for layer in layers if "Conv" not in layer)
        model.get_input_embeddings = lambda: None  # used by accelerate; speech encoders raise


def full_model(trainer: Trainer) -> PreTrainedModel | PeftModel:
    """The trained model with all its weights in process 0, adapters included.

    Every process must call it. Sharded weights go into a new model, because FSDP changes the
    classes of the old one.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if sharding_library() is None:
        return model
    state: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    full = AutoModelForAudioClassification.from_config(model.config, trust_remote_code=False)
    if trainer.is_world_process_zero():
        full.load_state_dict(state)
    return full


def size(parameter: torch.nn.Parameter) -> int:
    """The number of elements of a parameter, also under ZeRO-3, which empties it."""
    return getattr(parameter, "ds_numel", parameter.numel())
