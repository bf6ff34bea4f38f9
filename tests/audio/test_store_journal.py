"""A store while it is written: whole clips are kept, everything behind the first that is not whole is cut off."""

import numpy as np
import pytest

from ser_hf.audio.store import JOURNAL, RECORD, SAMPLES, append, checksum, complete_clips, first_damaged, read_journal

FACTS = {"source_length": 7, "trimmed_length": 6, "source_rate": 48000, "channels": 2, "format": "WAV"}
LENGTHS = [5, 0, 3, 8]


@pytest.fixture
def folder(tmp_path):
    """Four clips, one of them without a sample."""
    with (tmp_path / SAMPLES).open("ab") as samples, (tmp_path / JOURNAL).open("ab") as journal:
        for i, length in enumerate(LENGTHS):
            append(samples, journal, np.arange(length, dtype=np.float32), FACTS | {"content_hash": f"{i:032x}"})
    return tmp_path


def sizes(folder):
    return [(folder / name).stat().st_size for name in (SAMPLES, JOURNAL)]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_records_say_what_was_written(folder):
    records = read_journal(folder)
    assert records["length"].tolist() == LENGTHS
    assert records["content_hash"].tolist() == [f"{i:032x}".encode() for i in range(4)]
    for name, value in FACTS.items():
        assert records[name].astype(type(value)).tolist() == [value] * 4
    assert int(records["checksum"][2]) == checksum(np.arange(3, dtype=np.float32).tobytes())


def test_a_torn_tail_is_cut_off(folder):
    before = sizes(folder)
    for name in (SAMPLES, JOURNAL):
        with (folder / name).open("ab") as file:
            file.write(b"half of one")
    assert complete_clips(folder) == 4
    assert sizes(folder) == before


def test_samples_without_a_record_do_not_count(folder):
    with (folder / JOURNAL).open("r+b") as file:
        file.truncate(3 * RECORD.itemsize - 1)
    assert complete_clips(folder) == 2
    assert sizes(folder) == [20, 2 * RECORD.itemsize]


@pytest.mark.parametrize("damage", ["samples cut", "a bit", "a record of zeros", "a length", "a negative length"])
def test_what_follows_a_clip_that_is_not_whole_goes(folder, damage):
    record = 2 * RECORD.itemsize
    if damage == "samples cut":
        with (folder / SAMPLES).open("r+b") as file:
            file.truncate(4 * 8 - 1)
    elif damage == "a bit":
        flip(folder / SAMPLES, 4 * 5)
    else:
        content = bytearray((folder / JOURNAL).read_bytes())
        if damage == "a record of zeros":
            content[record : record + RECORD.itemsize] = bytes(RECORD.itemsize)
        else:
            length = np.int64(-3 if "negative" in damage else 1 << 60)
            content[record : record + 8] = length.tobytes()
        (folder / JOURNAL).write_bytes(content)
    assert complete_clips(folder) == 2
    assert sizes(folder) == [20, 2 * RECORD.itemsize]


@pytest.mark.parametrize("missing", [SAMPLES, JOURNAL])
def test_one_file_without_the_other_is_nothing(folder, missing):
    (folder / missing).unlink()
    assert complete_clips(folder) == 0
    assert not list(folder.iterdir())


def test_the_first_damaged_clip_is_named(folder):
    records = read_journal(folder)
    columns = records["length"], records["checksum"]
    assert first_damaged(folder / SAMPLES, *columns) is None
    flip(folder / SAMPLES, -1)
    assert first_damaged(folder / SAMPLES, *columns) == 3
    flip(folder / SAMPLES, 0)
    assert first_damaged(folder / SAMPLES, *columns) == 0
