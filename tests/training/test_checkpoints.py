"""A checkpoint is complete with its marker; incomplete ones are deleted, the best and the last are
kept.
"""

import json
import os

import pytest
from transformers.trainer_callback import TrainerState

from ser_hf.training import checkpoints
from ser_hf.utils.errors import UserError

STEP_SIZE = checkpoints.StepSize(processes=1, step_batch_size=16)


@pytest.fixture
def checkpoint(tmp_path):
    """Writes checkpoint-STEP, sealed or not."""

    def write(step, sealed=True, **state):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "shard").mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "shard" / "0.pt").write_bytes(b"state")
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step} | state))
        if sealed:
            checkpoints.seal(folder, STEP_SIZE)
        return folder

    return write


def test_the_newest_whole_checkpoint_is_the_last(checkpoint, tmp_path):
    assert checkpoints.last_checkpoint(tmp_path) is None
    checkpoint(8)
    newest = checkpoint(16)
    checkpoint(24, sealed=False)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-99").touch()
    assert checkpoints.last_checkpoint(tmp_path) == newest


@pytest.mark.parametrize(
    "damage", ["truncate", "rewrite", "remove", "cut marker", "[]", '{"files": {}}']
)
def test_damage_makes_a_checkpoint_incomplete(checkpoint, damage):
    folder = checkpoint(4)
    assert checkpoints.is_complete(folder)
    if damage == "truncate":
        os.truncate(folder / "shard" / "0.pt", 2)
    elif damage == "remove":
        (folder / "model.safetensors").unlink()
    elif damage == "rewrite":
        (folder / "shard" / "0.pt").write_bytes(b"stale")
    else:
        (folder / checkpoints.MARKER).write_text(
            '{"files": {"mod' if damage == "cut marker" else damage
        )
    assert not checkpoints.is_complete(folder)


@pytest.mark.parametrize(
    ("limit", "best_step", "steps"),
    [
        (2, 4, [4, 10]),
        (2, 10, [8, 10]),
        (1, 4, [4, 10]),
        (1, 10, [10]),
        (None, 4, [2, 4, 6, 8, 10]),
    ],
)
def test_the_best_and_the_last_stay_and_the_disk_is_bounded(
    checkpoint, tmp_path, limit, best_step, steps
):
    for step in (2, 4, 6, 8, 10):
        checkpoint(step)
    checkpoints.rotate(tmp_path, limit, best_step)
    assert sorted(int(path.name[11:]) for path in tmp_path.iterdir()) == steps


def test_another_batch_in_a_step_is_refused(checkpoint):
    folder = checkpoint(2)
    checkpoints.check_step_size(folder, checkpoints.StepSize(2, 16))
    with pytest.raises(UserError, match=r"16 clips .* 32; resume with as many processes"):
        checkpoints.check_step_size(folder, checkpoints.StepSize(2, 32))


@pytest.mark.parametrize(("waited", "stopped"), [(2, False), (3, True), (4, True)])
def test_a_training_without_patience_left_has_stopped(waited, stopped):
    state = {
        "args": {"early_stopping_patience": 3, "early_stopping_threshold": 0.0},
        "attributes": {"early_stopping_patience_counter": waited},
    }
    for stored in (state, [state]):
        assert (
            checkpoints.has_stopped(TrainerState(stateful_callbacks={"Patience": stored}))
            is stopped
        )


def test_a_checkpoint_that_cannot_be_written_is_removed(checkpoint):
    last = checkpoint(8)
    half = checkpoint(16, sealed=False)
    error = checkpoints.write_error(half, OSError(28, "No space left on device"))
    assert str(error).startswith(f"{half}: cannot be written (No space left on device; ")
    assert str(error).endswith("--resume")
    assert not half.exists()
    assert checkpoints.is_complete(last)
