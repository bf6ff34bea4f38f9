"""Decoding of a dataset: rows get their duration and content hash, waveforms go to the store."""

import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from ..utils.errors import UserError
from ..utils.files import folders_below
from .decode import SUFFIXES, suffix_matches_format
from .store import WaveformStore, open_store

if TYPE_CHECKING:
    from ..models.preparation import Preparation

logger = logging.getLogger(__name__)


def prepare(
    dataset: Dataset,
    sampling_rate: int = 16000,
    cache_dir: str | Path | None = None,
    preparation: "Preparation | None" = None,
) -> tuple[Dataset, WaveformStore]:
    """Fills `duration` (seconds) and `content_hash` of every row; the store holds row i's waveform at `store[i]`.

    With a `preparation` the store holds the prepared waveforms; both columns describe the recordings.

    Raises:
        AudioError: naming the files that are empty, truncated, not audio or not finite.
    """
    sources = _sources(dataset)
    store = open_store(sources, sampling_rate, cache_dir, preparation=preparation)
    _log_irregularities(dataset, sources, store)
    _log_changes(store)
    columns = dataset.column_names
    dataset = dataset.remove_columns(["duration", "content_hash"])
    dataset = dataset.add_column("duration", store.durations.astype("float32"))
    dataset = dataset.add_column("content_hash", store.content_hashes)
    return dataset.select_columns(columns), store


def _sources(dataset: Dataset) -> Sequence[dict]:
    """The rows' `audio`: a list if all are paths, else a lazy column, because embedded bytes may not fit in memory."""
    column = dataset["audio"]
    chunks = dataset.data.column("audio").chunks
    paths_alone = all(chunk.field("bytes").null_count == len(chunk) for chunk in chunks)
    return column[:] if paths_alone else column


def _log_irregularities(dataset: Dataset, sources: Sequence[dict], store: WaveformStore) -> None:
    """Logs clips that were mixed to mono, wrong suffixes, and different sampling rates."""
    several = [i for i, channels in enumerate(store.channels) if channels > 1]
    if several:
        first = dataset["id"][several[0]]
        logger.info("%d clips with several channels mixed to mono (the first: %s)", len(several), first)
    paths = [source["path"] for source in sources]
    wrong = [i for i, path in enumerate(paths) if path and not suffix_matches_format(path, store.formats[i])]
    if wrong:
        first = f"{paths[wrong[0]]} is {store.formats[wrong[0]]}"
        logger.warning("%d files have the suffix of another format (%s)", len(wrong), first)
    rates = Counter(store.source_rates.tolist())
    if len(rates) > 1:
        shown = ", ".join(f"{rate} Hz: {count}" for rate, count in sorted(rates.items()))
        logger.info("source sampling rates differ (%s); all are stored at %d Hz", shown, store.sampling_rate)


def _log_changes(store: WaveformStore) -> None:
    """Logs how much of the recordings was removed, and how many clips were padded with silence."""
    recorded, trimmed, stored = store.source_lengths, store.trimmed_lengths, store.lengths
    _log_removed("silence trimmed", recorded, trimmed, store.sampling_rate)
    _log_removed("cut to the fixed duration", trimmed, np.minimum(trimmed, stored), store.sampling_rate)
    padded = np.count_nonzero(stored > trimmed)
    if padded:
        logger.info("padded with silence to the fixed duration: %d of %d clips", padded, len(store))


def _log_removed(what: str, before: np.ndarray, after: np.ndarray, sampling_rate: int) -> None:
    clips = np.count_nonzero(after < before)
    if clips:
        share, seconds = 1 - after.sum() / before.sum(), before.sum() / sampling_rate
        amount = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
        logger.info("%s: %.1f %% of %s (in %d of %d clips)", what, 100 * share, amount, clips, len(before))


# Suffixes of all formats that libsndfile reads.
_SUFFIXES = set().union(*SUFFIXES.values()) | {".aifc", ".caf", ".opus", ".snd", ".sph", ".w64"}
_REASONS = {errno.ENOENT: "no such folder", errno.ENOTDIR: "a file; name the folder that holds it"}


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """The audio files below `folder`, sorted by path, as a store of waveforms at `sampling_rate` Hz in `cache_dir`.

    Links are followed, a folder with several links is read once, and hidden folders and files are left out.

    Raises:
        UserError: naming `key` of the recipe, and the path that is missing, cannot be read or has no audio.
        AudioError: naming the files that cannot be decoded.
    """
    if not str(folder).strip() or "\0" in str(folder):
        raise UserError(f"{key}: {str(folder)!r} is not a folder; give its path, or remove the key")
    try:
        root = Path(folder).expanduser()
    except RuntimeError:
        raise UserError(f"{key}: {folder}: no such user's home; give the folder's path") from None
    paths = sorted((path.relative_to(root).parts, str(path)) for path in _audio_files(root, key))
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    return open_store([{"path": path, "bytes": None} for _, path in paths], sampling_rate, cache_dir)


def _audio_files(root: Path, key: str) -> Iterator[Path]:
    """The files with the suffix of audio, in no order; raises a UserError for unreadable paths."""

    def refuse(error: OSError) -> None:
        reason = _REASONS.get(error.errno) if error.filename == str(root) else None
        raise _refused(key, error.filename, reason or f"cannot be read ({error.strerror})") from None

    for folder, names in folders_below(root, refuse):
        for name in names:
            path = Path(folder, name)
            named = path.suffix.lower() in _SUFFIXES
            # A broken link may be a folder of recordings.
            if not (named or os.path.islink(path)):
                continue
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                raise _refused(key, path, f"cannot be read ({error.strerror})") from None
            if named and regular:
                try:
                    str(path).encode()
                except UnicodeEncodeError:
                    raise _refused(key, path, "its name is not UTF-8; rename it") from None
                yield path


def _refused(key: str, path: str | Path, reason: str) -> UserError:
    shown = os.fsencode(path).decode(errors="backslashreplace")
    return UserError(f"{key}: {shown}: {reason}")
