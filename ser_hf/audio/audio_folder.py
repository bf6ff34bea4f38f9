"""A folder of recordings that clips are mixed or convolved with, decoded once like any corpus."""

from pathlib import Path

from ..errors import UserError
from .decode import SUFFIXES
from .store import WaveformStore, open_store

# What libsndfile reads besides the formats whose suffixes `decode` knows.
_SUFFIXES = set().union(*SUFFIXES.values()) | {".aifc", ".caf", ".opus", ".snd", ".sph", ".w64"}


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """The audio files anywhere under `folder`, by their paths' order, as a store of waveforms at `sampling_rate` Hz.

    It is built on the first call and lies in `cache_dir` ever after; pieces are then read from the memory-mapped
    file, which costs neither a decoder nor memory of each worker's own, however long the recordings are.

    Raises:
        UserError: naming `key`, the recipe's, where there is no such folder or no audio in it.
        AudioError: naming the files that cannot be read.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{key}: {folder}: no such folder")
    # Hidden files are no recordings: macOS leaves `._name.wav` beside what it copies.
    found = [path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")]
    paths = sorted((path.relative_to(root).parts, path) for path in found if path.is_file())
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    return open_store([{"path": str(path), "bytes": None} for _, path in paths], sampling_rate, cache_dir)
