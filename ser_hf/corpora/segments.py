"""Audio files in the cache for clips that are not files: segments of long recordings, and audio inside tables.

A folder of the cache is named by a hash of its source. Its index holds name, size and SHA-256 of each file and is
written last. If a file is missing or has other content, all files of the folder are written again.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    with _built(folder, size, f"{len(segments)} segments of {len(sources)} recordings") as fresh:
        if fresh is not None:
            by_source: dict[Path, list[int]] = {}
            for number, segment in enumerate(segments):
                by_source.setdefault(segment.path, []).append(number)
            names = {number: f"{number:07d}.wav" for number in range(len(segments))}
            for path, numbers in sorted(by_source.items()):
                _cut_recording(path, {fresh / names[number]: segments[number] for number in numbers})
            _write_index(fresh, names)
    return list(_indexed(folder).values())


def _cut_recording(path: Path, segments: Mapping[Path, Segment]) -> None:
    try:
        with soundfile.SoundFile(path) as source:
            subtype = source.subtype if source.subtype in _KEPT_SUBTYPES else "FLOAT"
            # PCM read as integers stays exact.
            dtype = "int32" if subtype.startswith("PCM") else "float64"
            for target, (_, start, end) in segments.items():
                length = source.frames / source.samplerate
                end = length if end is None else end
                valid = 0 <= start < end <= length + 0.01  # times are rounded; false for NaN
                first, last = (round(time * source.samplerate) if valid else 0 for time in (start, end))
                if first == last:
                    raise UserError(f"{path}: no segment from {start:g} to {end:g} s; the recording has {length:g} s")
                source.seek(first)
                samples = source.read(last - first, dtype=dtype, always_2d=True)
                soundfile.write(target, samples, source.samplerate, subtype=subtype)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: cannot be read as audio: {error.error_string}") from None


def unpack(title: str, key: str, clips: Iterable[tuple[int, str | None, bytes]], size: int) -> dict[int, Path]:
    """Writes the audio inside a table to files in the cache: number of the row -> file, ``row_0000007.wav``.

    Args:
        title: of the table, which is part of the folder's name, so that a message about a file shows its origin.
        key: identifies the content of the table.
        clips: row, original name of the audio (for the suffix), and its bytes; read only if the folder is built.
        size: the expected number of bytes of all.
    """
    name = re.sub(r"[^\w.-]", "_", title)[:80]
    folder = cache_root() / "unpacked" / f"{name}-{key_of([_FORMAT, key])}"
    with _built(folder, size, f"the audio of {title}") as fresh:
        if fresh is not None:
            names = {}
            for number, original, content in clips:
                names[number] = f"row_{number:07d}{_suffix(original, content)}"
                (fresh / names[number]).write_bytes(content)
            _write_index(fresh, names)
    return _indexed(folder)


@contextmanager
def _built(folder: Path, size: int, what: str) -> Iterator[Path | None]:
    """`built_once` for a folder of about `size` bytes, with a log line."""
    with built_once(folder, _check, needed=lambda: size) as fresh:
        if fresh is not None:
            logger.info("%s: about %s to be written to %s", what, format_size(size), folder)
        yield fresh


def _write_index(folder: Path, names: Mapping[int, str]) -> None:
    listed = [[number, name, *_stamp(folder / name), _sha256(folder / name)] for number, name in names.items()]
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _suffix(name: str | None, content: bytes) -> str:
    """From the first bytes of the content, else from the original name; MP3 has no reliable signature."""
    found = next((suffix for mark, suffix in _MAGIC if content.startswith(mark)), None)
    own = os.path.splitext(name or "")[1].lower()
    return found or (own if re.fullmatch(r"\.[a-z0-9]{1,8}", own) else ".mp3")


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return [stat.st_size, stat.st_mtime_ns]
