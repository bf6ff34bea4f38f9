"""The waveform store: every clip decoded and resampled once, in one memory-mapped float32 file.

A store is a folder `waveforms.f32` (all samples end to end) and `index.npz` (where each clip begins, what was
measured, and a checksum of each clip's samples). Its name is a hash of the settings and of each source's path, size
and modification time, so a changed file or setting makes another store and an unchanged corpus opens in milliseconds.
What is done to waveforms before a model hears them (`ser_hf.models.preparation`) is done here, once, after
resampling.
"""

import contextlib
import dataclasses
import io
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr
import xxhash
from tqdm.auto import tqdm

from ..utils.cache import InUse, built_once, cache_root, format_size, key_of, origin_of
from ..utils.errors import UserError
from ..utils.parallel import in_order
from .decode import AudioError, Decoded, decode

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


if TYPE_CHECKING:
    from ..models.preparation import Preparation

logger = logging.getLogger(__name__)

_FORMAT = 2
_PREPARATION_FORMAT = 1  # of what `prepare_waveform` makes of the same samples and settings
_LISTED_ERRORS = 5
_TOLD_BYTES = 1e9  # of a store whose size is told before it is built
_ASKED = 2000
# Read through at each opening: a second where they are in memory, and what the first epoch then need not wait for.
_VERIFIED_BYTES = 4e9
_SMALL_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 30  # of decoded audio in memory
_FACTS = ("source_rate", "channels", "format", "content_hash")  # that decoding tells of a clip
_DAMAGED = "damaged"  # in a store whose reader found it so


