"""The waveform store: every clip decoded, resampled and prepared once, in one memory-mapped float32
file.

A store is a folder with `waveforms.f32` (all samples in a row) and `index.npz` (offset, metadata
and checksum of each clip). A clip's key is a hash of the settings and of its file's path, size and
modification time, and a store is named by its clips' keys: a changed file or setting makes another
store, into which the clips that other stores of the cache have are copied, and an unchanged corpus
opens in milliseconds.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import soxr
from tqdm.auto import tqdm
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from ..utils.cache import REBUILT, UNREADABLE, MappedFile, built_once, cache_root, key_of
from ..utils.errors import UserError
from ..utils.order import in_order
from .decode import AudioError, decode, read_header

if TYPE_CHECKING:
    from datasets import Dataset

    from ..models.preparation import Preparation

logger = logging.getLogger(__name__)

SAMPLES = "waveforms.f32"
JOURNAL = "journal"
SAMPLE_BYTES = 4
_FORMAT = 4
_PREPARATION_FORMAT = 1  # of the result of `prepare_waveform` for the same samples and settings
_LISTED_ERRORS = 5
# Stores up to this size are verified at each opening; that takes a second if they are in memory.
_VERIFIED_BYTES = 4e9
_SMALL_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 30  # of decoded audio in memory
_DAMAGED = "damaged"  # a file in a store with a wrong checksum

# The length comes first and the checksum (xxh3, 64 bits, of the samples) last: a record that a
# power cut left half zero matches no clip.
RECORD = np.dtype(
    [
        ("length", "<i8"),  # samples as stored
        ("source_length", "<i8"),  # at the store's rate, before the preparation
        ("channels", "<i2"),
        ("content_hash", "S32"),
        ("key", "S24"),
        ("checksum", "<u8"),
    ]
)


def append(
    samples: BinaryIO, journal: BinaryIO, clip: np.ndarray, metadata: Mapping[str, int | str]
) -> None:
    """Write a clip, float32 (samples,), then its record, and flush both: a later crash loses
    neither.
    """
    fields = [len(clip), *(metadata[name] for name in RECORD.names[1:-1]), xxh3_64_intdigest(clip)]
    samples.write(clip)
    samples.flush()
    journal.write(np.array(tuple(fields), RECORD).tobytes())
    journal.flush()


def complete_clips(folder: Path) -> int:
    """Number of clips that an interrupted build has completed, by their checksums; truncates the
    files after them.
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
    return np.frombuffer(content[: len(content) // RECORD.itemsize * RECORD.itemsize], RECORD)


def first_damaged(path: Path, lengths: np.ndarray, checksums: np.ndarray) -> int | None:
    """The first clip with a wrong checksum, or None; `lengths`, `checksums` (clips,). Reads one
    clip at a time.
    """
    buffer = bytearray()
    left = path.stat().st_size
    with path.open("rb") as file:
        for clip, (length, wanted) in enumerate(
            zip(lengths.tolist(), checksums.tolist(), strict=True)
        ):
            size = SAMPLE_BYTES * length
            if not 0 <= size <= left:
                return clip
            if size > len(buffer):
                buffer = bytearray(size)
            clip_bytes = memoryview(buffer)[:size]
            if file.readinto(clip_bytes) != size or xxh3_64_intdigest(clip_bytes) != wanted:
                return clip
            left -= size
    return None


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
        with np.load(folder / "index.npz", allow_pickle=False) as archive:
            index = dict(archive)  # all of it, as reading compares its checksums
        self.sampling_rate = int(index["sampling_rate"])
        self.offsets: np.ndarray = index["offsets"]
        self.content_hashes: list[str] = index["content_hashes"].tolist()
        self.channels: np.ndarray = index["channels"]
        self.keys: np.ndarray = index["keys"]  # bytes, (clips,)
        # samples before the preparation, (clips,)
        self.source_lengths: np.ndarray = index["source_lengths"]
        self.checksums: np.ndarray = index["checksums"]
        self._samples = MappedFile(folder / SAMPLES, np.float32)
        expected = SAMPLE_BYTES * int(self.offsets[-1])
        if self.bytes != expected:
            raise ValueError(f"{SAMPLES} has {self.bytes} bytes, and {expected} by the index")
        if (folder / _DAMAGED).exists():
            raise ValueError((folder / _DAMAGED).read_text())
        self._verified: bytearray | None = bytearray(len(self))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def bytes(self) -> int:
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
            self._samples.changed, self._verified = False, bytearray(len(self))
        if self._verified is not None and not self._verified[row]:
            self._verify_clip(row, samples)
        return samples

    def _verify_clip(self, row: int, samples: np.ndarray) -> None:
        if xxh3_64_intdigest(samples) != self.checksums[row]:
            remedy = REBUILT
            try:
                (self.folder / _DAMAGED).write_text(_damage(row))
            except OSError:
                remedy = "delete that folder, or set audio.cache_dir to another one"
            raise UserError(f"{self.folder}: {_damage(row)}; {remedy}")
        self._verified[row] = 1


def _damage(row: int) -> str:
    return f"the samples of clip {row} do not match their checksum"


def open_store(
    sources: Sequence[dict],
    sampling_rate: int,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    preparation: "Preparation | None" = None,
) -> WaveformStore:
    """The store of `sources`, built if it does not exist or is damaged.

    Clips that another store of the cache has with the same settings are copied from there. An
    interrupted build continues after its last complete clip. Other processes wait for the one that
    builds. All checksums of a store of up to 4 GB (17 hours at 16 kHz) are verified, those of a
    larger one when a clip is first read.

    Args:
        sources: the `audio` structs of a dataset, ``{"path": ..., "bytes": ... or None}``, one per
            row.
        cache_dir: of the stores (default: see `ser_hf.utils.cache.cache_root`).
        workers: decoding threads (default: the available cores).
        preparation: of each waveform; content hashes are those of the recordings.

    Raises:
        AudioError: naming the unreadable files (the first few, and their number).
        UserError: if the cache cannot be written to, or the disk is full.
    """
    if preparation is not None and not preparation.active:
        preparation = None
    keys = _keys(sources, sampling_rate, preparation)
    folder = cache_root(cache_dir) / "waveforms" / key_of(keys)
    existing: list[WaveformStore] = []

    def check(folder: Path) -> None:
        store = WaveformStore(folder)
        if store.bytes <= _VERIFIED_BYTES:
            store.verify()
        existing.append(store)

    with built_once(folder, check, resumed=True) as fresh:
        if fresh is not None:
            _build(fresh, sources, keys, sampling_rate, workers, preparation)
            _write_index(fresh, sampling_rate)
    return existing[-1] if existing else WaveformStore(folder)


def _keys(
    sources: Sequence[dict], sampling_rate: int, preparation: "Preparation | None"
) -> list[str]:
    settings = {
        "format": _FORMAT,
        "sampling_rate": sampling_rate,
        "versions": [soundfile.__libsndfile_version__, soxr.__version__],
    }
    if preparation is not None:
        settings["preparation"] = [_PREPARATION_FORMAT, dataclasses.asdict(preparation)]
        if preparation.functionals is not None:
            settings["versions"].append(version("opensmile"))
    common = key_of(settings)
    return [key_of([common, *_identity(source)]) for source in sources]


def _identity(source: dict) -> list:
    if source.get("bytes") is not None:
        return [source.get("path"), xxh3_128_hexdigest(source["bytes"])]
    try:
        stat = os.stat(source["path"])
    except OSError:
        raise AudioError(f"{source['path']}: no such file") from None
    return [os.path.abspath(source["path"]), stat.st_size, stat.st_mtime_ns]


def _build(
    folder: Path,
    sources: Sequence[dict],
    keys: Sequence[str],
    sampling_rate: int,
    workers: int | None,
    preparation: "Preparation | None",
) -> None:
    """Append the clips that the folder lacks; raises an AudioError that names bad files."""
    complete = complete_clips(folder)
    failures = []
    if complete:
        logger.info(
            "continuing to prepare audio: %d of %d clips are in %s", complete, len(sources), folder
        )
    held = _held_by_others(folder.parent, keys[complete:])
    if held:
        logger.info(
            "%d of %d clips are copied from other stores in %s",
            len(held),
            len(sources),
            folder.parent,
        )

    def work(item: tuple[str, dict]) -> tuple[dict, np.ndarray] | AudioError:
        key, source = item
        if key in held:
            store, row = held[key]
            with contextlib.suppress(UserError):  # damaged or removed meanwhile: decoded
                known = {
                    "channels": store.channels[row],
                    "content_hash": store.content_hashes[row],
                    "key": key,
                }
                return known | {"source_length": store.source_lengths[row]}, store[row]
        try:
            decoded = decode(source["path"], source.get("bytes"), sampling_rate)
        except AudioError as error:
            return error
        samples = decoded.samples
        if preparation is not None:
            # Imported here because its package loads torch, which decoding does not need.
            from ..models.preparation import prepare_waveform

            samples = prepare_waveform(samples, sampling_rate, preparation)
        known = {"channels": decoded.channels, "content_hash": decoded.content_hash, "key": key}
        return known | {"source_length": len(decoded.samples)}, samples

    left = ((keys[row], sources[row]) for row in range(complete, len(sources)))
    # Limited by its size in memory, so that few long recordings are decoded ahead of the writer.
    clips = in_order(
        work,
        left,
        workers,
        lambda item: 0 if item[0] in held else _decoded_size(item[1]),
        _AHEAD_BYTES,
    )
    with (folder / SAMPLES).open("ab") as samples, (folder / JOURNAL).open("ab") as journal:
        bar = {
            "total": len(sources),
            "initial": complete,
            "desc": "preparing audio",
            "unit": "clip",
            "disable": None,
        }
        for clip in tqdm(clips, **bar):
            if isinstance(clip, AudioError):
                failures.append(clip)
            elif not failures:
                metadata, prepared = clip
                append(samples, journal, prepared, metadata)
    for error in failures[1:_LISTED_ERRORS]:
        logger.error("%s", error)
    if failures:
        count = f"; {len(failures)} of {len(sources)} files are bad" if len(failures) > 1 else ""
        raise AudioError(f"{failures[0]}{count}")


def _held_by_others(caches: Path, keys: Sequence[str]) -> dict[str, tuple[WaveformStore, int]]:
    """Store and row of each key that a complete store below `caches` has."""
    wanted = set(keys)
    held = {}
    for index in caches.glob("*/index.npz"):
        with contextlib.suppress(*UNREADABLE):  # damaged, removed meanwhile, or of another format
            store = WaveformStore(index.parent)
            held |= {
                key: (store, row)
                for row, key in enumerate(store.keys.astype(str).tolist())
                if key in wanted
            }
    return held


def _decoded_size(source: dict) -> float:
    """Bytes that decoding takes; 0 for a small file, whose header is not read."""
    data = source.get("bytes")
    with contextlib.suppress(OSError):  # deleted meanwhile: decoding raises the error
        held = len(data) if data is not None else os.path.getsize(source["path"])
        if held > _SMALL_BYTES and (info := read_header(source["path"], data)) is not None:
            return SAMPLE_BYTES * info.frames * (info.channels + 1)
    return 0.0


def _write_index(folder: Path, sampling_rate: int) -> None:
    """Convert a folder's journal to its index."""
    records = read_journal(folder)
    np.savez(
        folder / "index.npz",
        sampling_rate=sampling_rate,
        offsets=np.concatenate([[0], np.cumsum(records["length"], dtype=np.int64)]),
        content_hashes=records["content_hash"].astype(str),
        channels=records["channels"],
        keys=records["key"],
        checksums=records["checksum"],
        source_lengths=records["source_length"],
    )
    (folder / JOURNAL).unlink()


def prepare(
    dataset: "Dataset",
    sampling_rate: int = 16000,
    cache_dir: str | Path | None = None,
    preparation: "Preparation | None" = None,
) -> tuple["Dataset", WaveformStore]:
    """Decode every clip once into a waveform store on disk, and add duration and content hash to
    the dataset.

    Example: `dataset, store = ser_hf.prepare(ser_hf.load_corpus("synthetic"))`

    Args:
        sampling_rate: of the stored waveforms, in Hz.
        cache_dir: where stores are kept (default: see `ser_hf.utils.cache.cache_root`).
        preparation: of the stored waveforms (or functionals in their place); both columns describe
            the recordings.

    Returns:
        The dataset with the columns `duration` (seconds) and `content_hash`, and the store, in
        which `store[i]` is the waveform of row i, float32 (samples,).

    Raises:
        AudioError: naming the files that are empty, truncated, not audio or not finite.
    """
    column = dataset["audio"]
    chunks = dataset.data.column("audio").chunks
    # A lazy column where clips are embedded as bytes, which may not fit in memory.
    paths_alone = all(chunk.field("bytes").null_count == len(chunk) for chunk in chunks)
    sources = column[:] if paths_alone else column
    store = open_store(sources, sampling_rate, cache_dir, preparation=preparation)
    if len(several := np.flatnonzero(store.channels > 1)):
        first = dataset["id"][int(several[0])]
        logger.info(
            "%d clips with several channels mixed to mono (the first: %s)", len(several), first
        )
    recorded = store.source_lengths.sum()
    stored = store.lengths.sum()
    if preparation is not None and preparation.functionals is None and stored != recorded:
        hours = recorded / sampling_rate / 3600
        logger.info(
            "the preparation keeps %.1f %% of the %.2f h of recordings",
            100 * stored / recorded,
            hours,
        )
    columns = dataset.column_names
    dataset = dataset.remove_columns(["duration", "content_hash"])
    dataset = dataset.add_column("duration", store.durations.astype("float32"))
    dataset = dataset.add_column("content_hash", store.content_hashes)
    return dataset.select_columns(columns), store
