"""A folder of recordings, for noise and impulse responses, as a store of waveforms."""

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
    """The audio files below a folder, sorted by path, as a store of waveforms.

    Links are followed, a folder with several links is read once, and hidden folders and files are
    left out.

    Args:
        folder: the folder.
        sampling_rate: of the waveforms, in Hz.
        key: of the recipe, for messages.
        cache_dir: where stores are kept (default: see `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: naming `key`, and the path that is missing, cannot be read or has no audio.
        AudioError: naming the files that cannot be decoded.
    """
    if not str(folder).strip():
        raise UserError(f"{key}: {str(folder)!r} is not a folder; give its path, or remove the key")
    try:
        paths = _audio_files(Path(folder).expanduser())
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path, no such user's home
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
            # A broken link is refused, whatever its name: it may be a folder of recordings.
            if is_audio or path.is_symlink():
                path.stat()
            if is_audio and path.is_file():
                paths.append(path)
    return sorted(paths)


def _refuse(error: OSError) -> None:
    raise error
