"""Files of chunks (WAV, AIFF): the sizes that the chunks state, compared with the file.

Recorders that are cut off and programs that write to a pipe leave sizes that are zero, too small,
or the largest possible, and libsndfile takes most of them literally. What follows the samples is a
chunk (an identifier and a size that fits), padding, a tag, another file, or else more samples.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

from ..remarks import Remark, RemarkKind
from .layout import Content, Layout, Part, Section
from .tags import TAGS

# Sizes near 2**31 and 2**32 stand for "unknown": ffmpeg, SoX, arecord and espeak write 0xFFFFFFFF,
# 0x7FFFF000, 0x80000000 and the like, partly with the length of the header added or subtracted.
_UNKNOWN_SIZES = (range(0x7FFFF000, 0x80000100), range(0xFFFFF000, 2**32))
# The first bytes of another file.
_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
# Chunks that are written after the samples. Only these are recognized if the file ends in them.
_KNOWN_CHUNKS = frozenset(
    [
        *(b"LIST", b"bext", b"cue ", b"fact", b"smpl", b"inst", b"id3 ", b"ID3 ", b"iXML"),
        *(b"_PMX", b"JUNK", b"PAD ", b"PEAK", b"afsp", b"LGWV", b"acid", b"note", b"labl"),
        *(b"plst", b"NAME", b"AUTH", b"ANNO", b"(c) ", b"MARK", b"INST", b"COMM", b"COMT"),
        *(b"AESD", b"MIDI", b"APPL", b"FVER"),
    ]
)
# A rest below this number of seconds is not read: no recorder writes such a small block.
_SHORTEST_REST = 0.01

Order = Literal["little", "big"]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk: its identifier, the position of its header, and the size that the header states."""

    name: bytes
    start: int
    size: int

    @property
    def begin(self) -> int:
        """The position of the content."""
        return self.start + 8

    @property
    def end(self) -> int:
        """The position after the content and its padding byte."""
        return self.begin + self.size + (self.size & 1)


@dataclasses.dataclass(frozen=True)
class Extent:
    """The samples of one file of chunks.

    Args:
        stop: the position after the last sample.
        remark: how the sizes in the header differ from the file.
        shortfall: see `Layout`.
        next_file: the position of another file that was joined to this one, or None.
    """

    stop: int
    remark: Remark | None = None
    shortfall: str | None = None
    next_file: int | None = None


@dataclasses.dataclass(frozen=True)
class _Rest:
    """What follows the samples.

    Args:
        is_audio: whether more samples follow.
        is_cut: whether the file ends in a chunk.
        has_chunks: whether at least one whole chunk follows.
        next_file: the position of another file, or None.
    """

    is_audio: bool = False
    is_cut: bool = False
    has_chunks: bool = False
    next_file: int | None = None


def chunks_until(content: Content, position: int, order: Order, last: bytes) -> list[Chunk]:
    """The chunks from a position up to the first with the name `last`, which is included."""
    chunks = []
    while position + 8 <= content.size:
        header = content.read(position, 8)
        chunk = Chunk(header[:4], position, int.from_bytes(header[4:], order))
        chunks.append(chunk)
        if chunk.name == last:
            break
        position = chunk.end
    return chunks


def extent(
    content: Content, data: Chunk, *, order: Order, stated_end: int, byte_rate: int
) -> Extent:
    """Compare the size of the chunk of samples with the file.

    Args:
        content: the file.
        data: the chunk of samples.
        order: the byte order of the sizes.
        stated_end: the end of the file according to its first chunk.
        byte_rate: the bytes per second of the samples; 0 if unknown.
    """
    held = content.size - data.begin
    rest = _rest(content, data.end, order, byte_rate)
    no_size = data.size == 0 and held > 0 and not rest.has_chunks and rest.next_file is None
    if no_size or (data.size > held and _is_unknown(data.size)):
        remark = None
        if not content.only_zeros(data.begin) or data.size:
            remark = Remark(RemarkKind.NO_LENGTH, f"the file holds {held:,} bytes of samples")
        return Extent(content.size, remark)

    stated = f"its header states {data.size:,} bytes of samples, the file holds {held:,}"
    if data.size > held:
        # The size of the whole file tells a file that was cut from one with a wrong size.
        if stated_end == content.size:
            return Extent(content.size, Remark(RemarkKind.OTHER_LENGTH, stated))
        return Extent(content.size, shortfall="its header announces more than the file holds")
    if rest.is_audio:
        return Extent(content.size, Remark(RemarkKind.OTHER_LENGTH, stated))
    if rest.is_cut:
        detail = "the file ends within what follows the samples"
        return Extent(data.begin + data.size, Remark(RemarkKind.OTHER_LENGTH, detail))
    return Extent(data.begin + data.size, next_file=rest.next_file)


def _is_unknown(size: int) -> bool:
    return any(size in sizes for sizes in _UNKNOWN_SIZES)


def _rest(content: Content, position: int, order: Order, byte_rate: int) -> _Rest:
    """Find out what the bytes after the samples are."""
    has_chunks = False
    while content.size - position >= 8:
        header = content.read(position, 12)
        name = header[:4]
        chunk = Chunk(name, position, int.from_bytes(header[4:8], order))
        if name in _MAGICS and header[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            return _Rest(has_chunks=has_chunks, next_file=position)
        if name[:3] in TAGS and name not in _KNOWN_CHUNKS:
            break
        is_printable = all(0x20 <= byte < 0x7F for byte in name)
        # The last chunk may lack its padding byte.
        if is_printable and chunk.begin + chunk.size <= content.size:
            has_chunks = True
            position = chunk.end
            continue
        if name in _KNOWN_CHUNKS:
            return _Rest(is_cut=True, has_chunks=True)
        is_long = content.size - position >= _SHORTEST_REST * byte_rate
        is_audio = not has_chunks and is_long and not content.only_zeros(position)
        return _Rest(is_audio=is_audio, has_chunks=has_chunks)
    return _Rest(has_chunks=has_chunks)


@dataclasses.dataclass(frozen=True)
class ChunkFile:
    """One file of chunks, which may be part of a joined file.

    Args:
        extent: its samples.
        rebuild: a function that returns the file with correct sizes; None if this is impossible.
    """

    extent: Extent
    rebuild: Callable[[int], Part] | None


def layout_of_files(
    content: Content, read_file: Callable[[Content, int], ChunkFile | None]
) -> Layout:
    """The layout of a file, or of several that were joined.

    Args:
        content: the bytes.
        read_file: a function that reads the file at a position; None if there is no such file.
    """
    parts = []
    remarks = []
    start: int | None = 0
    while start is not None:
        file = read_file(content, start)
        if file is None:
            break
        found = file.extent
        if found.shortfall is not None:
            return Layout(shortfall=found.shortfall)
        if found.remark is not None:
            remarks.append(found.remark)
        if found.remark is not None and file.rebuild is not None:
            parts.append(file.rebuild(found.stop))
        else:
            stop = content.size if found.next_file is None else found.next_file
            parts.append(Part((Section(start, stop),)))
        start = found.next_file
    if len(parts) > 1:
        remarks.append(Remark(RemarkKind.JOINED, f"{len(parts)} recordings"))
    return Layout(tuple(parts) if remarks else (), tuple(remarks))
