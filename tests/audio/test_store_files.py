"""The files of a store that is being built: what remains of an interrupted build."""

import numpy as np
import pytest

from ser_hf.audio.store_files import (
    JOURNAL,
    RECORD,
    SAMPLES,
    StoredClip,
    append,
    complete_clips,
)

LENGTHS = [5, 0, 3, 8]


@pytest.fixture
def interrupted(tmp_path):
    """A build of four clips, one of them without a sample."""
    with (tmp_path / SAMPLES).open("ab") as samples, (tmp_path / JOURNAL).open("ab") as journal:
        for i, length in enumerate(LENGTHS):
            clip = StoredClip(
                samples=np.arange(length, dtype=np.float32),
                source_length=7,
                channels=2,
                remarks=0,
                content_hash=f"{i:032x}",
                key="0" * 24,
            )
            append(samples, journal, clip)
    return tmp_path


def sizes(folder):
    return [(folder / name).stat().st_size for name in (SAMPLES, JOURNAL)]


@pytest.mark.parametrize(
    ("name", "place", "content"),
    [
        (SAMPLES, 4 * 5, b"\xff"),  # a changed byte
        (JOURNAL, 2 * RECORD.itemsize, bytes(RECORD.itemsize)),  # a record of zeros
        (JOURNAL, 2 * RECORD.itemsize, np.int64(1 << 60).tobytes()),  # a length
        (JOURNAL, 2 * RECORD.itemsize, np.int64(-3).tobytes()),
    ],
)
def test_clips_after_the_first_damaged_one_are_cut_off(interrupted, name, place, content):
    with (interrupted / name).open("r+b") as file:
        file.seek(place)
        file.write(content)
    assert complete_clips(interrupted) == 2
    assert sizes(interrupted) == [20, 2 * RECORD.itemsize]
