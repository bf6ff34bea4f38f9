"""Audio that is no file of its own, written once as one: parts of long recordings, and bytes inside tables.

Rows have paths, whatever the corpus; so what is cut or unpacked lies in the cache, under the key of what it is from.
Beside the files lies an index with the name, size and SHA-256 of each, written last: it says which file is whose, so
that no stray file can move them, and a file that is missing or another is noticed, and all of them are written anew.
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import soundfile

from ..utils.cache import built_once, cache_root, format_size, key_of, note_origin
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

_FORMAT = 2
_INDEX = "index.json"
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
    size = sum(source[1] for source in sources.values())
    with _built(folder, size) as fresh:
        if fresh is not None:
            _tell(folder, f"{len(pieces)} pieces of {len(sources)} recordings", size)
            by_source: dict[Path, list[int]] = {}
            for number, piece in enumerate(pieces):
                by_source.setdefault(piece.path, []).append(number)
            for path, numbers in sorted(by_source.items()):
                _cut_one(path, {number: pieces[number] for number in numbers}, fresh)
            names = [_name(number, ".wav") for number in range(len(pieces))]
            _write_index(fresh, {number: (name, _sha256(fresh / name)) for number, name in enumerate(names)})
    return list(_indexed(folder).values())


def _cut_one(path: Path, pieces: dict[int, Piece], folder: Path) -> None:
    try:
        with soundfile.SoundFile(path) as source:
            subtype = source.subtype if source.subtype in _KEPT_SUBTYPES else "FLOAT"
            # As whole numbers, PCM stays what it was to the last bit.
            dtype = "int32" if subtype.startswith("PCM") else "float64"
            for number, piece in pieces.items():
                if not math.isfinite(piece.start) or not math.isfinite(piece.end or 0):
                    raise UserError(f"{path}: no piece from {piece.start} to {piece.end} s; times are finite numbers")
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


def unpacked(table: Path, column: str, clips: Iterable[tuple[int, str | None, bytes]], size: int) -> dict[int, Path]:
    """The audio inside a table as files in the cache: number of the row -> file, ``row_0000007.wav``.

    The folder is known by the content of the table, so that neither a copy of it nor a new date is unpacked anew, and
    its name tells the table's, so that what is said of a file later (that it holds no audio) says where it is from.

    Args:
        clips: row, the name that its audio had (for the suffix), and its bytes; read only where the folder is built.
        size: bytes of all, told beforehand.
    """
    told = re.sub(r"[^\w.-]", "_", table.stem)[:80]
    folder = cache_root() / "unpacked" / f"{told}-{key_of([_FORMAT, content_sha256(table), column])}"
    with _built(folder, size) as fresh:
        if fresh is not None:
            _tell(folder, f"the audio inside {table}", size)
            entries = {}
            for number, name, content in clips:
                file = f"row_{_name(number, _suffix(name, content))}"
                (fresh / file).write_bytes(content)
                entries[number] = (file, hashlib.sha256(content).hexdigest())
            _write_index(fresh, entries)
    note_origin(folder, table)
    return _indexed(folder)


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's content, which is remembered by path, size and date, as large files take minutes.

    Raises:
        UserError: where it cannot be read.
    """
    note = cache_root() / "unpacked" / "digests" / key_of([str(path.resolve()), *_stamp(path)])
    with suppress(OSError, UnicodeDecodeError):
        known = note.read_text(encoding="ascii")
        if re.fullmatch(r"[0-9a-f]{64}", known):
            return known
    digest = _sha256(path)
    with suppress(OSError):  # a cache that cannot be written to remembers nothing
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_name(f"{note.name}.{os.getpid()}.partial")
        partial.write_text(digest, encoding="ascii")
        partial.replace(note)
    return digest


@contextmanager
def _built(folder: Path, size: int) -> Iterator[Path | None]:
    """`built_once`, whose complaint names what of its remedies counts here."""
    try:
        with built_once(folder, _check, needed=lambda: size) as fresh:
            yield fresh
    except UserError as error:
        both = "audio.cache_dir, or the environment's SER_HF_CACHE,"
        only = "the environment's SER_HF_CACHE (audio.cache_dir is for waveforms alone)"
        raise UserError(str(error).replace(both, only)) from error.__cause__


def _write_index(folder: Path, entries: dict[int, tuple[str, str]]) -> None:
    """The index of a folder that is filled: number -> name and SHA-256."""
    listed = [[number, name, *_stamp(folder / name), sha256] for number, (name, sha256) in entries.items()]
    (folder / _INDEX).write_text(json.dumps(listed), encoding="utf-8")


def _indexed(folder: Path) -> dict[int, Path]:
    return {entry[0]: folder / entry[1] for entry in json.loads((folder / _INDEX).read_text(encoding="utf-8"))}


def _check(folder: Path) -> None:
    """Raises an OSError or ValueError for a folder whose files are not those of its index. A file with the size and
    the date that it was written with is taken as it is; another is read."""
    for _, name, size, date, sha256 in json.loads((folder / _INDEX).read_text(encoding="utf-8")):
        stat = (folder / name).stat()
        if stat.st_size != size or (stat.st_mtime_ns != date and _sha256(folder / name) != sha256):
            raise ValueError(f"{name} is not what was written")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _name(number: int, suffix: str) -> str:
    return f"{number:07d}{suffix}"


def _suffix(name: str | None, content: bytes) -> str:
    """By the content's first bytes, else by the name that it had; MP3 has no certain mark."""
    found = next((suffix for mark, suffix in _MAGIC if content.startswith(mark)), None)
    own = os.path.splitext(name or "")[1].lower()
    return found or (own if re.fullmatch(r"\.[a-z0-9]{1,8}", own) else ".mp3")


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return [stat.st_size, stat.st_mtime_ns]


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror})")


def _tell(folder: Path, what: str, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    level = logging.WARNING if size > free else logging.INFO
    logger.log(
        level,
        "%s: about %s to be written to %s, where %s are free",
        what,
        format_size(size),
        folder,
        format_size(free),
    )
