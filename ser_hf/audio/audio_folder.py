"""Waveform stores of folders with recordings, such as noise and impulse responses."""

from pathlib import Path

from ..utils.errors import UserError
from ..utils.files import folders_below
from .build_store import open_store
from .decode import SUFFIXES
from .store import WaveformStore

# Suffixes of all formats that libsndfile reads.
_SUFFIXES = SUFFIXES | {".aifc", ".caf", ".snd", ".sph", ".w64"}


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """Open the waveform store of all audio files below a folder, sorted by path.

    Links are followed, but a folder with several links is read once. Hidden folders and files are
    left out.

    Args:
        folder: the folder.
        sampling_rate: the sampling rate of the waveforms, in Hz.
        key: the key of the recipe that names the folder, for messages.
        cache_dir: the folder of all stores (default: see `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: if the folder is missing, cannot be read or has no audio; the message names `key`
            and the path.
        AudioError: if files cannot be decoded; the message names them.
    """
    if not str(folder).strip():
        raise UserError(f"{key}: {str(folder)!r} is not a folder; give its path, or remove the key")
    try:
        paths = _audio_files(Path(folder).expanduser())
    # A ValueError is for a NUL in the path, a RuntimeError for the home of an unknown user.
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{key}: cannot read {str(folder)!r}: {error}; correct the path, or remove the key"
        ) from None
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    sources = [{"path": str(path), "bytes": None} for path in paths]
    return open_store(sources, sampling_rate, cache_dir)


def _audio_files(root: Path) -> list[Path]:
    """The audio files below a folder, sorted.

    Raises:
        OSError: if a folder cannot be read or a link is broken.
    """
    paths = []
    for folder, names in folders_below(root, _refuse):
        for name in names:
            path = Path(folder, name)
            is_audio = path.suffix.lower() in _SUFFIXES
            # `stat` raises an OSError for a broken link. Its name does not matter, because it may
            # be a link to a folder of recordings.
            if is_audio or path.is_symlink():
                path.stat()
            if is_audio and path.is_file():
                paths.append(path)
    return sorted(paths)


def _refuse(error: OSError) -> None:
    raise error
