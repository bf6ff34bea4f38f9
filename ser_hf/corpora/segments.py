"""Audio files in the cache for clips that are not files: segments of long recordings, and audio inside tables.

A folder of the cache is named by a hash of its source. Its index holds name, size and SHA-256 of each file and is
written last. If a file is missing or has other content, all files of the folder are written again.
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

from ..utils.cache import built_once, cache_root, format_size, key_of
from ..utils.errors import UserError

logger = logging.getLogger(__name__)

_FORMAT = 2
_INDEX = "index.json"
_KEPT_SUBTYPES = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
_MAGIC = ((b"RIFF", ".wav"), (b"RF64", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"FORM", ".aiff"))


class Segment(NamedTuple):
    """A part of a recording, from `start` to `end` in seconds (None: to its end)."""

    path: Path
    start: float
    end: float | None


def cut_segments(segments: Sequence[Segment]) -> list[Path]:
    """One WAV file in the cache for each segment, with the recording's sampling rate and channels.

    Raises:
        UserError: for a recording that cannot be read, and for a segment that is empty or ends after the recording
            (by more than rounding).
    """
    sources = {path: [str(path), *_stamp(path)] for path in sorted({segment.path for segment in segments})}
    described = [_FORMAT, list(sources.values()), [[str(path), *times] for path, *times in segments]]
    folder = cache_root() / "pieces" / key_of(described)
    size = sum(source[1] for source in sources.values())
    with _built(folder, size) as fresh:
        if fresh is not None:
            _log_size(folder, f"{len(segments)} segments of {len(sources)} recordings", size)
            by_source: dict[Path, list[int]] = {}
            for number, segment in enumerate(segments):
                by_source.setdefault(segment.path, []).append(number)
            for path, numbers in sorted(by_source.items()):
                _cut_recording(path, {number: segments[number] for number in numbers}, fresh)
            names = [_name(number, ".wav") for number in range(len(segments))]
            _write_index(fresh, {number: (name, _sha256(fresh / name)) for number, name in enumerate(names)})
    return list(_indexed(folder).values())


def _cut_recording(path: Path, segments: dict[int, Segment], folder: Path) -> None:
    try:
        with soundfile.SoundFile(path) as source:
            subtype = source.subtype if source.subtype in _KEPT_SUBTYPES else "FLOAT"
            # PCM read as integers stays exact.
            dtype = "int32" if subtype.startswith("PCM") else "float64"
            for number, segment in segments.items():
                if not math.isfinite(segment.start) or not math.isfinite(segment.end or 0):
                    raise UserError(
                        f"{path}: no segment from {segment.start} to {segment.end} s; expected finite times"
                    )
                first = round(segment.start * source.samplerate)
                last = source.frames if segment.end is None else round(segment.end * source.samplerate)
                if not 0 <= first < last or last > source.frames + source.samplerate // 100:
                    raise UserError(
                        f"{path}: no segment from {segment.start:g} to {last / source.samplerate:g} s; the "
                        f"recording has {source.frames / source.samplerate:g} s; check that it belongs to the table"
                    )
                source.seek(first)
                samples = source.read(last - first, dtype=dtype, always_2d=True)
                target = folder / _name(number, ".wav")
                soundfile.write(target, samples, source.samplerate, subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: cannot be read as audio: {error.error_string}") from None


def unpack(table: Path, column: str, clips: Iterable[tuple[int, str | None, bytes]], size: int) -> dict[int, Path]:
    """Writes the audio inside a table to files in the cache: number of the row -> file, ``row_0000007.wav``.

    The folder depends on the content of the table, so a copy of the table or a new date is not unpacked again. Its
    name contains the table's, so that a later message about a file shows its origin.

    Args:
        clips: row, original name of the audio (for the suffix), and its bytes; read only if the folder is built.
        size: the expected number of bytes of all.
    """
    name = re.sub(r"[^\w.-]", "_", table.stem)[:80]
    folder = cache_root() / "unpacked" / f"{name}-{key_of([_FORMAT, content_sha256(table), column])}"
    with _built(folder, size) as fresh:
        if fresh is not None:
            _log_size(folder, f"the audio inside {table}", size)
            entries = {}
            for number, name, content in clips:
                file = f"row_{_name(number, _suffix(name, content))}"
                (fresh / file).write_bytes(content)
                entries[number] = (file, hashlib.sha256(content).hexdigest())
            _write_index(fresh, entries)
    return _indexed(folder)


def content_sha256(path: Path) -> str:
    """SHA-256 of a file, cached by path, size and date, because large files take minutes."""
    note = cache_root() / "unpacked" / "digests" / key_of([str(path.resolve()), *_stamp(path)])
    with suppress(OSError, UnicodeDecodeError):
        known = note.read_text(encoding="ascii")
        if re.fullmatch(r"[0-9a-f]{64}", known):
            return known
    digest = _sha256(path)
    with suppress(OSError):  # a read-only cache stores no digest
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_name(f"{note.name}.{os.getpid()}.partial")
        partial.write_text(digest, encoding="ascii")
        partial.replace(note)
    return digest


@contextmanager
def _built(folder: Path, size: int) -> Iterator[Path | None]:
    """`built_once`, with an error message that names only the remedies that apply here."""
    try:
        with built_once(folder, _check, needed=lambda: size) as fresh:
            yield fresh
    except UserError as error:
        both = "audio.cache_dir, or the environment's SER_HF_CACHE,"
        only = "the environment's SER_HF_CACHE (audio.cache_dir is for waveforms alone)"
        raise UserError(str(error).replace(both, only)) from error.__cause__


def _write_index(folder: Path, entries: dict[int, tuple[str, str]]) -> None:
    listed = [[number, name, *_stamp(folder / name), sha256] for number, (name, sha256) in entries.items()]
    (folder / _INDEX).write_text(json.dumps(listed), encoding="utf-8")


def _indexed(folder: Path) -> dict[int, Path]:
    return {entry[0]: folder / entry[1] for entry in json.loads((folder / _INDEX).read_text(encoding="utf-8"))}


def _check(folder: Path) -> None:
    """Raises an OSError or ValueError if the files differ from the index. Only a file with another date is read."""
    for _, name, size, date, sha256 in json.loads((folder / _INDEX).read_text(encoding="utf-8")):
        stat = (folder / name).stat()
        if stat.st_size != size or (stat.st_mtime_ns != date and _sha256(folder / name) != sha256):
            raise ValueError(f"{name} has changed since it was written")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _name(number: int, suffix: str) -> str:
    return f"{number:07d}{suffix}"


def _suffix(name: str | None, content: bytes) -> str:
    """From the first bytes of the content, else from the original name; MP3 has no reliable signature."""
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


def _log_size(folder: Path, what: str, size: int) -> None:
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
