"""Seals checkpoints with a marker file that has a hash of each file, and deletes old ones."""

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
    """The clips of an optimizer step, which must stay the same when a training is resumed."""

    processes: int
    step_batch_size: int


def seal(checkpoint: Path, step_size: StepSize) -> None:
    """Sync every file of a checkpoint to the disk, then write the marker with their hashes."""
    hashes = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        # Windows syncs only files that are open for writing.
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        hashes[path.relative_to(checkpoint).as_posix()] = _hash(path)
    marker = {"made_by": dataclasses.asdict(step_size), "files": hashes}
    partial = checkpoint / f"{MARKER}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(marker, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(checkpoint / MARKER)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint has its marker, and every file has the hash in the marker."""
    try:
        marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        if "made_by" not in marker:
            return False
        return all(_hash(checkpoint / name) == value for name, value in marker["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder; None if there is none."""
    return next((path for path in _newest_first(folder) if is_complete(path)), None)


def delete_incomplete(folder: Path) -> None:
    """Delete the incomplete checkpoints in a folder."""
    for checkpoint in _newest_first(folder):
        if not is_complete(checkpoint):
            logger.info("%s is incomplete: deleted", checkpoint)
            delete(checkpoint)


def rotate(folder: Path, limit: int | None, best_step: int | None) -> None:
    """Delete the oldest checkpoints in a folder until `limit` are left (None: delete none).

    The last checkpoint and the checkpoint of `best_step` are never deleted.
    """
    if limit is None:
        return
    newest_first = _newest_first(folder)
    last_and_best = [
        path for i, path in enumerate(newest_first) if i == 0 or _step(path) == best_step
    ]
    others = [path for path in newest_first if path not in last_and_best]
    for checkpoint in others[max(0, limit - len(last_and_best)) :]:
        delete(checkpoint)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its marker first, so that a partly deleted one is not complete."""
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def check_step_size(checkpoint: Path, now: StepSize) -> None:
    """Raise a `UserError` if a resumed run has another number of clips per optimizer step."""
    marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    before = StepSize(**marker["made_by"])
    if before.step_batch_size != now.step_batch_size:
        raise UserError(
            f"{checkpoint}: {before.processes} processes took {before.step_batch_size} clips a "
            f"step, {now.processes} take {now.step_batch_size}; resume with as many processes, "
            "or change training.gradient_accumulation_steps"
        )


def has_stopped(state: TrainerState) -> bool:
    """Whether early stopping has ended the training.

    A Trainer that resumes such a training would otherwise continue it.
    """
    stopping = state.stateful_callbacks.get("Patience")
    if not stopping:
        return False
    if isinstance(stopping, list):
        stopping = stopping[0]
    evaluations_without_gain = stopping["attributes"]["early_stopping_patience_counter"]
    return evaluations_without_gain >= stopping["args"]["early_stopping_patience"]


def write_error(checkpoint: Path, error: Exception) -> UserError:
    """Delete a checkpoint that cannot be written, and make the error about it."""
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
