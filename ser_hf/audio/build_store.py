"""Building of waveform stores, and `prepare`, which decodes a dataset into its store.

The key of a clip is a hash of the settings and of the path, size and modification time of its file.
The name of a store is a hash of the keys of its clips. If nothing has changed, the store of a
corpus exists and opens in milliseconds. If a file or a setting has changed, another store is built;
clips with the same key are copied from other stores in the cache and not decoded again.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
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
from ..utils.segments import Segment
from .decode import AudioError, Decoded, decode, read_header
from .embedded import named_by_row
from .remarks import RemarkKind, sentences, silent_class_sentence, silent_classes, total
from .segment_reader import decode_segments, runs
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

_FORMAT = 5
# Increase it if `prepare_waveform` returns another result for the same samples and settings.
_PREPARATION_FORMAT = 1
_LISTED_ERRORS = 5
# Stores up to this size are verified whenever they are opened. This takes one second if the system
# has the file in memory.
_VERIFIED_BYTES = 4e9
_SMALL_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 30  # the largest amount of decoded audio that waits in memory

# The `audio` struct of a row: {"path": ..., "bytes": ... or None}.
Source = dict[str, Any]
Segments = Sequence[Segment | None]


def open_store(
    sources: Sequence[Source],
    sampling_rate: int,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    preparation: "Preparation | None" = None,
    segments: Segments | None = None,
) -> WaveformStore:
    """Open the store of clips, and build it first if it does not exist or is damaged.

    If another store in the cache has a clip with the same settings, the clip is copied from it. An
    interrupted build continues after its last complete clip. While one process builds a store,
    other processes wait. All checksums of a store of up to 4 GB (17 hours at 16 kHz) are verified
    when it is opened. The checksum of a clip in a larger store is verified when the clip is first
    read.

    Args:
        sources: the `audio` structs of a dataset, ``{"path": ..., "bytes": ... or None}``, one per
            row.
        sampling_rate: the sampling rate of the stored waveforms, in Hz.
        cache_dir: the folder of all stores (default: see `ser_hf.utils.cache.cache_root`).
        workers: the number of decoding threads (default: the available cores).
        preparation: the preparation of each waveform. Content hashes are computed before it.
        segments: for each row the part of its recording that is the clip, or None for all of it.

    Raises:
        AudioError: if files cannot be read; the message names the first and their number.
        UserError: if the cache cannot be written to, or the disk is full.
    """
    if preparation is not None and not preparation.active:
        preparation = None
    if segments is None:
        segments = [None] * len(sources)
    keys = _keys(sources, segments, sampling_rate, preparation)
    folder = cache_root(cache_dir) / "waveforms" / key_of(keys)
    existing: list[WaveformStore] = []

    def check(folder: Path) -> None:
        store = WaveformStore(folder)
        if store.bytes <= _VERIFIED_BYTES:
            store.verify()
        existing.append(store)

    with built_once(folder, check, resumed=True) as fresh:
        if fresh is not None:
            clips = _Clips(sources, segments, keys, sampling_rate, preparation)
            _build(fresh, clips, workers)
            write_index(fresh, sampling_rate)
    return existing[-1] if existing else WaveformStore(folder)


def _keys(
    sources: Sequence[Source],
    segments: Segments,
    sampling_rate: int,
    preparation: "Preparation | None",
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
    identity_of_file: dict[str, list] = {}
    keys = []
    for source, segment in zip(sources, segments, strict=True):
        if source.get("bytes") is not None:
            identity = _identity(source)
        else:  # a recording may have thousands of segments
            path = source["path"]
            if path not in identity_of_file:
                identity_of_file[path] = _identity(source)
            identity = identity_of_file[path]
        times = [] if segment is None else [list(segment)]
        keys.append(key_of([common, *identity, *times]))
    return keys


def _identity(source: Source) -> list:
    """The values that change if a recording changes, for the keys of its clips."""
    if source.get("bytes") is not None:
        return [source.get("path"), xxh3_128_hexdigest(source["bytes"])]
    try:
        stat = os.stat(source["path"])
    except OSError:
        raise AudioError(f"{source['path']}: no such file") from None
    return [os.path.abspath(source["path"]), stat.st_size, stat.st_mtime_ns]


@dataclasses.dataclass(frozen=True)
class _Clips:
    """The clips to store, with their keys and the settings of the store."""

    sources: Sequence[Source]
    segments: Segments
    keys: Sequence[str]
    sampling_rate: int
    preparation: "Preparation | None"

    def runs_from(self, first: int) -> Iterator["_Run"]:
        """The clips from row `first` on, in groups that are decoded together.

        A generator, so that one thread reads embedded bytes of a source once, when they are needed.
        """
        rows = range(first, len(self.sources))
        items = ((row, self._path(row), self.segments[row]) for row in rows)
        for run in runs(items):
            segments = [self.segments[row] for row in run]
            yield _Run([self.keys[row] for row in run], self.sources[run[0]], segments)

    def _path(self, row: int) -> str | None:
        """The path of a recording of segments; a whole recording is never grouped with others."""
        return None if self.segments[row] is None else self.sources[row]["path"]

    def decode(self, run: "_Run") -> list[StoredClip | AudioError]:
        """Decode and prepare clips; the error of a bad file is returned and not raised."""
        source = run.source
        path = source["path"]
        data = source.get("bytes")
        if run.segments == [None]:
            try:
                decoded_clips = [decode(path, data, self.sampling_rate)]
            except AudioError as error:
                return [error]
        else:
            decoded_clips = decode_segments(path, run.segments, data, self.sampling_rate)

        stored = []
        for key, decoded in zip(run.keys, decoded_clips, strict=True):
            if isinstance(decoded, AudioError):
                stored.append(decoded)
            else:
                stored.append(self._prepared(key, decoded))
        return stored

    def _prepared(self, key: str, recording: Decoded) -> StoredClip:
        samples = recording.samples
        if self.preparation is not None:
            # Imported here because its package loads torch, which decoding does not need.
            from ..models.preparation import prepare_waveform

            samples = prepare_waveform(samples, self.sampling_rate, self.preparation)
        return StoredClip(
            samples=samples,
            source_length=len(recording.samples),
            channels=recording.channels,
            remarks=int(total(recording.remarks)),
            content_hash=recording.content_hash,
            key=key,
        )


@dataclasses.dataclass(frozen=True)
class _Run:
    """Clips that are decoded together: a whole recording, or segments of one recording.

    Attributes:
        keys: the key of each clip.
        source: the recording.
        segments: the part of each clip; [None] for a whole recording.
    """

    keys: list[str]
    source: Source
    segments: list[Segment | None]


def _build(folder: Path, clips: _Clips, workers: int | None) -> None:
    """Append the clips that the folder of a partial store lacks.

    Raises:
        AudioError: if files cannot be decoded; the message names the first.
    """
    count = len(clips.sources)
    complete = complete_clips(folder)
    if complete:
        logger.info(
            "continuing to prepare audio: %d of %d clips are in %s", complete, count, folder
        )
    copies = _find_in_other_stores(folder.parent, clips.keys[complete:])
    if copies:
        logger.debug(
            "%d of %d clips are copied from other stores in %s", len(copies), count, folder.parent
        )

    def copy_or_decode(run: _Run) -> list[StoredClip | AudioError]:
        if all(key in copies for key in run.keys):
            # If the other store was damaged or removed meanwhile, the clips are decoded.
            with contextlib.suppress(UserError):
                return [_copied(key, *copies[key]) for key in run.keys]
        return clips.decode(run)

    def size_of(run: _Run) -> float:
        return 0 if all(key in copies for key in run.keys) else _decoded_size(run)

    # The size in memory is limited, so that few long recordings wait for the writer.
    stored_runs = in_order(
        copy_or_decode, clips.runs_from(complete), workers, size_of, _AHEAD_BYTES
    )
    progress = tqdm(
        itertools.chain.from_iterable(stored_runs),
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


def _copied(key: str, store: WaveformStore, row: int) -> StoredClip:
    """A clip of another store."""
    return StoredClip(
        samples=store[row],
        source_length=store.source_lengths[row],
        channels=store.channels[row],
        remarks=store.remarks[row],
        content_hash=store.content_hashes[row],
        key=key,
    )


def _decoded_size(run: _Run) -> float:
    """The bytes of memory that decoding a run needs; 0 for a small file, to save time."""
    source = run.source
    data = source.get("bytes")
    # An OSError means that the file was deleted meanwhile: decoding raises the right error later.
    with contextlib.suppress(OSError):
        size = len(data) if data is not None else os.path.getsize(source["path"])
        if size > _SMALL_BYTES:
            header = read_header(source["path"], data)
            if header is not None:
                frames = header.frames
                if run.segments != [None]:
                    seconds = sum(
                        (segment.end or math.inf) - segment.start for segment in run.segments
                    )
                    frames = min(frames, seconds * header.samplerate)
                return SAMPLE_BYTES * frames * (header.channels + 1)
    return 0.0


def _write(folder: Path, clips: Iterable[StoredClip | AudioError]) -> list[AudioError]:
    """Append clips to the store until the first error, and return the errors of all clips."""
    errors = []
    with (folder / SAMPLES).open("ab") as samples, (folder / JOURNAL).open("ab") as journal:
        for clip in clips:
            if isinstance(clip, AudioError):
                errors.append(clip)
            elif not errors:
                append(samples, journal, clip)
    return errors


def _find_in_other_stores(
    stores: Path, keys: Sequence[str]
) -> dict[str, tuple[WaveformStore, int]]:
    """Search for clips in all complete stores of a folder: key -> the store and the clip's row."""
    wanted_keys = set(keys)
    copies = {}
    for index in stores.glob(f"*/{INDEX}"):
        # A store may be damaged, removed meanwhile, or of another format.
        with contextlib.suppress(*UNREADABLE):
            store = WaveformStore(index.parent)
            for row, key in enumerate(store.keys.astype(str).tolist()):
                if key in wanted_keys:
                    copies[key] = (store, row)
    return copies


