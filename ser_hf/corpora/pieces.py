"""Audio that is no file of its own, written once as one: parts of long recordings, and bytes inside tables.

Rows have paths, whatever the corpus; so what is cut or unpacked lies in the cache, under the key of what it is from.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile

from ..cache import built_once, cache_root, key_of, told_size
from ..errors import UserError

logger = logging.getLogger(__name__)

_FORMAT = 1
_KEPT_SUBTYPES = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
_MAGIC = ((b"RIFF", ".wav"), (b"RF64", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"FORM", ".aiff"))


class Piece(NamedTuple):
    """A part of a recording, from `start` to `end` in seconds (None: to its end)."""

    path: Path
    start: float
    end: float | None


def cut(pieces: Sequence[Piece]) -> list[Path]:
    """One WAV file for each piece, at the recording's own rate and channels, in the cache.

    Raises:
        UserError: for a recording that cannot be read, and for a piece that has no sample or reaches beyond its end
            (by more than rounding).
    """
    sources = {path: [str(path), *_stamp(path)] for path in sorted({piece.path for piece in pieces})}
    described = [_FORMAT, list(sources.values()), [[str(path), *times] for path, *times in pieces]]
    folder = cache_root() / "pieces" / key_of(described)
    with built_once(folder) as fresh:
        if fresh is not None:
            _tell(folder, f"{len(pieces)} pieces of {len(sources)} recordings", sum(s[1] for s in sources.values()))
            by_source: dict[Path, list[int]] = {}
            for number, piece in enumerate(pieces):
                by_source.setdefault(piece.path, []).append(number)
            for path, numbers in sorted(by_source.items()):
                _cut_one(path, {number: pieces[number] for number in numbers}, fresh)
    return [folder / _name(number, ".wav") for number in range(len(pieces))]


def _cut_one(path: Path, pieces: dict[int, Piece], folder: Path) -> None:
    try:
        with soundfile.SoundFile(path) as source:
            subtype = source.subtype if source.subtype in _KEPT_SUBTYPES else "FLOAT"
            # As whole numbers, PCM stays what it was to the last bit.
            dtype = "int32" if subtype.startswith("PCM") else "float64"
            for number, piece in pieces.items():
                first = round(piece.start * source.samplerate)
                last = source.frames if piece.end is None else round(piece.end * source.samplerate)
                if not 0 <= first < last or last > source.frames + source.samplerate // 100:
                    raise UserError(
                        f"{path}: no piece from {piece.start:g} to {last / source.samplerate:g} s; the recording has "
                        f"{source.frames / source.samplerate:g} s; is it the one that the table was made from?"
                    )
                source.seek(first)
                samples = source.read(last - first, dtype=dtype, always_2d=True)
                target = folder / _name(number, ".wav")
                soundfile.write(target, samples, source.samplerate, subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: cannot be read as audio: {error.error_string}") from None


def unpacked(key: str, clips: Iterable[tuple[str | None, bytes]], size: int, source: str) -> Path:
    """The folder in the cache where the bytes of each clip lie as a file, ``000000.wav`` and so on.

    Args:
        key: of what the clips are from; a folder that stands under it is taken as it is.
        clips: for each the name that it had (for its suffix), and its bytes; read only where the folder is built.
        size: bytes of all, told beforehand.
        source: what they are from, in words.
    """
    folder = cache_root() / "unpacked" / key
    with built_once(folder) as fresh:
        if fresh is not None:
            _tell(folder, f"the audio inside {source}", size)
            for number, (name, content) in enumerate(clips):
                (fresh / _name(number, _suffix(name, content))).write_bytes(content)
    return folder


def files_of(folder: Path) -> list[Path]:
    """The files of such a folder, in the order of the clips."""
    return sorted(folder.iterdir())


def _name(number: int, suffix: str) -> str:
    return f"{number:07d}{suffix}"


def _suffix(name: str | None, content: bytes) -> str:
    """By the content's first bytes, else by the name that it had; MP3 has no certain mark."""
    found = next((suffix for mark, suffix in _MAGIC if content.startswith(mark)), None)
    return found or os.path.splitext(name or "")[1].lower() or ".mp3"


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return [stat.st_size, stat.st_mtime_ns]


def _tell(folder: Path, what: str, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    level = logging.WARNING if size > free else logging.INFO
    logger.log(
        level, "%s: about %s to be written to %s, where %s are free", what, told_size(size), folder, told_size(free)
    )
