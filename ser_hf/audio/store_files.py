"""The files of a waveform store: samples, journal and index.

While a store is built, the journal has a record of each clip that is complete. At the end it
becomes the index.
"""

import dataclasses
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from xxhash import xxh3_64_intdigest

SAMPLES = "waveforms.f32"
JOURNAL = "journal"
INDEX = "index.npz"
SAMPLE_BYTES = 4

# The length comes first and the checksum (xxh3, 64 bits, of the samples) last: a record that a
# power cut left half zero matches no clip.
RECORD = np.dtype(
    [
        ("length", "<i8"),  # samples as stored
        ("source_length", "<i8"),  # at the store's rate, before the preparation
        ("channels", "<i2"),
        ("remarks", "<u2"),  # a sum of `ser_hf.audio.remarks.RemarkKind`
        ("content_hash", "S32"),
        ("key", "S24"),
        ("checksum", "<u8"),
    ]
)


@dataclasses.dataclass(frozen=True, eq=False)
class StoredClip:
    """A clip for the store.

    Args:
        samples: float32 (samples,), prepared.
        source_length: samples before the preparation.
        channels: of the recording.
        remarks: the kinds of remarks about the recording.
        content_hash: of the recording.
        key: of the file and of the settings.
    """

    samples: np.ndarray
    source_length: int
    channels: int
    remarks: int
    content_hash: str
    key: str


def append(samples: BinaryIO, journal: BinaryIO, clip: StoredClip) -> None:
    """Write the samples of a clip, then its record.

    Both are flushed: a later crash loses neither.
    """
    samples.write(clip.samples)
    samples.flush()
    record = (
        len(clip.samples),
        clip.source_length,
        clip.channels,
        clip.remarks,
        clip.content_hash,
        clip.key,
        xxh3_64_intdigest(clip.samples),
    )
    journal.write(np.array(record, RECORD).tobytes())
    journal.flush()


def complete_clips(folder: Path) -> int:
    """Number of clips that an interrupted build has completed, by their checksums.

    The files are cut after them.
    """
    for name in (SAMPLES, JOURNAL):
        (folder / name).touch()
    records = read_journal(folder)
    damaged = first_damaged(folder / SAMPLES, records["length"], records["checksum"])
    complete = len(records) if damaged is None else damaged
    os.truncate(folder / SAMPLES, SAMPLE_BYTES * int(records["length"][:complete].sum()))
    os.truncate(folder / JOURNAL, RECORD.itemsize * complete)
    return complete


def read_journal(folder: Path) -> np.ndarray:
    """The complete records, RECORD (clips,)."""
    content = (folder / JOURNAL).read_bytes()
    complete = len(content) // RECORD.itemsize * RECORD.itemsize
    return np.frombuffer(content[:complete], RECORD)


def first_damaged(path: Path, lengths: np.ndarray, checksums: np.ndarray) -> int | None:
    """The first clip with a wrong checksum, or None. Reads one clip at a time.

    Args:
        path: of the samples.
        lengths: samples of each clip, (clips,).
        checksums: of each clip, (clips,).
    """
    buffer = bytearray()
    left = path.stat().st_size
    with path.open("rb") as file:
        expected = zip(lengths.tolist(), checksums.tolist(), strict=True)
        for clip, (length, checksum) in enumerate(expected):
            size = SAMPLE_BYTES * length
            if not 0 <= size <= left:
                return clip
            if size > len(buffer):
                buffer = bytearray(size)
            clip_bytes = memoryview(buffer)[:size]
            if file.readinto(clip_bytes) != size or xxh3_64_intdigest(clip_bytes) != checksum:
                return clip
            left -= size
    return None


def write_index(folder: Path, sampling_rate: int) -> None:
    """Convert a folder's journal to its index."""
    records = read_journal(folder)
    np.savez(
        folder / INDEX,
        sampling_rate=sampling_rate,
        offsets=np.concatenate([[0], np.cumsum(records["length"], dtype=np.int64)]),
        content_hashes=records["content_hash"].astype(str),
        channels=records["channels"],
        remarks=records["remarks"],
        keys=records["key"],
        checksums=records["checksum"],
        source_lengths=records["source_length"],
    )
    (folder / JOURNAL).unlink()