class WaveformStore:
    """Waveforms by row number: `store[i]` is a read-only float32 array (samples,) that costs no memory until read.

    A clip's samples are held against their checksum when they are first read, unless `verify` has seen them all.
    Stores from before there were checksums are read as they are (`checksums` is None).

    Raises:
        OSError, ValueError, ...: if the index cannot be read, the samples are not as many as it says, or a reader
            found them damaged before.
        UserError: from `store[i]`, if the samples of that clip are not those that were written. The next opening then
            builds the store again.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.sampling_rate = int(index["sampling_rate"])
            self.offsets: np.ndarray = index["offsets"]
            self.content_hashes: list[str] = index["content_hashes"].tolist()
            self.source_rates: np.ndarray = index["source_rates"]
            self.channels: np.ndarray = index["channels"]
            self.formats: list[str] = index["formats"].tolist()
            # Samples at the store's rate before anything was done to them, and after silence was trimmed, (clips,).
            self.source_lengths: np.ndarray = index.get("source_lengths", self.lengths)
            self.trimmed_lengths: np.ndarray = index.get("trimmed_lengths", self.lengths)
            self.checksums: np.ndarray | None = index.get("checksums")
        size, announced = self.bytes, SAMPLE_BYTES * int(self.offsets[-1])
        if size != announced:
            raise ValueError(f"{SAMPLES} has {size} bytes, and {announced} by the index")
        if (folder / _DAMAGED).exists():
            raise ValueError((folder / _DAMAGED).read_text())
        self._in_use: InUse | None = InUse(folder)
        self._samples: np.ndarray | None = None
        self._verified = bytearray(len(self)) if self.checksums is not None else None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def bytes(self) -> int:
        return (self.folder / SAMPLES).stat().st_size

    @property
    def lengths(self) -> np.ndarray:
        """Stored samples per clip, shape (clips,)."""
        return np.diff(self.offsets)

    @property
    def durations(self) -> np.ndarray:
        """Seconds per clip as it was recorded, whatever was trimmed or padded since, shape (clips,)."""
        return self.source_lengths / self.sampling_rate

    def verify(self) -> None:
        """Reads all samples once. Raises a ValueError if they are not those that were written."""
        if self.checksums is not None:
            clip = first_damaged(self.folder / SAMPLES, self.lengths, self.checksums)
            if clip is not None:
                raise ValueError(_damage(clip))
        self._verified = None

    def __getitem__(self, row: int) -> np.ndarray:
        if self._samples is None:
            # As a plain array, of which slices are made faster.
            self._samples = np.asarray(np.memmap(self.folder / SAMPLES, dtype=np.float32, mode="r"))
        row = range(len(self))[row]
        samples = self._samples[self.offsets[row] : self.offsets[row + 1]]
        if self._verified is not None and not self._verified[row]:
            self._hold_to_checksum(row, samples)
        return samples

    def _hold_to_checksum(self, row: int, samples: np.ndarray) -> None:
        if checksum(samples) != self.checksums[row]:
            remedy = "the next run builds this store again, and --resume goes on from the last checkpoint"
            try:
                (self.folder / _DAMAGED).write_text(_damage(row))
            except OSError as error:
                remedy = (
                    f"and it cannot be marked to be built again ({error.strerror or error}): delete that folder, or "
                    "set audio.cache_dir, or the environment's SER_HF_CACHE, to another one"
                )
            raise UserError(f"{self.folder}: {_damage(row)}; {remedy}")
        self._verified[row] = 1

    def __getstate__(self):
        """Workers that receive a copy map the file themselves rather than receive its content."""
        return self.__dict__ | {"_samples": None, "_in_use": None}


def _damage(row: int) -> str:
    return f"the samples of clip {row} are not what was written, by their checksum"


def open_store(
    sources: Sequence[dict],
    sampling_rate: int,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    preparation: "Preparation | None" = None,
) -> WaveformStore:
    """The store of `sources`, built first where it does not stand, and again where it is damaged.

    A build that was cut off goes on behind its last whole clip. Processes that want the same store wait for the one
    that builds it. Of a store that stands, index and size are looked at; up to 4 GB (17 hours at 16 kHz) all samples
    are held against their checksums too, and of a larger one each clip when it is first read.

    Args:
        sources: the `audio` structs of a dataset, ``{"path": ..., "bytes": ... or None}``, one a row.
        sampling_rate: Hz of the stored waveforms.
        cache_dir: where stores live (default: see `ser_hf.utils.cache.cache_root`).
        workers: decoding threads (default: the cores this process may use).
        preparation: what is done to each waveform (default: nothing); content hashes stay those of the recordings.

    Raises:
        AudioError: naming the unreadable files (the first few, and how many there are).
        UserError: if the cache cannot be written to, or its disk fills up.
    """
    if preparation is not None and not preparation.active:
        preparation = None
    folder = cache_root(cache_dir) / "waveforms" / _key(sources, sampling_rate, preparation)
    standing: list[WaveformStore] = []

    def check(folder: Path) -> None:
        store = WaveformStore(folder)
        if store.bytes <= _VERIFIED_BYTES:
            store.verify()
        standing.append(store)

    def needed() -> float:
        return _bytes_needed(sources, sampling_rate, workers, preparation)[0]

    with built_once(folder, check, resumed=True, needed=needed) as fresh:
        if fresh is not None:
            _build(fresh, folder, sources, sampling_rate, workers, preparation)
    store = standing[-1] if standing else WaveformStore(folder)
    if store.checksums is None:
        logger.info("%s was built before stores had checksums: read as it is; delete it to have it built anew", folder)
    return store


def _key(sources: Sequence[dict], sampling_rate: int, preparation: "Preparation | None") -> str:
    described = {
        "format": _FORMAT,
        "sampling_rate": sampling_rate,
        "versions": [soundfile.__libsndfile_version__, soxr.__version__],
        "sources": [_identity(source) for source in sources],
    }
    if preparation is not None:
        described["preparation"] = [_PREPARATION_FORMAT, dataclasses.asdict(preparation)]
    return key_of(described)


def _identity(source: dict) -> list:
    if source.get("bytes") is not None:
        return [source.get("path"), xxhash.xxh3_128_hexdigest(source["bytes"])]
    try:
        stat = os.stat(source["path"])
    except OSError:
        raise AudioError(f"{source['path']}: no such file") from None
    return [os.path.abspath(source["path"]), stat.st_size, stat.st_mtime_ns]


def _bytes_needed(
    sources: Sequence[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> tuple[float, float]:
    """How large a store will be at most, in bytes, and the seconds it holds, as the headers of its files announce it;
    of very many files a share is asked, as each takes 0.1 ms."""

    def seconds(source: dict) -> float:
        info = _header(source)
        return 0.0 if info is None else info.duration

    asked = sources[:: max(1, len(sources) // _ASKED)]
    duration = sum(in_order(seconds, asked, workers)) * len(sources) / max(1, len(asked))
    if preparation is not None and preparation.fixed_duration is not None:
        duration = len(sources) * preparation.fixed_duration
    return SAMPLE_BYTES * duration * sampling_rate, duration


def _header(source: dict) -> Any:
    """What libsndfile knows of a recording without decoding it; None of what it cannot read, which decoding tells."""
    try:
        return soundfile.info(source["path"] if source.get("bytes") is None else io.BytesIO(source["bytes"]))
    except (soundfile.LibsndfileError, RuntimeError):
        return None


def _tell_size(
    folder: Path, sources: Sequence[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> None:
    """Says how large a store that is worth a word will be."""
    needed, duration = _bytes_needed(sources, sampling_rate, workers, preparation)
    if needed >= _TOLD_BYTES:
        free = shutil.disk_usage(folder.parent).free
        logger.log(
            logging.WARNING if needed > free else logging.INFO,
            "waveforms of %s files (%.1f h): about %s at %s, where %s are free",
            *(f"{len(sources):,}", duration / 3600, format_size(needed), folder.parent, format_size(free)),
        )


def _build(
    fresh: Path,
    folder: Path,
    sources: Sequence[dict],
    sampling_rate: int,
    workers: int | None,
    preparation: "Preparation | None",
) -> None:
    whole, failures = whole_clips(fresh), []
    if whole:
        logger.info("preparing audio goes on: %s of %s clips stand in %s", f"{whole:,}", f"{len(sources):,}", fresh)
    else:
        _tell_size(folder, sources, sampling_rate, workers, preparation)
    with (fresh / SAMPLES).open("ab") as samples, (fresh / JOURNAL).open("ab") as journal:
        left = (sources[row] for row in range(whole, len(sources)))
        clips = _decoded_in_order(left, sampling_rate, workers, preparation)
        bar = {"total": len(sources), "initial": whole, "desc": "preparing audio", "unit": "clip", "disable": None}
        for clip in tqdm(clips, **bar):
            if isinstance(clip, AudioError):
                failures.append(clip)
            elif not failures:
                decoded, lengths = clip
                facts = lengths | {name: getattr(decoded, name) for name in _FACTS}
                append(samples, journal, decoded.samples, facts)
    if failures:
        raise _summary(failures, len(sources))
    _write_index(fresh, sampling_rate)


def _write_index(folder: Path, sampling_rate: int) -> None:
    """The index of a folder's journal, which goes."""
    records = read_journal(folder)
    optional = {name: records[name] for name in ("source_length", "trimmed_length")}
    np.savez(
        folder / "index.npz",
        sampling_rate=sampling_rate,
        offsets=np.concatenate([[0], np.cumsum(records["length"], dtype=np.int64)]),
        content_hashes=_text(records["content_hash"]),
        source_rates=records["source_rate"],
        channels=records["channels"],
        formats=_text(records["format"]),
        checksums=records["checksum"],
        **{f"{name}s": own for name, own in optional.items() if (own != records["length"]).any()},
    )
    (folder / JOURNAL).unlink()


