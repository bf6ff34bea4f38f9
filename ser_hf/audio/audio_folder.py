"""A folder of recordings that clips are mixed or convolved with, decoded once like any corpus."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..folders import folders_below
from .decode import SUFFIXES
from .store import WaveformStore, open_store

# What libsndfile reads besides the formats whose suffixes `decode` knows.
_SUFFIXES = set().union(*SUFFIXES.values()) | {".aifc", ".caf", ".opus", ".snd", ".sph", ".w64"}
_REASONS = {errno.ENOENT: "no such folder", errno.ENOTDIR: "a file; name the folder that holds it"}


def open_audio_folder(
    folder: str | Path, sampling_rate: int, key: str, cache_dir: str | Path | None = None
) -> WaveformStore:
    """The audio files anywhere under `folder`, by their paths' order, as a store of waveforms at `sampling_rate` Hz.

    It is built on the first call and lies in `cache_dir` ever after; pieces are then read from the memory-mapped
    file, which costs neither a decoder nor memory of each worker's own, however long the recordings are. Links are
    followed, a folder to which several lead is met once, and hidden folders and files are left out.

    Raises:
        UserError: naming `key`, the recipe's, and the path that is missing, cannot be read or holds no audio.
        AudioError: naming the files that cannot be decoded.
    """
    if not str(folder).strip() or "\0" in str(folder):
        raise UserError(f"{key}: {str(folder)!r} names no folder; give its path, or leave the key out")
    try:
        root = Path(folder).expanduser()
    except RuntimeError:
        raise UserError(f"{key}: {folder}: no such user's home; give the folder's path") from None
    paths = sorted((path.relative_to(root).parts, str(path)) for path in _audio_files(root, key))
    if not paths:
        raise UserError(f"{key}: {folder}: no audio file there ({', '.join(sorted(_SUFFIXES))})")
    return open_store([{"path": path, "bytes": None} for _, path in paths], sampling_rate, cache_dir)


def _audio_files(root: Path, key: str) -> Iterator[Path]:
    """What has the name of an audio file, in no order; what cannot be looked at is refused."""

    def refuse(error: OSError) -> None:
        reason = _REASONS.get(error.errno) if error.filename == str(root) else None
        raise _refused(key, error.filename, reason or f"cannot be read ({error.strerror})") from None

    for folder, names in folders_below(root, refuse):
        for name in names:
            path = Path(folder, name)
            named = path.suffix.lower() in _SUFFIXES
            # A link may have lost its folder, whose recordings would be missing.
            if not (named or os.path.islink(path)):
                continue
            try:
                regular = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                raise _refused(key, path, f"cannot be read ({error.strerror})") from None
            if named and regular:
                yield _decodable(path, key)


def _decodable(path: Path, key: str) -> Path:
    """The path, whose name libsndfile takes as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise _refused(key, path, "its name is not UTF-8; rename it") from None
    return path


def _refused(key: str, path: str | Path, reason: str) -> UserError:
    shown = os.fsencode(path).decode(errors="backslashreplace")
    return UserError(f"{key}: {shown}: {reason}")
