"""The waveform store: every clip decoded, resampled and prepared once, in one memory-mapped file.

A store is a folder with `waveforms.f32` (float32, all samples in a row) and `index.npz` (offset,
metadata and checksum of each clip). `ser_hf.audio.build_store` builds it. It is written by hand
because it must resume after a crash, notice damage, and give a row without reading the others,
which no format for arrays does together.
"""

from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from ..utils.cache import REBUILT, MappedFile
from ..utils.errors import UserError
from .store_files import INDEX, SAMPLE_BYTES, SAMPLES, first_damaged

_DAMAGED = "damaged"  # a file in a store with a wrong checksum


class WaveformStore:
    """Waveforms by row number: `store[i]` is a read-only, memory-mapped float32 array (samples,).

    The checksum of a clip is verified when it is first read, unless `verify` has verified all.

    Raises:
        OSError, ValueError, KeyError: if the index cannot be read, the samples do not match it, or
            the store is damaged.
        UserError: from `store[i]`, if the checksum of that clip is wrong, or the file was cut or
            removed. The next opening builds the store again.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / INDEX, allow_pickle=False) as archive:
            index = dict(archive)  # all of it, as reading compares its checksums
        self.sampling_rate = int(index["sampling_rate"])
        # The first sample of each clip in the file, and the end of the last clip, (clips + 1,).
        self.offsets: np.ndarray = index["offsets"]
        # The other arrays have one value for each clip.
        self.content_hashes: list[str] = index["content_hashes"].tolist()
        self.channels: np.ndarray = index["channels"]
        # Sums of `ser_hf.audio.remarks.RemarkKind`.
        self.remarks: np.ndarray = index["remarks"]
        self.keys: np.ndarray = index["keys"]  # bytes
        self.source_lengths: np.ndarray = index["source_lengths"]  # before the preparation
        self.checksums: np.ndarray = index["checksums"]

        self._samples = MappedFile(folder / SAMPLES, np.float32)
        expected = SAMPLE_BYTES * int(self.offsets[-1])
        if self.bytes != expected:
            raise ValueError(f"{SAMPLES} has {self.bytes} bytes, and {expected} by the index")
        if (folder / _DAMAGED).exists():
            raise ValueError((folder / _DAMAGED).read_text(encoding="utf-8"))
        # 1 for each clip whose checksum is verified; None if all are.
        self._verified: bytearray | None = bytearray(len(self))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def bytes(self) -> int:
        """Size of the samples on disk."""
        return self._samples.bytes

    @property
    def lengths(self) -> np.ndarray:
        """Stored samples per clip, shape (clips,)."""
        return np.diff(self.offsets)

    @property
    def durations(self) -> np.ndarray:
        """Seconds of each recording, before trimming and padding, shape (clips,)."""
        return self.source_lengths / self.sampling_rate

    def verify(self) -> None:
        """Read all samples once. Raises a ValueError for a wrong checksum."""
        clip = first_damaged(self.folder / SAMPLES, self.lengths, self.checksums)
        if clip is not None:
            raise ValueError(_damage(clip))
        self._verified = None

    def __getitem__(self, row: int) -> np.ndarray:
        row = range(len(self))[row]
        samples = self._samples[self.offsets[row] : self.offsets[row + 1]]
        if self._samples.changed:
            self._samples.changed = False
            self._verified = bytearray(len(self))
        if self._verified is not None and not self._verified[row]:
            self._verify_clip(row, samples)
        return samples

    def _verify_clip(self, row: int, samples: np.ndarray) -> None:
        if xxh3_64_intdigest(samples) != self.checksums[row]:
            remedy = REBUILT
            try:
                (self.folder / _DAMAGED).write_text(_damage(row), encoding="utf-8")
            except OSError:
                remedy = "delete that folder, or set audio.cache_dir to another one"
            raise UserError(f"{self.folder}: {_damage(row)}; {remedy}")
        self._verified[row] = 1


def _damage(row: int) -> str:
    return f"the samples of clip {row} do not match their checksum"
