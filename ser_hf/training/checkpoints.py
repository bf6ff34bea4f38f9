"""Sealed checkpoints: a marker with hashes is written last, and old checkpoints are deleted only
after it.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xxhash
from peft import PeftModel
from transformers import AutoModelForAudioClassification, PreTrainedModel, Trainer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.trainer_callback import TrainerState

from ..loading.encoders import layerdrop_key
from ..utils.errors import UserError, one_line

logger = logging.getLogger(__name__)

MARKER = "complete.json"


def seal(checkpoint: Path, made_by: Mapping[str, Any]) -> None:
    """Write the marker: a hash of every other file, and `made_by`. All files are synced to the disk
    first.
    """
    hashes = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        hashes[path.relative_to(checkpoint).as_posix()] = _hash(path)
    partial = checkpoint / f"{MARKER}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump({"made_by": dict(made_by), "files": hashes}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(checkpoint / MARKER)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint has its marker and every file still has its hash."""
    try:
        marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return "made_by" in marker and all(
            _hash(checkpoint / name) == own for name, own in marker["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder."""
    return next((path for path in _newest_first(folder) if is_complete(path)), None)


def delete_incomplete(folder: Path) -> None:
    """Delete the incomplete checkpoints in a folder."""
    for checkpoint in _newest_first(folder):
        if not is_complete(checkpoint):
            logger.info("%s is incomplete: deleted", checkpoint)
            delete(checkpoint)


def rotate(folder: Path, kept: int | None, best: int | None) -> None:
    """Keep the newest `kept` checkpoints (None: all), the last one and that of step `best`; delete
    the others.
    """
    if kept is None:
        return
    newest = _newest_first(folder)
    spared = [path for i, path in enumerate(newest) if i == 0 or _step(path) == best]
    spared += [path for path in newest if path not in spared][: max(0, kept - len(spared))]
    for checkpoint in newest:
        if checkpoint not in spared:
            delete(checkpoint)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its marker first, so that a partial deletion is not mistaken for a
    complete checkpoint.
    """
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def check_step_batch_size(checkpoint: Path, own: Mapping[str, Any]) -> None:
    """Raise a `UserError` if a resumed run would have another number of clips per step."""
    before = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["made_by"]
    if before["step_batch_size"] != own["step_batch_size"]:
        raise UserError(
            f"{checkpoint}: {before['processes']} processes took {before['step_batch_size']} clips a step, "
            f"{own['processes']} take {own['step_batch_size']}; resume with as many processes, or change "
            "training.gradient_accumulation_steps"
        )


def has_stopped(state: TrainerState) -> bool:
    """Whether early stopping had ended the training, which the Trainer does not remember when it
    resumes.
    """
    stopping = state.stateful_callbacks.get("Patience")
    if not stopping:
        return False
    stopping = stopping[0] if isinstance(stopping, list) else stopping
    patience = stopping["args"]["early_stopping_patience"]
    waited = stopping["attributes"]
    return waited["early_stopping_patience_counter"] >= patience


def write_error(checkpoint: Path, error: Exception) -> UserError:
    """The error for a checkpoint that cannot be written; deletes its partial files."""
    delete(checkpoint)
    reason = getattr(error, "strerror", None) or one_line(error)
    free = shutil.disk_usage(checkpoint.parent).free / 2**20
    return UserError(
        f"{checkpoint}: cannot be written ({reason}; {free:,.0f} MiB free); make room, then --resume"
    )


def _newest_first(folder: Path) -> list[Path]:
    found = (
        path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)
    )
    return sorted((path for path in found if path.is_dir()), key=_step, reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def shards() -> str | None:
    """``fsdp`` or ``deepspeed`` if `accelerate launch` uses it; None if each process has all
    weights.
    """
    for word in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{word.upper()}", "false").lower() in ("1", "true"):
            return word
    return None


def prepare_for_sharding(model: PreTrainedModel, average: str | None = None) -> None:
    """Name the transformer layers as FSDP units, because the models' own lists are empty or
    incomplete.
    """
    kind = shards()
    if kind is None:
        return
    if average:
        raise UserError(
            f"training.average: averages need all weights in each process, and {kind} shards them"
        )
    if isinstance(model, PeftModel):
        raise UserError(f"lora: adapters are too small to be sharded; launch without {kind}")
    if kind == "fsdp":
        if key := layerdrop_key(model.config):
            raise UserError(
                f"model.{key}: under FSDP every process must run the same layers; set it to 0"
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
    """The trained model with all its weights in process 0, adapters included; every process must
    call it.

    Sharded weights go into a new model, because FSDP changes the classes of the old one.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if shards() is None:
        return model
    state: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    full = AutoModelForAudioClassification.from_config(model.config)
    if trainer.is_world_process_zero():
        full.load_state_dict(state)
    return full


def size(parameter: torch.nn.Parameter) -> int:
    """The number of elements of a parameter, also under ZeRO-3, which empties it."""
    return getattr(parameter, "ds_numel", parameter.numel())
