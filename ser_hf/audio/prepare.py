"""Decoding of a dataset: rows get their duration and content hash, waveforms go to the store."""

import logging
from collections import Counter
from collections.abc import Sequence
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
    several = np.flatnonzero(store.channels > 1)
    if len(several):
        first = dataset["id"][int(several[0])]
        logger.info("%d clips with several channels mixed to mono (the first: %s)", len(several), first)
    named = zip((source["path"] for source in sources), store.formats, strict=True)
    wrong = [f"{path} is {format}" for path, format in named if path and not suffix_matches_format(path, format)]
    if wrong:
        logger.warning("%d files have the suffix of another format (%s)", len(wrong), wrong[0])
    rates = Counter(store.source_rates.tolist())
    if len(rates) > 1:
        shown = ", ".join(f"{rate} Hz: {count}" for rate, count in sorted(rates.items()))
        logger.info("source sampling rates differ (%s); all are stored at %d Hz", shown, store.sampling_rate)


def _log_changes(store: WaveformStore) -> None:
    """Logs how much of the recordings was removed, and how many clips were padded with silence."""
    recorded, trimmed, stored = store.source_lengths, store.trimmed_lengths, store.lengths
    cut = np.minimum(trimmed, stored)
    for what, before, after in (("silence trimmed", recorded, trimmed), ("cut to the fixed duration", trimmed, cut)):
        clips = np.count_nonzero(after < before)
        if clips:
            share, hours = 1 - after.sum() / before.sum(), before.sum() / store.sampling_rate / 3600
            logger.info("%s: %.1f %% of %.2f h (in %d of %d clips)", what, 100 * share, hours, clips, len(store))
    padded = np.count_nonzero(stored > trimmed)
    if padded:
        logger.info("padded with silence to the fixed duration: %d of %d clips", padded, len(store))


# Suffixes of all formats that libsndfile reads.
_SUFFIXES = set().union(*SUFFIXES.values()) | {".aifc", ".caf", ".opus", ".snd", ".sph", ".w64"}


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """The audio files below `folder`, sorted by path, as a store of waveforms at `sampling_rate` Hz in `cache_dir`.

    Links are followed, a folder with several links is read once, and hidden folders and files are left out.

    Raises:
        UserError: naming `key` of the recipe, and the path that is missing, cannot be read or has no audio.
        AudioError: naming the files that cannot be decoded.
    """

    def refuse(error: OSError) -> None:
        raise error

    if not str(folder).strip():
        raise UserError(f"{key}: {str(folder)!r} is not a folder; give its path, or remove the key")
    try:
        root = Path(folder).expanduser()
        files = [Path(below, name) for below, names in folders_below(root, refuse) for name in names]
        # A broken link is refused: it may be a folder of recordings.
        audio = [path for path in files if path.suffix.lower() in _SUFFIXES or path.is_symlink()]
        paths = sorted(path for path in audio if path.stat() and path.is_file() and path.suffix.lower() in _SUFFIXES)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path, no such user's home
        raise UserError(f"{key}: cannot read {str(folder)!r}: {error}; correct the path, or remove the key") from None
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    return open_store([{"path": str(path), "bytes": None} for path in paths], sampling_rate, cache_dir)
