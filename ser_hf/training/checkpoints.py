"""Sealed checkpoints: a marker with hashes is written last, then old checkpoints are deleted."""

import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path

import xxhash
from transformers.trainer_callback import TrainerState

from ..utils.errors import UserError, one_line

logger = logging.getLogger(__name__)

MARKER = "complete.json"
_NAME = re.compile(r"checkpoint-\d+")


@dataclasses.dataclass(frozen=True)
class StepSize:
    """What must stay the same when a training is resumed: the clips of one optimizer step."""

    processes: int
    step_batch_size: int


def seal(checkpoint: Path, step_size: StepSize) -> None:
    """Sync every file to the disk, then write the marker, which has a hash of each."""
    hashes = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        hashes[path.relative_to(checkpoint).as_posix()] = _hash(path)
    marker = {"made_by": dataclasses.asdict(step_size), "files": hashes}
    partial = checkpoint / f"{MARKER}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(marker, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(checkpoint / MARKER)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint has its marker and every file still has its hash."""
    try:
        marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        if "made_by" not in marker:
            return False
        return all(_hash(checkpoint / name) == value for name, value in marker["files"].items())
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
    """Delete old checkpoints in a folder.

    The newest `kept` (None: all) stay; the last one and that of step `best` always do.
    """
    if kept is None:
        return
    newest_first = _newest_first(folder)
    spared = [path for i, path in enumerate(newest_first) if i == 0 or _step(path) == best]
    others = [path for path in newest_first if path not in spared]
    spared += others[: max(0, kept - len(spared))]
    for checkpoint in newest_first:
        if checkpoint not in spared:
            delete(checkpoint)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its marker first: a partial deletion is not a complete checkpoint."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def check_step_size(checkpoint: Path, now: StepSize) -> None:
    """Raise a `UserError` if a resumed run would have another number of clips per step."""
    marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    before = StepSize(**marker["made_by"])
    if before.step_batch_size != now.step_batch_size:
        raise UserError(
            f"{checkpoint}: {before.processes} processes took {before.step_batch_size} clips a "
            f"step, {now.processes} take {now.step_batch_size}; resume with as many processes, "
            "or change training.gradient_accumulation_steps"
        )


def has_stopped(state: TrainerState) -> bool:
    """Whether early stopping had ended the training.

    The Trainer does not remember it when it resumes.
    """
    stopping = state.stateful_callbacks.get("Patience")
    if not stopping:
        return False
    if isinstance(stopping, list):
        stopping = stopping[0]
    waited = stopping["attributes"]["early_stopping_patience_counter"]
    return waited >= stopping["args"]["early_stopping_patience"]


def write_error(checkpoint: Path, error: Exception) -> UserError:
    """The error for a checkpoint that cannot be written; deletes its partial files."""
    delete(checkpoint)
    reason = getattr(error, "strerror", None) or one_line(error)
    free = shutil.disk_usage(checkpoint.parent).free / 2**20
    return UserError(
        f"{checkpoint}: cannot be written ({reason}; {free:,.0f} MiB free); "
        "make room, then --resume"
    )


def _newest_first(folder: Path) -> list[Path]:
    checkpoints = [
        path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()
    ]
    return sorted(checkpoints, key=_step, reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
