"""Building of waveform stores, and `prepare`, which gives a dataset its store.

A clip's key is a hash of the settings and of its file's path, size and modification time, and a
store is named by its clips' keys. A changed file or setting therefore makes another store, into
which the clips that other stores of the cache have are copied, and an unchanged corpus opens in
milliseconds.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
from tqdm.auto import tqdm
from xxhash import xxh3_128_hexdigest

from ..utils.cache import UNREADABLE, built_once, cache_root, key_of
from ..utils.errors import UserError
from ..utils.order import in_order
from .decode import AudioError, decode, read_header
from .store import WaveformStore
from .store_files import (
    INDEX,
    JOURNAL,
    SAMPLE_BYTES,
    SAMPLES,
    StoredClip,
    append,
    complete_clips,
    write_index,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from ..models.preparation import Preparation

logger = logging.getLogger(__name__)

_FORMAT = 4
_PREPARATION_FORMAT = 1  # of the result of `prepare_waveform` for the same samples and settings
_LISTED_ERRORS = 5
# Stores up to this size are verified at each opening; that takes a second if they are in memory.
_VERIFIED_BYTES = 4e9
_SMALL_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 30  # of decoded audio in memory

# The `audio` struct of a row: {"path": ..., "bytes": ... or None}.
Source = dict[str, Any]


def open_store(
    sources: Sequence[Source],
    sampling_rate: int,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    preparation: "Preparation | None" = None,
) -> WaveformStore:
    """The store of some clips, built if it does not exist or is damaged.

    Clips that another store of the cache has with the same settings are copied from there. An
    interrupted build continues after its last complete clip. Other processes wait for the one that
    builds. All checksums of a store of up to 4 GB (17 hours at 16 kHz) are verified, those of a
    larger one when a clip is first read.

    Args:
        sources: the `audio` structs of a dataset, ``{"path": ..., "bytes": ... or None}``, one per
            row.
        sampling_rate: of the stored waveforms, in Hz.
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
            _build(fresh, _Clips(sources, keys, sampling_rate, preparation), workers)
            write_index(fresh, sampling_rate)
    return existing[-1] if existing else WaveformStore(folder)


def _keys(
    sources: Sequence[Source], sampling_rate: int, preparation: "Preparation | None"
) -> list[str]:
    """The key of each clip."""
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


def _identity(source: Source) -> list:
    """What tells a file from a changed one."""
    if source.get("bytes") is not None:
        return [source.get("path"), xxh3_128_hexdigest(source["bytes"])]
    try:
        stat = os.stat(source["path"])
    except OSError:
        raise AudioError(f"{source['path']}: no such file") from None
    return [os.path.abspath(source["path"]), stat.st_size, stat.st_mtime_ns]


@dataclasses.dataclass(frozen=True)
class _Clips:
    """The clips of a store before they are stored."""

    sources: Sequence[Source]
    keys: Sequence[str]
    sampling_rate: int
    preparation: "Preparation | None"

    def decoded(self, key: str, source: Source) -> StoredClip | AudioError:
        """A clip from its file; the error of a bad file is returned."""
        try:
            recording = decode(source["path"], source.get("bytes"), self.sampling_rate)
        except AudioError as error:
            return error
        samples = recording.samples
        if self.preparation is not None:
            # Imported here because its package loads torch, which decoding does not need.
            from ..models.preparation import prepare_waveform

            samples = prepare_waveform(samples, self.sampling_rate, self.preparation)
        return StoredClip(
            samples=samples,
            source_length=len(recording.samples),
            channels=recording.channels,
            content_hash=recording.content_hash,
            key=key,
        )


