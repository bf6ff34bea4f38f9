"""A waveform store while it is written: each clip goes to disk with a record of it, so that a build that was cut off
goes on behind its last whole clip, and what was written can be told from what a disk made of it.

The samples of all clips stand end to end in `waveforms.f32`, and one `RECORD` a clip in `journal`, which lasts until
the store's index is made of it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

SAMPLES, JOURNAL = "waveforms.f32", "journal"
SAMPLE_BYTES = 4

# The length first and the checksum last: a record that a power cut left half as zeros fits no clip.
RECORD = np.dtype(
    [
        ("length", "<i8"),  # samples as stored
        ("source_length", "<i8"),  # at the store's rate, before anything was done to them
        ("trimmed_length", "<i8"),  # after silence was trimmed
        ("source_rate", "<i4"),  # Hz
        ("channels", "<i2"),
        ("format", "S16"),
        ("content_hash", "S32"),
        ("checksum", "<u8"),
    ]
)


def checksum(samples: np.ndarray | bytes | memoryview) -> int:
    """Of a clip's samples as they stand in the file: xxh3, 64 bits."""
    return xxhash.xxh3_64_intdigest(samples)


def append(samples: BinaryIO, journal: BinaryIO, clip: np.ndarray, facts: Mapping[str, int | str]) -> None:
    """Writes a clip, float32 (samples,), and behind it its record, of which `facts` are the fields between.

    Both leave the process before it returns: what kills the process later takes neither.
    """
    fields = [len(clip), *(facts[name] for name in RECORD.names[1:-1]), checksum(clip)]
    samples.write(clip)
    samples.flush()
    journal.write(np.array(tuple(fields), RECORD).tobytes())
    journal.flush()


def whole_clips(folder: Path) -> int:
    """How many clips an earlier build left whole, in order; what stands behind the last of them is cut off.

    Each is read and held against its checksum.
    """
    if not ((folder / SAMPLES).is_file() and (folder / JOURNAL).is_file()):
        (folder / SAMPLES).unlink(missing_ok=True)
        (folder / JOURNAL).unlink(missing_ok=True)
        return 0
    records = read_journal(folder)
    whole = first_damaged(folder / SAMPLES, records["length"], records["checksum"])
    whole = len(records) if whole is None else whole
    os.truncate(folder / SAMPLES, SAMPLE_BYTES * int(records["length"][:whole].sum()))
    os.truncate(folder / JOURNAL, RECORD.itemsize * whole)
    return whole


def read_journal(folder: Path) -> np.ndarray:
    """The records, RECORD (clips,), without one that was not written to its end."""
    content = (folder / JOURNAL).read_bytes()
    return np.frombuffer(content[: len(content) // RECORD.itemsize * RECORD.itemsize], RECORD)


def first_damaged(path: Path, lengths: np.ndarray, checksums: np.ndarray) -> int | None:
    """The first clip of the file whose samples are not those that were written, None where all are.

    Read in order into one buffer, not mapped: however large the file is, this takes the memory of its longest clip.

    Args:
        lengths: samples of each clip, shape (clips,).
        checksums: as `checksum` has them, shape (clips,).
    """
    buffer, left = bytearray(), path.stat().st_size
    with path.open("rb") as file:
        for clip, (length, wanted) in enumerate(zip(lengths.tolist(), checksums.tolist(), strict=True)):
            size = SAMPLE_BYTES * length
            if not 0 <= size <= left:
                return clip
            if size > len(buffer):
                buffer = bytearray(size)
            piece = memoryview(buffer)[:size]
            if file.readinto(piece) != size or checksum(piece) != wanted:
                return clip
            left -= size
    return None
