"""The hashes of a model's training clips in its folder."""

from types import SimpleNamespace

import pytest

from ser_hf.experiment.training_clips import (
    TRAINING_CLIPS,
    among,
    read_training_clips,
    save_training_clips,
    short_hash,
)
from ser_hf.utils.errors import UserError

HASHES = [f"{row:x}" * 32 for row in range(10)]


def test_training_and_validation_clips_are_saved_and_read(tmp_path):
    split = SimpleNamespace(rows={"train": [0, 1], "validation": [4], "test": [5]})
    save_training_clips(tmp_path, HASHES, [split], inherited=["f" * 16])
    clips = read_training_clips(str(tmp_path))
    assert clips == {"0" * 16, "1" * 16, "4" * 16, "f" * 16}
    assert among([HASHES[5], HASHES[4]], clips) == [False, True]
    assert short_hash(HASHES[1]) in (tmp_path / TRAINING_CLIPS).read_text().split("\n")


def test_a_model_without_the_file_documents_nothing(tmp_path):
    assert read_training_clips(str(tmp_path)) == frozenset()


@pytest.mark.parametrize("content", [b"/etc/passwd\n", b"0123\n", b"\xff\xfe\x00", b"0" * 17])
def test_a_file_with_anything_else_is_refused(tmp_path, content):
    (tmp_path / TRAINING_CLIPS).write_bytes(content)
    with pytest.raises(UserError, match="training_clips.txt"):
        read_training_clips(str(tmp_path))