def _text(column: np.ndarray) -> np.ndarray:
    """Byte strings as text, no wider than the longest of them."""
    return np.array(column.astype(str).tolist(), dtype=str)


def _decoded_in_order(
    sources: Iterable[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> Iterator[tuple[Decoded, dict[str, int]] | AudioError]:
    """Decodes and prepares on threads; a bad file comes back as its error. What is ahead of the writer is bounded by
    its size in memory too, so that recordings of hours are decoded few at a time, however many cores there are."""

    def work(source: dict) -> tuple[Decoded, dict[str, int]] | AudioError:
        try:
            return _prepared(decode(source["path"], source.get("bytes"), sampling_rate), preparation)
        except AudioError as error:
            return _of_origin(error, source)

    def size(source: dict) -> float:
        data = source.get("bytes")
        with contextlib.suppress(OSError):  # gone meanwhile, which decoding tells
            held = len(data) if data is not None else os.path.getsize(source["path"])
            # Of a small file, however it is coded, no header needs to be asked.
            if held > _SMALL_BYTES and (info := _header(source)) is not None:
                return SAMPLE_BYTES * info.frames * (info.channels + 1)
        return 0.0

    return in_order(work, sources, workers, size, _AHEAD_BYTES)


def _of_origin(error: AudioError, source: dict) -> AudioError:
    """The error, told of the table and the row where the audio is from inside a table."""
    origin = None if source.get("bytes") is not None else origin_of(source["path"])
    if origin is None:
        return error
    reason = str(error).removeprefix(f"{source['path']}: ").partition(";")[0]
    return AudioError(f"{origin}: its audio: {reason}; mend the table, or leave the clip out with corpus.exclude")


def _prepared(clip: Decoded, preparation: "Preparation | None") -> tuple[Decoded, dict[str, int]]:
    """The clip with its waveform prepared, and how many samples it had before that and after trimming."""
    lengths = {"source_length": len(clip.samples), "trimmed_length": len(clip.samples)}
    if preparation is None:
        return clip, lengths
    # Imported here because its package loads torch, which decoding alone does without.
    from ..models.preparation import prepare_waveform, trim_silence

    if preparation.trim_silence is not None:
        lengths["trimmed_length"] = len(trim_silence(clip.samples, clip.sampling_rate, preparation.trim_silence))
    return clip._replace(samples=prepare_waveform(clip.samples, clip.sampling_rate, preparation)), lengths


def _summary(failures: list[AudioError], total: int) -> AudioError:
    if len(failures) == 1:
        return failures[0]
    for error in failures[1:_LISTED_ERRORS]:
        logger.error("%s", error)
    return AudioError(f"{failures[0]}; {len(failures)} of {total} files are bad")