def prepare(
    dataset: "Dataset",
    sampling_rate: int = 16000,
    cache_dir: str | Path | None = None,
    preparation: "Preparation | None" = None,
) -> tuple["Dataset", WaveformStore]:
    """Decode every clip into a waveform store on disk, and add its duration and content hash.

    A store that exists in the cache is used again.

    Example: `dataset, store = ser_hf.prepare(ser_hf.load_corpus("synthetic"))`

    Args:
        dataset: rows with the column `audio`.
        sampling_rate: the sampling rate of the stored waveforms, in Hz.
        cache_dir: the folder of all stores (default: see `ser_hf.utils.cache.cache_root`).
        preparation: the preparation of the stored waveforms, or the functionals to store instead.
            The durations and content hashes are those of the recordings before it.

    Returns:
        The dataset with the columns `duration` (seconds) and `content_hash`, and the store, in
        which `store[i]` is the waveform of row i, float32 (samples,).

    Raises:
        AudioError: if files are empty, truncated, not audio or not finite; the message names them.
    """
    column = dataset["audio"]
    chunks = dataset.data.column("audio").chunks
    # If clips are embedded as bytes, the column is read lazily, because it may not fit in memory.
    only_paths = all(chunk.field("bytes").null_count == len(chunk) for chunk in chunks)
    sources = column[:] if only_paths else column
    segments = segments_of_rows(dataset)
    try:
        store = open_store(
            sources, sampling_rate, cache_dir, preparation=preparation, segments=segments
        )
    except AudioError as error:
        paths = [path for chunk in chunks for path in chunk.field("path").to_pylist()]
        raise named_by_row(error, paths, dataset["id"], segments) from None
    _log_changes(dataset["id"], store, preparation)

    columns = dataset.column_names
    dataset = dataset.remove_columns(["duration", "content_hash"])
    dataset = dataset.add_column("duration", store.durations.astype("float32"))
    dataset = dataset.add_column("content_hash", store.content_hashes)
    return dataset.select_columns(columns), store