def _build(folder: Path, clips: _Clips, workers: int | None) -> None:
    """Append the clips that the folder lacks.

    Raises:
        AudioError: naming bad files.
    """
    count = len(clips.sources)
    complete = complete_clips(folder)
    if complete:
        logger.info(
            "continuing to prepare audio: %d of %d clips are in %s", complete, count, folder
        )
    held = _held_by_others(folder.parent, clips.keys[complete:])
    if held:
        logger.info(
            "%d of %d clips are copied from other stores in %s", len(held), count, folder.parent
        )

    def clip_of(item: tuple[str, Source]) -> StoredClip | AudioError:
        key, source = item
        if key in held:
            store, position = held[key]
            with contextlib.suppress(UserError):  # damaged or removed meanwhile: decoded
                return StoredClip(
                    samples=store[position],
                    source_length=store.source_lengths[position],
                    channels=store.channels[position],
                    content_hash=store.content_hashes[position],
                    key=key,
                )
        return clips.decoded(key, source)

    def size_of(item: tuple[str, Source]) -> float:
        key, source = item
        return 0 if key in held else _decoded_size(source)

    # A source may be embedded bytes, which are read here, once and by one thread.
    lacking = ((clips.keys[row], clips.sources[row]) for row in range(complete, count))
    # Limited by its size in memory, so that few long recordings are decoded ahead of the writer.
    stored_clips = in_order(clip_of, lacking, workers, size_of, _AHEAD_BYTES)
    progress = tqdm(
        stored_clips,
        total=count,
        initial=complete,
        desc="preparing audio",
        unit="clip",
        disable=None,
    )
    errors = _write(folder, progress)
    for error in errors[1:_LISTED_ERRORS]:
        logger.error("%s", error)
    if errors:
        others = f"; {len(errors)} of {count} files are bad" if len(errors) > 1 else ""
        raise AudioError(f"{errors[0]}{others}")


def _decoded_size(source: Source) -> float:
    """Bytes that decoding takes; 0 for a small file, whose header is not read."""
    data = source.get("bytes")
    with contextlib.suppress(OSError):  # deleted meanwhile: decoding raises the error
        size = len(data) if data is not None else os.path.getsize(source["path"])
        if size > _SMALL_BYTES:
            header = read_header(source["path"], data)
            if header is not None:
                return SAMPLE_BYTES * header.frames * (header.channels + 1)
    return 0.0


def _write(folder: Path, clips: Iterable[StoredClip | AudioError]) -> list[AudioError]:
    """Append clips up to the first bad one; returns the errors of all."""
    errors = []
    with (folder / SAMPLES).open("ab") as samples, (folder / JOURNAL).open("ab") as journal:
        for clip in clips:
            if isinstance(clip, AudioError):
                errors.append(clip)
            elif not errors:
                append(samples, journal, clip)
    return errors


def _held_by_others(caches: Path, keys: Sequence[str]) -> dict[str, tuple[WaveformStore, int]]:
    """Store and row of each key that a complete store below `caches` has."""
    wanted = set(keys)
    held = {}
    for index in caches.glob(f"*/{INDEX}"):
        with contextlib.suppress(*UNREADABLE):  # damaged, removed meanwhile, or of another format
            store = WaveformStore(index.parent)
            for row, key in enumerate(store.keys.astype(str).tolist()):
                if key in wanted:
                    held[key] = (store, row)
    return held


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
    _log_changes(dataset["id"], store, preparation)

    columns = dataset.column_names
    dataset = dataset.remove_columns(["duration", "content_hash"])
    dataset = dataset.add_column("duration", store.durations.astype("float32"))
    dataset = dataset.add_column("content_hash", store.content_hashes)
    return dataset.select_columns(columns), store


def _log_changes(
    ids: Sequence[str], store: WaveformStore, preparation: "Preparation | None"
) -> None:
    """Log what the stored waveforms lack of the recordings."""
    of_several_channels = np.flatnonzero(store.channels > 1)
    if len(of_several_channels):
        logger.info(
            "%d clips with several channels mixed to mono (the first: %s)",
            len(of_several_channels),
            ids[int(of_several_channels[0])],
        )
    recorded = store.source_lengths.sum()
    stored = store.lengths.sum()
    if preparation is not None and preparation.functionals is None and stored != recorded:
        logger.info(
            "the preparation keeps %.1f %% of the %.2f h of recordings",
            100 * stored / recorded,
            recorded / store.sampling_rate / 3600,
        )
