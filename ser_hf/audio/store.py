"""The waveform store: every clip decoded and resampled once, in one memory-mapped float32 file.

A store is a folder `waveforms.f32` (all samples end to end) and `index.npz` (where each clip begins, and what was
measured). Its name is a hash of the settings and of each source's path, size and modification time, so a changed file
or setting makes another store and an unchanged corpus opens in milliseconds. What is done to waveforms before a model
hears them (`ser_hf.models.waveform_preparation`) is done here, once, after resampling.
"""

import dataclasses
import io
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
import xxhash
from tqdm.auto import tqdm

from ..cache import built_once, cache_root, key_of, told_size
from ..threads import in_order
from .decode import AudioError, Decoded, decode

if TYPE_CHECKING:
    from ..models.waveform_preparation import Preparation

logger = logging.getLogger(__name__)

_FORMAT = 2
_PREPARATION_FORMAT = 1  # of what `prepare_waveform` makes of the same samples and settings
_LISTED_ERRORS = 5
_TOLD_BYTES = 1e9  # of a store whose size is told before it is built
_ASKED = 2000


class WaveformStore:
    """Waveforms by row number: `store[i]` is a read-only float32 array (samples,) that costs no memory until read.

    Raises:
        OSError, ValueError, ...: if the index cannot be read, or the samples are not as many as it says; that they are
            the same is not looked at.
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
        size, announced = (folder / "waveforms.f32").stat().st_size, 4 * int(self.offsets[-1])
        if size != announced:
            raise ValueError(f"waveforms.f32 has {size} bytes, and {announced} by the index")
        self._samples: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Stored samples per clip, shape (clips,)."""
        return np.diff(self.offsets)

    @property
    def durations(self) -> np.ndarray:
        """Seconds per clip as it was recorded, whatever was trimmed or padded since, shape (clips,)."""
        return self.source_lengths / self.sampling_rate

    def __getitem__(self, row: int) -> np.ndarray:
        if self._samples is None:
            self._samples = np.memmap(self.folder / "waveforms.f32", dtype=np.float32, mode="r")
        row = range(len(self))[row]
        return self._samples[self.offsets[row] : self.offsets[row + 1]]

    def __getstate__(self):
        """Workers that receive a copy map the file themselves rather than receive its content."""
        return self.__dict__ | {"_samples": None}


def open_store(
    sources: Sequence[dict],
    sampling_rate: int,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    preparation: "Preparation | None" = None,
) -> WaveformStore:
    """The store of `sources`, built first where it does not stand, and again where its index cannot be read or its
    size is not what that says.

    Args:
        sources: the `audio` structs of a dataset, ``{"path": ..., "bytes": ... or None}``, one a row.
        sampling_rate: Hz of the stored waveforms.
        cache_dir: where stores live (default: see `ser_hf.cache.cache_root`).
        workers: decoding threads (default: the cores this process may use).
        preparation: what is done to each waveform (default: nothing); content hashes stay those of the recordings.

    Raises:
        AudioError: naming the unreadable files (the first few, and how many there are).
        UserError: if the cache cannot be written to, or its disk fills up.
    """
    if preparation is not None and not preparation.active:
        preparation = None
    folder = cache_root(cache_dir) / "waveforms" / _key(sources, sampling_rate, preparation)
    with built_once(folder, WaveformStore) as fresh:
        if fresh is not None:
            _tell_size(folder, sources, sampling_rate, workers, preparation)
            _build(fresh, sources, sampling_rate, workers, preparation)
    return WaveformStore(folder)


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


def _tell_size(
    folder: Path, sources: Sequence[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> None:
    """Says how large a store that is worth a word will be at most, as the headers of its files announce it; of very
    many files a share is asked, as each takes 0.1 ms."""

    def seconds(source: dict) -> float:
        try:
            return soundfile.info(
                source["path"] if source.get("bytes") is None else io.BytesIO(source["bytes"])
            ).duration
        except (soundfile.LibsndfileError, RuntimeError):
            return 0.0  # which decoding tells

    asked = sources[:: max(1, len(sources) // _ASKED)]
    duration = sum(in_order(seconds, asked, workers)) * len(sources) / max(1, len(asked))
    if preparation is not None and preparation.fixed_duration is not None:
        duration = len(sources) * preparation.fixed_duration
    needed = 4 * duration * sampling_rate
    if needed >= _TOLD_BYTES:
        free = shutil.disk_usage(folder.parent).free
        logger.log(
            logging.WARNING if needed > free else logging.INFO,
            "waveforms of %s files (%.1f h): about %s at %s, where %s are free",
            *(f"{len(sources):,}", duration / 3600, told_size(needed), folder.parent, told_size(free)),
        )


def _build(
    folder: Path, sources: Sequence[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> None:
    lengths, hashes, rates, channels, formats, failures = [], [], [], [], [], []
    before: dict[str, list[int]] = {"source_lengths": [], "trimmed_lengths": []}
    with (folder / "waveforms.f32").open("wb") as file:
        clips = _decoded_in_order(sources, sampling_rate, workers, preparation)
        for clip in tqdm(clips, total=len(sources), desc="preparing audio", unit="clip", disable=None):
            if isinstance(clip, AudioError):
                failures.append(clip)
            elif not failures:
                decoded, source_length, trimmed_length = clip
                file.write(decoded.samples)
                lengths.append(len(decoded.samples))
                hashes.append(decoded.content_hash)
                rates.append(decoded.source_rate)
                channels.append(decoded.channels)
                formats.append(decoded.format)
                before["source_lengths"].append(source_length)
                before["trimmed_lengths"].append(trimmed_length)
    if failures:
        raise _summary(failures, len(sources))
    differing = {name: np.array(other, dtype=np.int64) for name, other in before.items() if other != lengths}
    np.savez(
        folder / "index.npz",
        sampling_rate=sampling_rate,
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        content_hashes=np.array(hashes),
        source_rates=np.array(rates, dtype=np.int32),
        channels=np.array(channels, dtype=np.int16),
        formats=np.array(formats),
        **differing,
    )


def _decoded_in_order(
    sources: Sequence[dict], sampling_rate: int, workers: int | None, preparation: "Preparation | None"
) -> Iterator[tuple[Decoded, int, int] | AudioError]:
    """Decodes and prepares on threads; a bad file comes back as its error."""

    def work(source: dict) -> tuple[Decoded, int, int] | AudioError:
        try:
            return _prepared(decode(source["path"], source.get("bytes"), sampling_rate), preparation)
        except AudioError as error:
            return error

    return in_order(work, sources, workers)


def _prepared(clip: Decoded, preparation: "Preparation | None") -> tuple[Decoded, int, int]:
    """The clip with its waveform prepared, and how many samples it had before that and after trimming."""
    length = len(clip.samples)
    if preparation is None:
        return clip, length, length
    # Imported here because its package loads torch, which decoding alone does without.
    from ..models.waveform_preparation import prepare_waveform, trim_silence

    trimmed = length
    if preparation.trim_silence is not None:
        trimmed = len(trim_silence(clip.samples, clip.sampling_rate, preparation.trim_silence))
    return clip._replace(samples=prepare_waveform(clip.samples, clip.sampling_rate, preparation)), length, trimmed


def _summary(failures: list[AudioError], total: int) -> AudioError:
    if len(failures) == 1:
        return failures[0]
    for error in failures[1:_LISTED_ERRORS]:
        logger.error("%s", error)
    return AudioError(f"{failures[0]}; {len(failures)} of {total} files are bad")