def segments_of_rows(dataset: "Dataset") -> list[Segment | None]:
    """The part of the recording that is the clip of each row; None for a whole recording."""
    if "start" not in dataset.column_names:
        return [None] * len(dataset)
    segments = []
    for start, end in zip(dataset["start"][:], dataset["end"][:], strict=True):
        segments.append(None if start is None else Segment(start, end))
    return segments


def notes_about_recordings(dataset: "Dataset", store: WaveformStore) -> list[str]:
    """Sentences about recordings that a user should know about, such as silent clips.

    Args:
        dataset: rows with the columns `id` and `label`.
        store: the store of these rows.
    """
    flags = store.remarks.tolist()
    notes = list(sentences(dataset["id"][:], flags))
    names = getattr(dataset.features.get("label"), "names", None)
    if names:
        label_ids = dataset["label"][:]
        labeled = [row for row, label in enumerate(label_ids) if label >= 0]
        labels = [names[label_ids[row]] for row in labeled]
        silent = [bool(flags[row] & RemarkKind.SILENT) for row in labeled]
        notes += [silent_class_sentence(label) for label in silent_classes(labels, silent)]
    return notes


def _log_changes(
    ids: Sequence[str], store: WaveformStore, preparation: "Preparation | None"
) -> None:
    """Log how the stored waveforms differ from the recordings: mixed channels and cut samples."""
    multichannel_rows = np.flatnonzero(store.channels > 1)
    if len(multichannel_rows):
        logger.info(
            "%d clips with several channels mixed to mono (the first: %s)",
            len(multichannel_rows),
            ids[int(multichannel_rows[0])],
        )
    recorded = store.source_lengths.sum()
    stored = store.lengths.sum()
    if preparation is not None and preparation.functionals is None and stored != recorded:
        logger.info(
            "the preparation keeps %.1f %% of the %.2f h of recordings",
            100 * stored / recorded,
            recorded / store.sampling_rate / 3600,
        )
